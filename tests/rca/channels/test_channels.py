"""Each channel on its own: silence, retries, nodes, events, registry, calls that nobody awaits."""

from __future__ import annotations

import numpy as np
import pytest

from rca.align import align, cut_windows
from rca.change import measure_changes
from rca.channels.blame import blame, own_time
from rca.channels.case import contrast, make_case
from rca.channels.changes import change_findings
from rca.channels.collect import own_findings, reasons
from rca.channels.events import event_findings
from rca.channels.gaps import find_gaps
from rca.channels.hosts import host_findings
from rca.channels.load import RARE_S, demand, load_findings, return_period_s
from rca.channels.mesh import build_red
from rca.channels.red import FIELDS, Red
from rca.channels.resources import resource_findings
from rca.channels.silence import find_silence
from rca.channels.speed import speed_findings
from rca.channels.topology import findings
from rca.state import (
    ChangeEvent,
    ChangeKind,
    ClusterEvent,
    Direction,
    Entity,
    EntityKind,
    MetricKind,
    ResourceClass,
)


def case_of(world, frame=None, **symptom):
    frame = frame if frame is not None else world.build()
    now_s = float(world.times[-1])
    aligned = align(frame, now_s=now_s)
    windows = cut_windows(aligned.times_s, float(world.times[world.onset_row]))
    assert windows is not None
    return make_case(
        aligned, windows, measure_changes(aligned, windows), topology=world.topology(),
        symptom=world.symptom(**symptom), now_s=now_s,
    )  # fmt: skip


def blamed(case):
    tree = build_red(case)
    return blame(case, tree, find_silence(case, tree, [], []), reasons(own_findings(case)))


def pod(name):
    return Entity(EntityKind.POD, "r1", name)


def service(name):
    return Entity(EntityKind.SERVICE, "r1", name)


def test_a_call_that_nobody_waits_for_is_not_taken_off():
    def red(total, count):
        rows = np.full((len(FIELDS), 6), np.nan)
        rows[2], rows[3] = total, count
        return Red(rows)

    inbound, waited, background = red(10.0, 10.0), red(4.0, 10.0), red(500.0, 10.0)
    own = own_time(inbound, {"a": waited, "b": background}, "latency")
    assert own == pytest.approx(0.6)


def test_an_innocent_caller_has_no_share(fleet):
    case = case_of(fleet(knobs={("own", "store"): 0.3}))
    share = blamed(case).share
    assert share[service("store")] > 0.9
    assert share.get(service("middle"), 0.0) < 0.05


def test_shares_split_two_faults_by_what_they_add(fleet):
    case = case_of(fleet(knobs={("own", "store"): 0.3, ("own", "middle"): 0.1}))
    share = blamed(case).share
    assert share[service("store")] == pytest.approx(0.75, abs=0.05)
    assert share[service("middle")] == pytest.approx(0.25, abs=0.05)


def test_a_share_of_next_to_nothing_accuses_nobody(fleet):
    case = case_of(fleet(knobs={("own", "store"): 0.005}))
    share = blamed(case).share
    assert max(share.values(), default=0.0) < 0.2


def muted(world, name):
    """The pod answers nobody: its counters stand still while callers lose their calls."""
    frame = world.build()
    for i, (series, role) in enumerate(zip(frame.series, frame.roles, strict=True)):
        mine = series.label("pod") == name and role.group == "destination"
        if mine:
            frame.values[world.onset_row :, i] = frame.values[world.onset_row - 1, i]
        if role.role == "edge_errors" and role.group == "source":
            callee = role.entity.name.partition("->")[2]
            if callee == name.partition("-")[0]:
                lost = 3.0 * np.arange(1, world.rows - world.onset_row + 1)
                frame.values[world.onset_row :, i] += lost
    return frame


def test_a_pod_that_answers_nobody_takes_the_loss_of_its_callers(fleet):
    world = fleet()
    case = case_of(world, muted(world, "store-1"))
    silence = find_silence(case, build_red(case), [], [])
    assert silence.owner == {"store-1": pod("store-1")}
    found = blamed(case)
    assert found.share[pod("store-1")] > 0.75
    assert {f.entity for f in findings(found)} == {pod("store-1")}


def test_a_pod_whose_series_all_end_is_lost_but_not_when_its_job_is(fleet):
    world = fleet()
    frame = world.build()
    mine = np.array([s.label("pod") == "store-1" for s in frame.series])
    frame.values[world.onset_row + 2 :, mine] = np.nan
    found = find_silence(case_of(world, frame), build_red(case_of(world, frame)), [], [])
    assert found.owner == {"store-1": pod("store-1")}


