"""A worker over HTTP: it diagnoses what a Prometheus stores, records it, and refuses politely."""

from __future__ import annotations

import asyncio
import gzip
import io
import threading
from base64 import b64decode
from dataclasses import replace

import aiohttp
import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from ops.bundle import MANIFEST
from ops.cli import app
from ops.controller.incidents.status import RESTORED
from ops.controller.token_file import matches
from ops.controller.worker.incident_bundle import BundleStore, Origin, read_recording
from ops.controller.worker.jobs import FullError, Jobs, Urgency
from ops.controller.worker.question import Question, settled_events, settled_symptom
from ops.controller.worker.replay_bundle import replay_bundle
from ops.controller.worker.server import make_worker
from ops.controller.worker.settings import PrometheusAddress, WorkerSettings
from ops.controller.worker.window import canonical, joined
from ops.controller.worker_link.wire import (
    DIAGNOSE,
    FleetPlace,
    RecordedAs,
    ReplayCheck,
    ReplayFault,
    ReplayRequest,
    Window,
)
from ops.errors import SettingsError, WorkerBusyError, WorkerError
from ops.ranking import ranking_sha256
from ops.topology import discover
from rca.state import ClusterEvent, Entity, EntityKind
from tests.ops.adapters.conftest import bad
from tests.ops.controller.live_worker import T0, pods_of, serving, small_fleet, store
from tests.ops.controller.worker_questions import (
    END,
    SYMPTOM,
    journal,
    question,
    report_of,
    settings_of,
)


@pytest.fixture(scope="module")
def frame():
    return small_fleet()


def test_what_was_diagnosed_is_reported_recorded_and_replayed_to_the_same_ranking(
    fake_prometheus, frame, tmp_path
):
    store(fake_prometheus, frame, namespace="shop", hidden=("region", "service", "node"))

    async def scene():
        async with serving(settings_of(fake_prometheus, bundle_dir=tmp_path)) as client:
            answer = await client.diagnose(question(frame))
            report = await client.report(report_of(frame, answer))
            return answer, report

    answer, report = asyncio.run(scene())
    assert str(answer.result.causes[0].entity) == "pod:eu/llm-2"
    assert not answer.result.abstained
    assert answer.ranking_sha256 == ranking_sha256(answer.result)
    assert answer.frame.rows == 150
    assert report.recorded is RecordedAs.BUNDLE_WRITTEN
    page = gzip.decompress(b64decode(report.html_gzip)).decode()
    assert "shop/chat on prod" in page
    assert "simulated clock" not in page
    assert "llm-2" in report.headline
    replay = replay_bundle(
        ReplayRequest(
            namespace="shop", name="again", incident="chat-1",
            checks=(ReplayCheck.SAME_RANKING, ReplayCheck.CAUSE_NAMED),
        ),
        tmp_path,
    )  # fmt: skip
    assert replay.ranking_sha256 == answer.ranking_sha256
    assert replay.passed, replay.checks
    assert replay.verdict == report.headline
    assert "llm-2" in gzip.decompress(b64decode(replay.html_gzip)).decode()
    offline = CliRunner().invoke(app, ["incident", "diagnose", report.bundle, "--json"])
    told = orjson.loads(offline.stdout)
    assert (offline.exit_code, told["same"]) == (0, True)
    assert told["ranking_sha256"] == answer.ranking_sha256


