"""The cluster shows a pod well that is gone by its metrics: told, recorded, and replayed alike."""

from __future__ import annotations

import asyncio
import gzip
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest

from ops.bundle import SHOWN, read_bundle
from ops.controller.worker.incident_bundle import BundleStore, Origin, read_recording
from ops.controller.worker.question import Question, settled_shown
from ops.controller.worker.replay_bundle import replay_bundle
from ops.controller.worker_link.wire import ReplayCheck, ReplayRequest
from ops.state import NodeRecord, PodPhase, PodRecord
from ops.topology import discover
from rca.state import CONTRADICTION, Entity, EntityKind, Shown, Symptom
from tests.ops.controller.live_worker import T0, pods_of, serving, small_fleet, store
from tests.ops.controller.worker_questions import question, report_of, settings_of

LOST = "llm-2"


@pytest.fixture(scope="module")
def frame():
    """A fleet of which one pod says nothing since the onset."""
    whole = small_fleet()
    values = whole.values.copy()
    late = whole.times_s >= T0 + 600
    gone = [k for k, one in enumerate(whole.series) if one.label("pod") == LOST]
    values[np.ix_(late, gone)] = np.nan
    return replace(whole, values=values)


SYMPTOM = Symptom(
    region="eu", slo_class="chat", began_at_s=T0 + 600, detected_at_s=T0 + 630, bad_ratio=0.35,
    reason="errors",
)  # fmt: skip


def test_what_the_cluster_showed_is_in_the_bundle_and_lowers_the_replay_alike(
    fake_prometheus, frame, tmp_path
):
    store(fake_prometheus, frame, namespace="shop")

    async def scene():
        async with serving(settings_of(fake_prometheus, bundle_dir=tmp_path)) as client:
            stale = await client.diagnose(question(frame, symptom=SYMPTOM, cluster_stale=True))
            answer = await client.diagnose(question(frame, symptom=SYMPTOM))
            return stale, answer, await client.report(report_of(frame, answer))

    stale, answer, report = asyncio.run(scene())
    believed, doubted = stale.result.causes[0], answer.result.causes[0]
    assert believed.entity == doubted.entity == Entity(EntityKind.POD, "eu", LOST)
    assert doubted.confidence < believed.confidence
    assert doubted.score == believed.score
    (told,) = [item.text for item in doubted.evidence if item.channel == CONTRADICTION]
    assert "yet the cluster shows it Running and Ready" in told
    page = gzip.decompress(b64decode(report.html_gzip)).decode()
    assert told in page.replace("\u00a0", " ")  # no line ends between a number and its unit
    assert told in report.markdown

    folder = tmp_path / "shop" / "chat-1"
    assert (folder / SHOWN).is_file()
    assert read_recording(folder).question.shown == settled_shown(pods_of(frame), ())
    asked = ReplayRequest(
        namespace="shop", name="again", incident="chat-1", checks=(ReplayCheck.SAME_RANKING,)
    )
    again = replay_bundle(asked, tmp_path)
    assert again.passed, again.checks
    assert (again.ranking_sha256, again.confidence) == (answer.ranking_sha256, doubted.confidence)
    assert again.ranking_sha256 != stale.ranking_sha256
    assert told in again.markdown


def test_who_is_well_is_told_of_pods_and_nodes_in_one_order_as_a_bundle_keeps_it():
    def pod(name, phase=PodPhase.RUNNING, *, ready=True):
        return PodRecord(
            name=name, region="eu", service="a", node="n", phase=phase, ready=ready, restarts=0,
            created_at_s=1 / 3,
        )  # fmt: skip

    pods = (pod("c"), pod("b", ready=False), pod("a", PodPhase.TERMINATING))
    nodes = (NodeRecord(name="n", region="eu", ready=True, unschedulable=False),)
    found = settled_shown(pods, nodes)
    assert found == settled_shown(pods[::-1], nodes)
    assert [(str(one.entity), one.well) for one in found] == [
        ("node:eu/n", True), ("pod:eu/a", False), ("pod:eu/b", False), ("pod:eu/c", True),
    ]  # fmt: skip
    assert found[1] == Shown(
        entity=Entity(EntityKind.POD, "eu", "a"), well=False, made_at_s=0.333333
    )


def test_a_bundle_of_before_or_of_no_cluster_has_no_such_file(frame, tmp_path):
    asked = Question(
        frame=replace(frame, times_s=frame.times_s[:3], values=frame.values[:3]), symptom=SYMPTOM,
        topology=discover(frame, ()), changes=(), events=(), now_s=T0 + 700, seed=1,
        granger="linear",
    )  # fmt: skip
    folder = BundleStore(tmp_path, bundles_max=1).write(
        Origin(namespace="shop", fleet="chat", incident="a"), asked, ranking_sha256="0",
        decisions=(),
    )  # fmt: skip
    assert not (folder / SHOWN).exists()
    assert read_bundle(folder).shown == ()
    assert read_recording(folder).question.shown == ()