def test_a_job_gap_names_the_job_and_makes_no_pod_look_idle(fleet):
    world = fleet(knobs={("gap", "cadvisor"): 1.0})
    frame = world.build()
    container = np.array([r.role.startswith("container_") for r in frame.roles])
    frame.values[world.onset_row :, container] = np.nan
    case = case_of(world, frame)
    gaps = find_gaps(case)
    assert [str(f.entity) for f in gaps.findings] == ["telemetry:r1/cadvisor"]
    assert find_silence(case, build_red(case), [], [f.entity for f in gaps.findings]).fell == {}
    assert resource_findings(case) == []
    assert any("container cpu" in text for text in gaps.missing)


def test_one_lost_scrape_is_no_gap(fleet):
    world = fleet()
    frame = world.build()
    frame.values[-1, [r.role == "scrape_up" for r in frame.roles]] = 0.0
    assert find_gaps(case_of(world, frame)).findings == ()


def test_what_all_siblings_share_is_the_services(fleet):
    alone = case_of(fleet(knobs={("memory", "store-1"): 1.0}))
    assert [f.entity for f in resource_findings(alone)] == [pod("store-1")]
    both = case_of(fleet(knobs={("memory", "store-0"): 1.0, ("memory", "store-1"): 1.0}))
    strongest = max(resource_findings(both), key=lambda f: f.strength)
    assert strongest.entity == service("store")
    assert strongest.resource is ResourceClass.MEMORY


def test_a_use_far_from_its_limit_weighs_little(fleet):
    def strength(limit):
        world = fleet(knobs={("memory", "store-1"): 1.0})
        world.build()
        world.add("limit_bytes", "container_memory_limit", pod("store-1"),
                  np.full(world.rows, limit), kind=MetricKind.STATE,
                  res=ResourceClass.CONFIG_CHANGE, bad=Direction.BOTH)  # fmt: skip
        world.regions = ()
        return max(f.strength for f in resource_findings(case_of(world)))

    assert strength(1.1e9) > 4 * strength(1e11)


def test_slow_pulls_name_the_registry(fleet):
    world = fleet()
    world.build()
    registry = Entity(EntityKind.REGISTRY, "r1")
    pulls = np.where(np.arange(world.rows) % 30 == 10, 1.0, 0.0)
    pulls[-2] = 1.0
    took = pulls * np.where(world.late, 90.0, 8.0)
    for part, values in (("sum", took), ("count", pulls)):
        world.add(f"pull_seconds_{part}", "image_pull_seconds", registry, world.counter(values),
                  kind=MetricKind.LATENCY, res=ResourceClass.START_UP, counter=True,
                  part=part)  # fmt: skip
    world.regions = ()
    (finding,) = [f for f in resource_findings(case_of(world)) if f.entity == registry]
    assert finding.strength > 0.9
    assert "8 -> 90 s" in finding.text


def test_demand_does_not_count_a_stall_as_calm_nor_retries_as_demand(fleet):
    steady = demand(case_of(fleet()), "r1")
    assert steady.factor == pytest.approx(1.0, abs=0.2)
    failing = fleet(load=1.6, knobs={("errors", "store"): 0.6})
    assert demand(case_of(failing), "r1").factor < 1.2
    assert demand(case_of(fleet(load=1.6)), "r1").factor == pytest.approx(1.6, abs=0.15)


def test_more_calls_per_request_point_at_the_caller(fleet):
    world = fleet()
    frame = world.build()
    for i, role in enumerate(frame.roles):
        if role.entity.name == "middle->store" and role.entity.kind is EntityKind.LINK:
            grown = np.diff(frame.values[:, i], prepend=frame.values[0, i])
            grown[world.onset_row :] *= 3.0
            frame.values[:, i] = np.cumsum(grown)
    case = case_of(world, frame)
    (finding,) = load_findings(case, build_red(case), 0.0)
    assert finding.entity == service("middle")
    assert "1 -> 3 times a request" in finding.text


def with_repeats(world, *, first_row, factor, retries):
    """Frame in which one link carries `factor` times its calls; a retry counter where wanted."""
    if retries is not None:
        link = Entity(EntityKind.LINK, "r1", "middle->store")
        extra = np.where(np.arange(world.rows) >= first_row, retries, 0.0)
        world.add(
            "upstream_retries", "edge_retries", link, world.counter(extra), kind=MetricKind.RATE,
            res=ResourceClass.LOAD, counter=True, group="source", labels={"link": link.name},
        )  # fmt: skip
    frame = world.build()
    for i, role in enumerate(frame.roles):
        if role.entity.name == "middle->store" and role.role != "edge_retries":
            grown = np.diff(frame.values[:, i], prepend=frame.values[0, i])
            grown[first_row:] *= factor
            frame.values[:, i] = np.cumsum(grown)
    return frame