@pytest.mark.slow
def test_replays_run_in_a_process_of_their_own_and_say_what_went_wrong(fake_prometheus, tmp_path):
    def asked(**more):
        return ReplayRequest(namespace="shop", name="r", **more)

    async def scene():
        settings = settings_of(fake_prometheus, bundle_dir=tmp_path)
        async with serving(settings) as client:
            drill = await client.replay(
                asked(
                    scenario="small", seed=11, faults=(ReplayFault(kind="gpu-throttle", at_s=600),),
                    checks=(ReplayCheck.CAUSE_NAMED, ReplayCheck.NO_INCIDENT),
                )
            )  # fmt: skip
            gone = await client.replay(asked(incident="chat-1"))
            wrong = await client.replay(
                asked(scenario="small", faults=(ReplayFault(kind="gremlin"),))
            )
        async with serving(replace(settings, replay_s=0.5)) as client:
            late = await client.replay(asked(scenario="small"))
        return drill, gone, wrong, late

    drill, gone, wrong, late = asyncio.run(scene())
    # Three of its four instances carry the load of the fourth: nobody suffers, so nobody is named.
    assert [check.passed for check in drill.checks] == [False, True], drill
    assert drill.verdict.endswith("gpu-throttle: not named.")
    assert "gpu-throttle at 10 min" in gzip.decompress(b64decode(drill.html_gzip)).decode()
    assert "no bundle of Incident shop/chat-1 is on the worker's volume" in gone.failed
    assert "known are" in wrong.failed
    assert "more than 0.5 s" in late.failed


def test_another_answer_than_the_recorded_one_is_told_with_exit_code_one(tmp_path, frame):
    odd = replace(SYMPTOM, began_at_s=T0 + 600.123456789, bad_ratio=1 / 3)
    told = ClusterEvent(at_s=T0 + 600 + 1 / 3, reason="Killing",
                        entity=Entity(EntityKind.POD, "eu", "llm-2"))  # fmt: skip
    asked = Question(
        frame=canonical(frame), symptom=settled_symptom(odd),
        topology=discover(frame, pods_of(frame)), changes=(), events=settled_events((told,)),
        now_s=END, seed=1, granger="linear",
    )  # fmt: skip
    bundles = BundleStore(tmp_path, bundles_max=2)
    folder = bundles.write(
        Origin(namespace="shop", fleet="chat", incident="a"), asked, ranking_sha256="0" * 64,
        decisions=(),
    )  # fmt: skip
    read = read_recording(folder)
    assert read.question.symptom == asked.symptom != odd
    assert read.question.events == asked.events != (told,)
    assert read.question.topology == asked.topology
    np.testing.assert_array_equal(read.question.frame.values, asked.frame.values)
    done = CliRunner().invoke(app, ["incident", "diagnose", str(folder)])
    assert done.exit_code == 1
    assert "NOT as recorded (000000000000)" in done.stdout
    assert "pod:eu/llm-2, gpu-clock" in done.stdout


def test_only_the_fleets_own_namespace_is_read_whatever_the_request_says(fake_prometheus, frame):
    store(fake_prometheus, frame, namespace="shop")
    asked = question(
        frame, place=FleetPlace(namespace="other", fleet="chat", match_labels={"namespace": "shop"})
    )

    async def scene():
        async with serving(settings_of(fake_prometheus)) as client:
            return await client.diagnose(asked)

    answer = asyncio.run(scene())
    assert answer.result.abstained
    assert all('namespace="other"' in query for query in fake_prometheus.queries())
    # The Fleet's own label stays, as it does in the operator's reading: it may only narrow.
    assert all('namespace="shop"' in query for query in fake_prometheus.queries())


@pytest.mark.parametrize(
    ("endpoint", "end_s", "told"),
    [
        ("elsewhere", END, "'elsewhere' is not in the worker's settings"),
        ("default", END + 300.0, "the newest sample is of"),
    ],
)
def test_nobody_is_accused_where_the_metrics_say_nothing(
    fake_prometheus, frame, endpoint, end_s, told
):
    store(fake_prometheus, frame, namespace="shop")
    asked = question(
        frame,
        place=FleetPlace(namespace="shop", fleet="chat", endpoint=endpoint),
        window=Window(start_s=T0, end_s=end_s, step_s=5.0),
        now_s=end_s,
    )

    async def scene():
        async with serving(settings_of(fake_prometheus)) as client:
            return await client.diagnose(asked)

    answer = asyncio.run(scene())
    assert (answer.result.abstained, answer.result.causes) == (True, ())
    assert told in answer.result.reason
    assert answer.result.missing


