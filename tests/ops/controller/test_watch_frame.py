"""The sliding frame of one fleet: only what is new, missing stays missing, doubt is a state."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import ops
from ops.catalogue import Catalogue
from ops.clock import Deadline
from ops.controller.metrics_watch import series
from ops.controller.metrics_watch.clock import ServerClock
from ops.controller.metrics_watch.frame import WatchFrame
from ops.controller.metrics_watch.roles import WATCHED_ROLES
from ops.controller.metrics_watch.state import DataState
from ops.errors import PrometheusError
from ops.slo import Count, SloMeter
from ops.slo import advance as slo_advance
from ops.state import SloTarget
from tests.ops.controller.stored_series import NOW_S, StoredSeries

CATALOGUE = Catalogue.load()
STEP_S = 5.0


@pytest.fixture
def stored():
    return StoredSeries()


def watch(stored, *, wall=None, monotonic=None, **more):
    return WatchFrame(
        CATALOGUE, namespace="shop", step_s=STEP_S, wall=wall or (lambda: stored.clock_s),
        monotonic=monotonic or (lambda: stored.clock_s), **{"window_s": 60.0, **more},
    )  # fmt: skip


def advance(frame, stored, *, to_s=None):
    if to_s is not None:
        stored.clock_s = NOW_S + to_s
    return frame.advance(stored, deadline=Deadline.after(5.0))


def every(step_s=STEP_S, *, start=-60.0, end=0.0, value=lambda k: float(k), offset=1.0):
    times = np.arange(start, end + 1e-9, step_s) + NOW_S - STEP_S + offset
    return [(float(t), value(k)) for k, t in enumerate(times)]


def add_users(stored, samples=None, status="200", **labels):
    told = {"service": "gateway", "slo_class": "chat", "status": status, "region": "eu", **labels}
    return stored.add("http_requests_total", samples or every(), **told)


def column(reading, role):
    (found,) = [c for c, one in enumerate(reading.frame.roles) if one and one.role == role]
    return reading.frame.values[:, found]


# What is read


def test_the_roles_are_those_that_the_loop_names():
    known, named = CATALOGUE.role_names(), set()
    for path in Path(ops.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= {node.value} & known
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "startswith":
                for start in node.args:
                    if isinstance(start, ast.Constant) and str(start.value).endswith("_"):
                        named |= {role for role in known if role.startswith(start.value)}
    assert named == WATCHED_ROLES


def test_a_server_that_writes_bounds_otherwise_after_its_upgrade_begins_no_new_counter(stored):
    # All of the past of a counter that begins while we watch would count as requests of now.
    told = {"service": "gateway", "slo_class": "chat", "region": "eu"}
    add_users(stored)
    for le, samples in (
        ("1", every(end=-30.0)),
        ("1.0", every(start=-25.0, value=lambda k: k + 7.0)),
    ):
        stored.add("dynamo_frontend_time_to_first_token_seconds_bucket", samples, le=le, **told)
    reading = advance(watch(stored), stored)
    assert column(reading, "frontend_ttft").tolist() == [float(k) for k in range(1, 12)]


def test_only_what_is_newer_is_asked_for_and_a_little_of_the_past(stored):
    samples = add_users(stored)
    frame = watch(stored)
    advance(frame, stored)
    first = list(stored.asked)
    samples += every(start=5.0, end=5.0)
    stored.asked.clear()
    reading = advance(frame, stored, to_s=6.1)
    assert len(stored.asked) == len(first) == 2  # the demanded label slo_class, and the others
    assert [until - after for *_, after, until in first] == [64_000, 64_000]
    assert all(until - after <= 21_200 for *_, after, until in stored.asked)
    assert reading.num_samples == 3
    assert reading.frame.times_s[-1] == NOW_S + 5.0
    assert column(reading, "frontend_requests")[-1] == 0.0  # the newest sample


def test_every_row_is_read_once_whatever_the_rhythm_of_reading(stored):
    samples = every(end=600.0, value=lambda k: float(k), offset=3.3)
    add_users(stored, samples)
    frame, counted, seen_s = watch(stored), {}, -np.inf
    for to_s in (0.0, 1.0, 7.3, 11.9, 12.0, 30.5, 58.0, 63.1, 68.9, 100.0):
        reading = advance(frame, stored, to_s=to_s)
        for at_s, value in zip(
            reading.frame.times_s, column(reading, "frontend_requests"), strict=True
        ):
            if at_s > seen_s:
                counted[float(at_s)] = value
        seen_s = reading.frame.times_s[-1]
    values = [counted[at_s] for at_s in sorted(counted)]
    assert np.diff(sorted(counted)).tolist() == [STEP_S] * (len(counted) - 1)
    assert np.diff(values).tolist() == [1.0] * (len(values) - 1)


def test_any_spelling_is_read_without_a_probe_and_told(stored):
    add_users(stored)
    for name in ("vllm:num_requests_running", "vllm_num_requests_waiting"):
        stored.add(name, every(), pod="llm-0", region="eu")
    reading = advance(watch(stored), stored)
    assert reading.spelling == "vllm: and vllm_"
    assert {one.role for one in reading.frame.roles} == {
        "frontend_requests", "engine_running", "engine_waiting",
    }  # fmt: skip


def test_a_spelling_that_changes_is_one_series(stored):
    add_users(stored)
    stored.add("vllm:num_requests_running", every(end=-30.0), pod="llm-0", region="eu")
    stored.add("vllm_num_requests_running", every(start=-25.0), pod="llm-0", region="eu")
    reading = advance(watch(stored), stored)
    assert np.isfinite(column(reading, "engine_running")).all()


def test_a_condition_of_the_fleet_narrows_and_never_widens(stored):
    add_users(stored, namespace="other", region="us")
    add_users(stored, team="a")
    for labels in ({"namespace": "other"}, {"namespace": ".*"}, {"__name__": "up"}):
        assert advance(watch(stored, match_labels=labels), stored).frame.series == ()
    reading = advance(watch(stored, match_labels={"team": "a"}), stored)
    assert [one.label("namespace") for one in reading.frame.series] == ["shop"]
    with pytest.raises(PrometheusError, match="namespace"):
        WatchFrame(CATALOGUE, namespace="")


def test_series_and_pods_get_their_place_from_the_cluster(stored):
    places = {"gw-0": {"region": "eu", "service": "gateway", "node": "n1"}}
    stored.add(
        "http_requests_total", every(), slo_class="chat", status="200", pod="gw-0",
        service="metrics-port",
    )  # fmt: skip
    stored.add("up", every(value=lambda k: 1.0), pod="foreign-0", job="x")
    frame = watch(stored, placed=places.get)
    reading = advance(frame, stored)
    (one,) = reading.frame.series
    assert (one.label("region"), one.label("service")) == ("eu", "gateway")
    places["foreign-0"] = {"region": "us", "service": "x", "node": "n2"}
    assert advance(frame, stored, to_s=1.0).scrape_jobs == {"us/x": NOW_S - 4.0}


# Rows and cells


def test_a_sample_stored_late_fills_its_row_and_a_series_that_is_always_late_is_waited_for(stored):
    samples = add_users(stored)
    frame = watch(stored)
    advance(frame, stored)
    ages = []
    for turn in range(1, 12):
        reading = advance(frame, stored, to_s=STEP_S * turn + 1.1)
        ages.append(reading.server_now_s - reading.frame.times_s[-1])
        # Stamped within the row, stored after the row was shown.
        samples.append((NOW_S + STEP_S * turn - 0.5, 100.0 + turn))
    assert ages[0] == pytest.approx(1.1)
    assert ages[-1] == pytest.approx(1.1 + STEP_S)
    assert np.isfinite(column(reading, "frontend_requests")[-1])
    assert "shown 5 s later" in reading.detail


def test_rows_are_shown_early_again_once_scrapes_end_in_time(stored):
    samples = add_users(stored)
    frame = watch(stored)
    advance(frame, stored)
    ages = []
    for turn in range(1, 150):
        reading = advance(frame, stored, to_s=STEP_S * turn + 1.1)
        ages.append(reading.server_now_s - reading.frame.times_s[-1])
        if turn < 6:
            samples.append((NOW_S + STEP_S * turn - 0.5, 100.0 + turn))  # late
        elif turn > 6:
            samples.append((NOW_S + STEP_S * (turn + 1) - 0.5, 100.0 + turn))
    assert max(ages) == pytest.approx(1.1 + STEP_S)
    assert ages[-1] == pytest.approx(1.1)


def test_a_slow_answer_about_the_time_is_not_believed_unless_the_clock_jumped():
    shown, ours = [100.0], [0.0]

    class Server:
        def now_s(self, *, deadline):
            at_s = shown[0]
            ours[0] += took_s
            return at_s

    clock = ServerClock(wall=lambda: 100.0 + ours[0], monotonic=lambda: ours[0])
    took_s = 0.1
    assert clock.read(Server(), deadline=Deadline.after(1.0)) == pytest.approx(100.05)
    ours[0], shown[0], took_s = 60.0, 160.0, 4.0  # told at once, come late: 2 s wrong
    assert clock.read(Server(), deadline=Deadline.after(1.0)) == pytest.approx(163.95)
    assert clock.error_s == pytest.approx(0.05)
    ours[0], shown[0] = 120.0, 500.0
    assert clock.read(Server(), deadline=Deadline.after(1.0)) == pytest.approx(502.0)
    assert clock.skew_s > 200.0


def test_jitter_opens_no_gap(stored):
    rng = np.random.default_rng(7)
    samples = [(t + rng.uniform(-0.2, 0.2), v) for t, v in every(end=60.0, offset=4.95)]
    add_users(stored, samples)
    frame = watch(stored)
    for to_s in range(0, 61, 5):
        reading = advance(frame, stored, to_s=to_s + 1.3)
    assert np.isfinite(column(reading, "frontend_requests")).all()


@pytest.mark.parametrize("start", [0.0, 1e9, 2.0**53 - 4096])
def test_counters_move_in_whole_requests_however_large_and_after_a_reset(stored, start):
    values = [start + 3.0 * k for k in range(6)] + [2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 29.0]
    add_users(stored, every(value=lambda k: values[k]))
    reading = advance(watch(stored), stored, to_s=1.0)
    assert column(reading, "frontend_requests").tolist() == values[-12:]


def test_a_start_time_keeps_its_milliseconds(stored):
    add_users(stored)
    stored.add("kube_pod_created", every(value=lambda k: 1_699_999_123.25), pod="a", region="eu")
    reading = advance(watch(stored), stored, to_s=1.0)
    assert column(reading, "pod_created_time").tolist() == [1_699_999_123.25] * 12


def test_series_come_and_go_and_the_frame_stays_bounded(stored):
    add_users(stored, every(end=600.0))
    stored.add("vllm:num_requests_running", every(end=-20.0), pod="old", region="eu")
    frame, sizes, shown = watch(stored), set(), []
    for to_s in range(0, 300, 5):
        stored.add(
            "vllm:num_requests_running", every(start=to_s, end=to_s + 10),
            pod=f"p{to_s}", region="eu",
        )  # fmt: skip
        reading = advance(frame, stored, to_s=to_s + 2.0)
        reading.frame.check()
        sizes.add(len(reading.frame.series))
        shown.append(reading.frame)
    pods = {one.label("pod") for one in reading.frame.series}
    assert "old" not in pods and "p295" in pods
    assert max(sizes) <= 2 * 14 + 2
    assert len(reading.frame.times_s) == 12
    # The same tuples until a column comes or goes: indices over them stay valid.
    again = advance(frame, stored, to_s=298.0).frame
    assert again.roles is reading.frame.roles
    assert again.generation == reading.frame.generation


def test_a_gap_is_filled_when_the_server_answers_again(stored):
    samples = add_users(stored)
    frame = watch(stored)
    advance(frame, stored)
    stored.error = PrometheusError("http://stored: connection refused; check port")
    reading = advance(frame, stored, to_s=20.0)
    assert reading.state is DataState.STALE
    assert "24 s old" in reading.detail
    assert "connection refused" in reading.detail
    assert reading.frame.times_s[-1] == NOW_S - STEP_S  # no row was opened
    samples += every(start=5.0, end=25.0)
    stored.error = None
    reading = advance(frame, stored, to_s=26.5)
    assert (reading.state, reading.detail) == (DataState.FRESH, "")
    assert np.isfinite(column(reading, "frontend_requests")).all()


# How far it is to be trusted


def test_what_was_never_read_is_missing(stored):
    stored.error = PrometheusError("http://stored: connection refused; check port")
    reading = advance(watch(stored), stored)
    assert reading.state is DataState.MISSING
    assert "connection refused" in reading.detail
    assert reading.frame.values.shape == (0, 0)


@pytest.mark.parametrize(
    ("fill", "state", "told"),
    [
        (lambda s: None, DataState.MISSING, "no series of a watched role"),
        (
            lambda s: s.add("http_requests_total", every(), slo_class="chat"),
            DataState.MISSING, "none with a role: 1 lack a label",
        ),
        (
            lambda s: s.add("vllm:num_requests_running", every(), pod="a", region="eu"),
            DataState.MISSING, "none counts users' requests by class",
        ),
        (
            lambda s: add_users(s, every(value=lambda k: float("nan"))),
            DataState.MISSING, "all their samples are NaN",
        ),
        (
            lambda s: add_users(s, every(end=-30.0)),
            DataState.STALE, "last seen 34 s ago, nothing else",
        ),
        (
            lambda s: (add_users(s, every(end=-30.0)), s.add("up", every(), job="a", region="eu")),
            DataState.STALE, "other series are fresh",
        ),
        (
            lambda s: add_users(s, every(value=lambda k: k if k < 5 else float("nan"))),
            DataState.STALE, "since then all its samples are NaN",
        ),
        (
            lambda s: (add_users(s), add_users(s, [(NOW_S + 3.5, 1.0)], status="500")),
            DataState.CONTRADICTORY, "1 samples are stamped up to 4 s in the future",
        ),
        (
            lambda s: (add_users(s), setattr(s, "warnings", ("store eu did not answer",))),
            DataState.CONTRADICTORY, "partial, so what lacks may exist: store eu did not answer",
        ),
        (lambda s: add_users(s, every(15.0)), DataState.FRESH, "every 15 s, rows every 5 s"),
        (lambda s: add_users(s, every(2.0)), DataState.FRESH, "set scrapeSeconds to 2 to see soo"),
        (lambda s: add_users(s), DataState.FRESH, ""),
    ],
)  # fmt: skip
def test_doubt_is_a_state_with_its_value_and_the_next_step(stored, fill, state, told):
    fill(stored)
    reading = advance(watch(stored), stored)
    assert reading.state is state, reading.detail
    assert told in reading.detail


@pytest.mark.parametrize(("ours_s", "side"), [(-45.0, "45 s ahead of"), (45.0, "45 s behind")])
def test_clocks_that_differ_contradict_each_other(stored, ours_s, side):
    add_users(stored)
    reading = advance(watch(stored, wall=lambda: NOW_S + ours_s), stored)
    assert reading.state is DataState.CONTRADICTORY
    assert side in reading.detail
    assert reading.server_now_s == pytest.approx(NOW_S)


def test_a_server_whose_clock_goes_back_is_not_believed(stored):
    add_users(stored, every(end=60.0))
    ours = [0.0]
    frame = watch(stored, monotonic=lambda: ours[0], wall=lambda: stored.clock_s)
    advance(frame, stored, to_s=60.0)
    ours[0] = 31.0  # its clock is asked again
    reading = advance(frame, stored, to_s=20.0)
    assert reading.state is DataState.CONTRADICTORY
    assert "clock went back" in reading.detail


def test_a_clock_that_was_an_hour_ahead_for_a_minute_blinds_no_longer_than_that(stored):
    add_users(stored, every(end=300.0))
    ours = [0.0]
    frame = watch(stored, monotonic=lambda: ours[0], wall=lambda: NOW_S + ours[0])
    seen = []
    for at_s, ahead_s in ((0.0, 0.0), (31.0, 0.0), (62.0, 3600.0), (93.0, 3600.0), (124.0, 0.0)):
        ours[0] = at_s
        seen.append(advance(frame, stored, to_s=at_s + ahead_s).state)
    assert seen == [*[DataState.FRESH] * 2, *[DataState.CONTRADICTORY] * 2, DataState.FRESH]
    assert frame.trusted().times_s[-1] == NOW_S + 120.0


def test_a_server_that_is_away_is_asked_no_more_often_than_one_that_answers(stored):
    add_users(stored)
    frame = watch(stored)
    advance(frame, stored)
    stored.error = PrometheusError("http://stored: it answered 503; try again soon")
    for to_s in (5.0, 60.0, 3600.0):
        reading = advance(frame, stored, to_s=to_s)
        assert reading.next_at_s - reading.server_now_s == STEP_S


def test_a_label_that_holds_names_of_users_fills_no_memory_and_is_told(stored, monkeypatch):
    monkeypatch.setattr(series, "KEYS_MAX", 3)
    for k in range(50):
        add_users(stored, slo_class=f"user-{k:02d}")
    add_users(stored, slo_class="zeal")
    reading = advance(watch(stored, classes=frozenset({"zeal"})), stored)
    read = {one.label("slo_class") for one in reading.frame.series}
    assert len(read) == 4 and "zeal" in read  # the Fleet names it
    assert "47 series of users' requests are left out" in reading.detail
    assert "never users or requests" in reading.detail


def test_one_failed_reading_between_good_ones_is_no_outage(stored):
    add_users(stored)
    frame = watch(stored)
    advance(frame, stored)
    stored.error = PrometheusError("http://stored: it answered 503; try again soon")
    reading = advance(frame, stored, to_s=5.0)
    assert reading.state is DataState.FRESH
    assert "503" in reading.detail


def test_jobs_tell_when_they_last_brought_samples_and_are_forgotten_with_their_targets(stored):
    add_users(stored, every(end=600.0))
    stored.add(
        "up", every(end=600.0, value=lambda k: float(k < 8)), job="llm", region="eu", instance="a"
    )
    stored.add("up", every(end=0.0, value=lambda k: 1.0), job="gone", region="eu", instance="b")
    stored.add("up", every(end=600.0, value=lambda k: 0.0), job="never", region="eu", instance="c")
    frame = watch(stored)
    jobs = advance(frame, stored).scrape_jobs
    assert jobs == {"eu/llm": NOW_S - 29.0, "eu/gone": NOW_S - 4.0}
    for to_s in range(5, 105, 5):
        jobs = advance(frame, stored, to_s=to_s).scrape_jobs
    assert jobs == {"eu/llm": NOW_S - 29.0}


# What the loop makes of it

CHAT = SloTarget(name="chat", ttft_s=2.0, tpot_s=0.2)


def finished(meter):
    return float(meter.cumulative[-1, :, Count.FINISHED].sum())


def test_a_counter_that_was_silent_for_an_hour_does_not_count_its_past_again(stored):
    add_users(stored, every(end=600.0, value=lambda k: 1e6 + k))
    samples = add_users(stored, every(value=lambda k: 5e6 + k), status="500")
    samples += every(start=300.0, end=600.0, value=lambda k: 5e6 + 20 + k)
    frame, meter = watch(stored), SloMeter()
    for to_s in range(0, 600, 5):
        reading = advance(frame, stored, to_s=to_s + 1.5)
        meter = slo_advance(meter, reading.frame, (CHAT,), history_s=3600.0)
    assert finished(meter) < 1000.0


def test_only_what_was_fresh_is_handed_on_and_a_doubtful_reading_forgets_nothing(stored):
    samples = add_users(stored, every(end=20.0, value=lambda k: 1e6 + k))
    frame, meter = watch(stored), SloMeter()
    assert frame.trusted().values.shape == (0, 0)
    advance(frame, stored, to_s=20.0)
    meter = slo_advance(meter, frame.trusted(), (CHAT,), history_s=3600.0)
    stored.warnings = ("store eu did not answer",)
    samples += every(start=25.0, end=25.0, value=lambda k: 1e6 + 17)
    reading = advance(frame, stored, to_s=26.1)
    assert reading.frame.times_s[-1] == NOW_S + 25.0
    assert frame.trusted().times_s[-1] == NOW_S + 15.0
    stored.warnings = ()
    # A new watch, as after a changed selector, has read nothing yet.
    other = watch(stored)
    for one in (other.trusted(), advance(other, stored).frame):
        meter = slo_advance(meter, one, (CHAT,), history_s=3600.0)
    assert finished(meter) < 50.0


def test_two_servers_behind_one_address_do_not_make_a_counter_fall(stored):
    def scraped(*times_s):
        return [(NOW_S + t, 1e6 + 10.0 * t) for t in times_s]

    # One scrapes at the end of the step and once two seconds late, the other early in it.
    late = add_users(stored, scraped(-5.1, -0.1, 4.9, 9.9, 16.9, 19.9, 24.9))
    early = scraped(-4.0, 1.0, 6.0, 11.0, 16.0, 21.0, 26.0)
    frame, meter = watch(stored), SloMeter()
    for to_s, samples in ((17.0, late), (21.1, early), (26.1, early), (26.2, late)):
        stored.series = []
        add_users(stored, samples)
        reading = advance(frame, stored, to_s=to_s)
        meter = slo_advance(meter, reading.frame, (CHAT,), history_s=3600.0)
        counts = column(reading, "frontend_requests")
        assert (np.diff(counts[np.isfinite(counts)]) >= 0.0).all()
    assert finished(meter) < 400.0


def test_a_region_that_is_not_seen_any_more_is_told_while_the_others_are_watched(stored):
    add_users(stored, every(end=60.0))
    add_users(stored, every(end=10.0), region="us")
    frame = watch(stored)
    advance(frame, stored)
    reading = advance(frame, stored, to_s=60.0)
    assert reading.state is DataState.FRESH
    assert "region us get was last seen 54 s ago" in reading.detail


def test_users_scraped_more_rarely_than_engines_are_not_stale_between_two_scrapes(stored):
    add_users(stored, every(30.0, start=-300.0, end=300.0))
    stored.add("vllm:num_requests_running", every(start=-300.0, end=300.0), pod="a", region="eu")
    frame = watch(stored, window_s=300.0)
    states = {advance(frame, stored, to_s=to_s).state for to_s in range(0, 200, 5)}
    assert states == {DataState.FRESH}