@pytest.mark.parametrize(("retries", "named"), [(None, True), (0.0, False), (80.0, True)])
def test_more_calls_that_were_no_retries_are_not_held_against_the_caller(fleet, retries, named):
    world = fleet()
    frame = with_repeats(world, first_row=world.onset_row, factor=3.0, retries=retries)
    case = case_of(world, frame)
    assert bool(load_findings(case, build_red(case), 0.0)) is named


def test_twice_the_calls_of_a_handful_of_requests_are_chance(fleet):
    world = fleet(rps=0.1, rows=103)
    frame = with_repeats(world, first_row=world.onset_row, factor=2.0, retries=None)
    case = case_of(world, frame)
    assert load_findings(case, build_red(case), 0.0) == []


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_peaks_of_demand_that_chance_makes_are_hardly_ever_rare(spread):
    rng = np.random.default_rng(0)
    block_s = np.full(21, 60.0)
    counts = rng.gamma(50.0 / spread, spread, (2000, 21))  # two weeks of busy minutes
    periods_s = [return_period_s(row / block_s, block_s) for row in counts]
    assert max(periods_s) < RARE_S
    assert min(periods_s) > 0.9 * 60.0


def test_demand_that_users_never_showed_is_rare_and_its_own_start_hides_nothing():
    block_s = np.full(21, 30.0)
    rate = np.append(np.tile([0.9, 1.1], 10), 2.8)
    assert return_period_s(rate, block_s) > RARE_S
    rate[-4:-1] = 2.6
    assert return_period_s(rate, block_s) > RARE_S
    assert return_period_s(rate[-4:], block_s[-4:]) == 0.0  # three blocks tell nothing


def test_a_fuller_batch_is_not_a_slow_engine(fleet):
    assert speed_findings(case_of(fleet(load=1.7))) == []
    slow = speed_findings(case_of(fleet(knobs={("slow", "engine-0"): 0.5})))
    assert [f.entity for f in slow] == [pod("engine-0")]


def test_pods_of_one_node_vote_for_it(fleet):
    knobs = {("memory", f"{s}-1"): 1.0 for s in ("store", "middle", "front", "engine")}
    case = case_of(fleet(knobs=knobs))
    (vote,) = host_findings(case, resource_findings(case))
    assert vote.entity == Entity(EntityKind.NODE, "r1", "node-1")
    single = case_of(fleet(knobs={("memory", "store-1"): 1.0}))
    assert host_findings(single, resource_findings(single)) == []


def event(at_s, reason, entity):
    return ClusterEvent(at_s=at_s, reason=reason, entity=entity)


def test_events_count_near_the_onset_and_less_when_usual(fleet):
    case = case_of(fleet())
    oom = event(502.0, "OOMKilling", pod("store-1"))
    (fresh,) = event_findings(case, [oom])
    assert fresh.resource is ResourceClass.MEMORY and fresh.strength > 0.9
    (usual,) = event_findings(case, [event(100.0, "OOMKilling", pod("store-1")), oom])
    assert usual.strength == pytest.approx(fresh.strength / 2)
    assert event_findings(case, [event(502.0, "Scheduled", pod("store-1"))]) == []
    assert event_findings(case, [event(9e9, "OOMKilling", pod("store-1"))]) == []


def test_a_change_is_worth_little_unless_its_service_misbehaves(fleet):
    case = case_of(fleet())
    made = [
        ChangeEvent(at_s=at, kind=ChangeKind.CONFIG, region="r1", service=name, revision_from="1",
                    revision_to="2")
        for at, name in ((400.0, "middle"), (495.0, "store"), (5.0, "front"), (9e9, "engine"))
    ]  # fmt: skip
    guilty, innocent, *rest = sorted(
        change_findings(case, made, {service("middle"): 0.8}), key=lambda f: -f.strength
    )
    assert (guilty.entity, innocent.entity) == (service("middle"), service("store"))
    assert guilty.strength > 8 * innocent.strength
    assert [f.entity for f in rest] == [service("front")]


def test_a_contrast_without_a_past_is_unknown_not_large():
    assert contrast(np.array([np.nan, np.nan, 5.0])).z == 0.0
    assert contrast(np.array([1.0, 1.0, 1.0, np.nan])).z == 0.0
    assert contrast(np.array([1.0, 1.1, 0.9, 1.0, 2.0])).z > 5.0