def test_the_next_question_reads_only_what_is_new(fake_prometheus, frame):
    store(fake_prometheus, frame, namespace="shop")
    early = question(frame, window=Window(start_s=T0, end_s=END - 20, step_s=5.0), now_s=END - 20)

    async def scene(first):
        async with serving(settings_of(fake_prometheus)) as client:
            if first:
                await client.diagnose(early)
                fake_prometheus.asked.clear()
            return await client.diagnose(question(frame))

    after = asyncio.run(scene(first=True))
    spans = [query.rpartition("[")[2] for query in fake_prometheus.queries() if "[" in query]
    assert spans
    assert max(int(span.removesuffix("ms]")) for span in spans) < 120_000
    assert after.ranking_sha256 == asyncio.run(scene(first=False)).ranking_sha256


def test_joined_frames_keep_gaps_and_series_of_both(frame):
    old = replace(frame, times_s=frame.times_s[:50], values=frame.values[:50])
    new = replace(
        frame, times_s=frame.times_s[45:], values=frame.values[45:, 1:], series=frame.series[1:],
        roles=frame.roles[1:],
    )  # fmt: skip
    both = joined(old, new)
    both.check()
    np.testing.assert_array_equal(both.values[:, 1:], frame.values[:, 1:])
    assert np.isnan(both.values[45:, 0]).all()


def test_a_wrong_token_a_bad_body_and_a_large_one_are_refused_in_one_line(
    fake_prometheus, tmp_path
):
    token = tmp_path / "token"
    token.write_text("secret\n")

    async def scene():
        async with serving(
            settings_of(fake_prometheus, token_file=token), token_file=token
        ) as client:
            async with aiohttp.ClientSession() as session:
                url, answers = f"{client.url}{DIAGNOSE}", []
                for headers, body in (
                    ({}, b"{}"),
                    ({"Authorization": "Bearer wrong"}, b"{}"),
                    ({"Authorization": "Bearer secret"}, b"{}"),
                    ({"Authorization": "Bearer secret"}, bytes(17 * 1024 * 1024)),
                ):
                    async with session.post(
                        url, headers=headers, data=io.BytesIO(body)
                    ) as response:
                        answers.append((response.status, await response.text()))
                async with session.get(f"{client.url}/livez") as probe:
                    answers.append((probe.status, await probe.text()))
                async with session.get(f"{client.url}/metrics") as scrape:
                    answers.append((scrape.status, await scrape.text()))
            return answers

    answers = asyncio.run(scene())
    assert [status for status, _ in answers] == [401, 401, 400, 413, 200, 200]
    assert "symptom" in answers[2][1]
    assert 'ops_worker_questions_total{question="diagnose",result="error"}' in answers[5][1]
    assert not any("secret" in text or "Traceback" in text for _, text in answers)


def test_a_worker_without_a_token_listens_on_the_loopback_interface_only():
    with pytest.raises(SettingsError, match="tokenFile"):
        make_worker(WorkerSettings(host="0.0.0.0"))


def test_a_token_needs_its_scheme_and_all_of_its_letters():
    assert matches("Bearer secret", "secret")
    for header in (None, "", "secret", "Bearer secre", "Bearer secretx", "bearer \udcff"):
        assert not matches(header, "secret")


def test_a_full_queue_says_when_to_come_again(fake_prometheus, frame):
    go_on = threading.Event()

    def hangs(_asked):
        assert go_on.wait(30.0)
        return bad(400, "bad_data", "asked too late")

    fake_prometheus.script.extend([hangs] * 8)

    async def scene():
        patient = {"default": PrometheusAddress(url=fake_prometheus.url, timeout_s=30.0)}
        settings = replace(settings_of(fake_prometheus, queue_max=1), endpoints=patient)
        async with serving(settings) as client:
            asks = [asyncio.create_task(client.diagnose(question(frame))) for _ in range(4)]
            while sum(one.done() for one in asks) < 2:  # the first works, the second waits
                await asyncio.sleep(0.005)
            go_on.set()
            return await asyncio.gather(*asks, return_exceptions=True)

    answers = asyncio.run(scene())
    busy = [one for one in answers if isinstance(one, WorkerBusyError)]
    assert len(busy) == 2
    assert all(one.retry_after_s >= 1.0 for one in busy)


def test_a_diagnosis_goes_before_a_report_that_waits_and_a_leaver_gives_its_place_free():
    order = []

    async def scene():
        jobs = Jobs(queue_max=3)
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(
            jobs.run(
                Urgency.REPORT,
                lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(30.0),
            )
        )
        await asyncio.sleep(0.01)
        report = asyncio.create_task(jobs.run(Urgency.REPORT, lambda: order.append("report")))
        left = asyncio.create_task(jobs.run(Urgency.REPORT, lambda: order.append("left")))
        diagnosis = asyncio.create_task(
            jobs.run(Urgency.DIAGNOSIS, lambda: order.append("diagnosis"))
        )
        await asyncio.sleep(0)
        with pytest.raises(FullError):
            await jobs.run(Urgency.DIAGNOSIS, lambda: None)
        left.cancel()
        gate.set()
        await asyncio.gather(first, report, diagnosis)
        await jobs.close()

    asyncio.run(scene())
    assert order == ["diagnosis", "report"]


def test_an_unreachable_worker_is_told_with_its_address():
    async def scene():
        from ops.controller.worker_link.client import WorkerClient

        async with WorkerClient("http://127.0.0.1:9", diagnose_s=1.0) as client:
            await client.diagnose(question(small_fleet(rows=2, onset_row=1)))

    with pytest.raises(WorkerError, match=r"127\.0\.0\.1:9/v1/diagnose"):
        asyncio.run(scene())


@pytest.mark.slow
def test_after_a_restart_of_both_the_page_shows_the_whole_evidence_again(
    fake_prometheus, frame, tmp_path
):
    """The operator has read back sentences, the worker has an empty memory and the volume."""
    store(fake_prometheus, frame, namespace="shop")
    settings = settings_of(fake_prometheus, bundle_dir=tmp_path)

    async def before():
        async with serving(settings) as client:
            answer = await client.diagnose(question(frame))
            await client.report(report_of(frame, answer))
            return answer

    async def after(request):
        async with serving(settings) as client:
            return await client.report(request)

    answer = asyncio.run(before())
    (said,) = journal(answer)
    thin = replace(
        answer.result,
        checked=(RESTORED,),
        causes=tuple(replace(c, evidence=(), score=0.0) for c in answer.result.causes),
    )
    request = report_of(frame, answer, decisions=(
        replace(said, incident=replace(said.incident, result=thin)),
    ))  # fmt: skip
    report = asyncio.run(after(request))
    assert report.recorded is RecordedAs.BUNDLE_WRITTEN
    assert "GPU SM clock" in report.markdown
    lost = asyncio.run(after(replace(request, incident="chat-2")))
    assert lost.recorded is RecordedAs.READ_AGAIN
    assert "llm-2" in lost.markdown


def test_without_a_volume_the_report_says_so(fake_prometheus, frame):
    store(fake_prometheus, frame, namespace="shop")

    async def scene():
        async with serving(settings_of(fake_prometheus)) as client:
            answer = await client.diagnose(question(frame))
            return await client.report(report_of(frame, answer))

    report = asyncio.run(scene())
    assert (report.recorded, report.bundle) == (RecordedAs.NO_VOLUME, "")
    assert "bundleDir" in report.recorded_message


def test_the_oldest_bundles_go_and_half_a_bundle_is_never_seen(tmp_path, frame):
    (tmp_path / "shop" / ".writing-x").mkdir(parents=True)
    bundles = BundleStore(tmp_path, bundles_max=2)
    assert not list(tmp_path.glob("*/.writing-*"))
    asked = Question(
        frame=replace(frame, times_s=frame.times_s[:3], values=frame.values[:3]), symptom=SYMPTOM,
        topology=discover(frame, ()), changes=(), events=(), now_s=END, seed=1, granger="linear",
    )  # fmt: skip
    for name in ("a", "b", "c", "b"):
        bundles.write(
            Origin(namespace="shop", fleet="chat", incident=name), asked, ranking_sha256="0",
            decisions=(),
        )  # fmt: skip
    assert sorted(m.parent.name for m in tmp_path.glob(f"*/*/{MANIFEST}")) == ["b", "c"]
