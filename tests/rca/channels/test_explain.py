"""Consequences go to their causes: silence, late callees, repeats, roll-outs, queues, nulls."""

from __future__ import annotations

import numpy as np
import pytest

from rca.align import align, cut_windows
from rca.change import measure_changes
from rca.channels.blame import blame
from rca.channels.case import Finding, contrast, make_case
from rca.channels.collect import own_findings, reasons
from rca.channels.events import event_findings
from rca.channels.load import amplification, load_findings
from rca.channels.mesh import build_red
from rca.channels.parts import beyond_noise
from rca.channels.silence import find_silence
from rca.channels.startup import overdue_pulls
from rca.fuse import FuseConfig, fuse
from rca.state import (
    ChangeEvent,
    ChangeKind,
    ClusterEvent,
    Entity,
    EntityKind,
    ResourceClass,
)

R1 = "r1"


def pod(name):
    return Entity(EntityKind.POD, R1, name)


def service(name):
    return Entity(EntityKind.SERVICE, R1, name)


def link(name):
    return Entity(EntityKind.LINK, R1, name)


def event(reason, name, at_s):
    return ClusterEvent(at_s=at_s, reason=reason, entity=pod(name))


def deploy(name, at_s):
    return ChangeEvent(at_s=at_s, kind=ChangeKind.DEPLOY, region=R1, service=name,
                       revision_from="1", revision_to="2")  # fmt: skip


def case_of(world, frame, *, events=(), announced=()):
    now_s = float(world.times[-1])
    aligned = align(frame, now_s=now_s)
    windows = cut_windows(aligned.times_s, float(world.times[world.onset_row]))
    assert windows is not None
    return make_case(
        aligned, windows, measure_changes(aligned, windows), topology=world.topology(),
        symptom=world.symptom(), now_s=now_s, events=events, announced=announced,
    )  # fmt: skip


def shares(case, *, events=()):
    tree = build_red(case)
    silence = find_silence(case, tree, events, [])
    return blame(case, tree, silence, reasons(own_findings(case))).share


def grown(world, frame, factor, *, where):
    """Multiply the growth of chosen counters since the onset."""
    for i, (series, role) in enumerate(zip(frame.series, frame.roles, strict=True)):
        if where(series, role):
            steps = np.diff(frame.values[:, i], prepend=frame.values[0, i])
            steps[world.onset_row :] *= factor
            frame.values[:, i] = np.cumsum(steps)


def lost_on_the_way(world, edge, *, timeout_s, per_row, answered):
    """Callers give up on calls of an edge; `answered` of the usual ones reach each callee pod."""
    frame = world.build()
    rows = np.arange(1, world.rows - world.onset_row + 1, dtype=float)
    for i, role in enumerate(frame.roles):
        if role.entity != link(edge) or role.group != "source":
            continue
        more = {"edge_errors": 1.0, "edge_requests": -1.0, "edge_latencysum": 1e3 * timeout_s}
        frame.values[world.onset_row :, i] += per_row * rows * more.get(role.role + role.part, 0.0)
    for name, ratio in answered.items():

        def mine(series, role, name=name):
            return series.label("pod") == name and role.group == "destination"

        grown(world, frame, ratio, where=mine)
    return frame


def test_a_link_that_loses_calls_is_not_excused_by_pods_that_get_fewer(fleet):
    world = fleet()
    frame = lost_on_the_way(world, "middle->store", timeout_s=1.0, per_row=8.0,
                            answered={"store-0": 0.2, "store-1": 0.15})  # fmt: skip
    found = shares(case_of(world, frame))
    assert found[link("middle->store")] > 0.7
    assert found.get(pod("store-1"), 0.0) < 0.1


def test_answers_that_one_pod_owes_are_that_pods(fleet):
    world = fleet()
    frame = lost_on_the_way(world, "middle->store", timeout_s=1.0, per_row=8.0,
                            answered={"store-1": 0.35})  # fmt: skip
    found = shares(case_of(world, frame))
    assert found[pod("store-1")] > 0.6
    assert found.get(link("middle->store"), 0.0) < 0.35


def test_a_pod_that_callers_avoid_after_lost_answers_owes_none(fleet):
    world = fleet(rps=40.0)
    frame = lost_on_the_way(world, "middle->store", timeout_s=1.0, per_row=80.0,
                            answered={"store-0": 1.3, "store-1": 0.4})  # fmt: skip
    found = shares(case_of(world, frame))
    assert found[link("middle->store")] > 0.7
    assert found.get(pod("store-1"), 0.0) < 0.3


def test_a_few_answers_more_or_less_are_chance(fleet):
    world = fleet(rows=103)
    frame = lost_on_the_way(world, "middle->store", timeout_s=1.0, per_row=10.0,
                            answered={"store-0": 0.5, "store-1": 0.4})  # fmt: skip
    found = shares(case_of(world, frame))
    assert found[link("middle->store")] > 0.7
    assert pod("store-1") not in found


def test_a_callee_that_answered_all_calls_did_not_lose_them(fleet):
    world = fleet()
    frame = lost_on_the_way(world, "middle->store", timeout_s=1.0, per_row=8.0,
                            answered={"store-0": 1.1, "store-1": 0.1})  # fmt: skip

    def slow(series, role):
        return role.entity == link("middle->store") and role.group == "destination"

    grown(world, frame, 2.0, where=slow)  # the callee counts what its callers gave up on
    assert shares(case_of(world, frame))[link("middle->store")] > 0.7


def test_calls_that_failed_at_an_ended_pod_are_not_the_links(fleet):
    world = fleet(rows=103)
    frame = lost_on_the_way(world, "front->engine", timeout_s=0.1, per_row=8.0,
                            answered={"engine-1": 0.0})  # fmt: skip
    killed = (event("Killing", "engine-1", float(world.times[100]) - 1.0),)
    found = shares(case_of(world, frame, events=killed), events=killed)
    assert found[pod("engine-1")] > 0.7
    assert found.get(link("front->engine"), 0.0) < 0.1


def test_a_sibling_that_took_over_the_calls_of_an_ended_pod_is_excused(fleet):
    world = fleet(knobs={("own", "store-0"): 0.5})
    frame = lost_on_the_way(world, "middle->store", timeout_s=1.0, per_row=0.0,
                            answered={"store-1": 0.0, "store-0": 2.0})  # fmt: skip
    killed = (event("Killing", "store-1", float(world.times[100]) - 20.0),)
    found = shares(case_of(world, frame, events=killed), events=killed)
    assert found[pod("store-1")] > 0.7
    assert found.get(pod("store-0"), 0.0) < 0.1


def test_a_pod_that_is_back_answers_for_what_piled_up_meanwhile(fleet):
    world = fleet(knobs={("own", "store-0"): 0.5})
    frame = world.build()
    for i, (series, role) in enumerate(zip(frame.series, frame.roles, strict=True)):
        if series.label("pod") == "store-1" and role.group == "destination":
            steps = np.diff(frame.values[:, i], prepend=frame.values[0, i])
            steps[world.onset_row : world.rows - 3] = 0.0
            frame.values[:, i] = np.cumsum(steps)
    killed = (event("Killing", "store-1", float(world.times[100]) - 1.0),)
    case = case_of(world, frame, events=killed)
    silence = find_silence(case, build_red(case), killed, [])
    assert "was away" in silence.text["store-1"]
    assert shares(case, events=killed)[pod("store-1")] > 0.7


def young_store(world):
    """Store-1 starts a few rows before the onset."""
    frame = world.build()
    mine = np.array([s.label("pod") == "store-1" for s in frame.series])
    frame.values[: world.onset_row - 2, mine] = np.nan
    return frame


def test_what_a_new_revision_adds_is_its_services(fleet):
    world = fleet(knobs={("own", "store-1"): 0.3})
    frame = young_store(world)
    began_s = float(world.times[world.onset_row]) - 15.0
    told = shares(case_of(world, frame, announced=(deploy("store", began_s),)))
    assert told[service("store")] > 0.8
    assert told.get(pod("store-1"), 0.0) < 0.1
    # Without an announced change the same pod is a pod that is off.
    assert shares(case_of(world, frame))[pod("store-1")] > 0.5


def test_old_pods_of_a_roll_out_fall_silent_as_planned(fleet):
    world = fleet()
    frame = young_store(world)
    grown(world, frame, 0.0, where=lambda s, r: s.label("pod") == "store-0" and
          r.group == "destination")  # fmt: skip
    began_s = float(world.times[world.onset_row]) - 15.0
    rolled = case_of(world, frame, announced=(deploy("store", began_s),))
    assert find_silence(rolled, build_red(rolled), [], []).fell == {}
    plain = case_of(world, frame)
    assert set(find_silence(plain, build_red(plain), [], []).fell) == {"store-0"}


def test_a_caller_that_waits_for_its_own_calls_is_not_silent(fleet):
    world = fleet()
    frame = lost_on_the_way(world, "middle->store", timeout_s=1.0, per_row=12.0,
                            answered={"middle-0": 0.0})  # fmt: skip
    for i, (series, role) in enumerate(zip(frame.series, frame.roles, strict=True)):
        if role.role == "edge_errors" and role.group == "source" and role.entity.name == (
            "middle->store"
        ):  # fmt: skip
            column = np.where(world.late, frame.values[:, i], 0.0)
            world.add("envoy_cluster_upstream_rq_timeout_total", "edge_timeouts", role.entity,
                      column, kind=role.kind, res=role.resource, counter=True,
                      labels={"pod": series.label("pod"), "service": "middle"})  # fmt: skip
    added = world.columns[len(frame.series) :]
    frame.series += tuple(c[0] for c in added)
    frame.roles += tuple(c[1] for c in added)
    frame.values = np.column_stack([frame.values, *(c[2] for c in added)])
    case = case_of(world, frame)
    assert "middle-0" not in find_silence(case, build_red(case), [], []).fell


@pytest.mark.parametrize(("slow", "named"), [(0.0, False), (0.8, True)])
def test_longer_calls_of_an_engine_need_a_slower_engine(fleet, slow, named):
    world = fleet(knobs={("own", "engine-0"): 2.0, ("slow", "engine-0"): slow})
    found = shares(case_of(world, world.build()))
    assert (found.get(pod("engine-0"), 0.0) > 0.5) is named
    assert Entity(EntityKind.WORKLOAD, R1) not in found


def test_calls_that_never_reached_a_caller_do_not_make_it_repeat_its_own(fleet):
    world = fleet()
    frame = world.build()
    grown(world, frame, 0.3, where=lambda s, r: r.entity == link("front->middle") and
          r.group == "destination")  # fmt: skip
    case = case_of(world, frame)
    assert amplification(case, build_red(case), (R1, "middle", "store")) is None


def test_waiting_that_more_calls_bring_goes_to_their_sender(fleet):
    world = fleet(knobs={("own", "store"): 0.3})
    frame = world.build()
    grown(world, frame, 4.0, where=lambda s, r: r.entity == link("middle->store"))
    case = case_of(world, frame)
    found = shares(case)
    assert found[service("middle")] > 0.7
    assert found.get(service("store"), 0.0) < 0.2
    (finding,) = load_findings(case, build_red(case), 0.0)
    assert finding.entity == service("middle")


def test_a_rise_that_earlier_windows_reached_too_is_noise():
    usual = np.array([1.0, 1.1, 0.9, 1.0, 2.5, 1.0, 1.1, 2.6, 0.9, 1.0])
    assert beyond_noise(contrast(np.append(usual, 2.4))) == 0.0
    assert beyond_noise(contrast(np.append(usual, 5.0))) > 1.0


def test_the_end_of_a_pod_that_nobody_misses_is_housekeeping(fleet):
    world = fleet()
    ended = (event("Killing", "store-1", float(world.times[100])),)
    case = case_of(world, world.build(), events=ended)
    (missed,) = event_findings(case, ended, missed={"store-1"})
    (routine,) = event_findings(case, ended, missed=set())
    assert routine.strength < 0.3 * missed.strength


def test_a_pull_is_overdue_only_beyond_what_pulls_took():
    done = [event("Pulling", "a", 10.0), event("Pulled", "a", 16.0)]
    begun = [*done, event("Pulling", "b", 100.0)]
    assert overdue_pulls(begun, onset_s=90.0, now_s=104.0) == frozenset()
    assert overdue_pulls(begun, onset_s=90.0, now_s=130.0) == {"b"}
    started = [*begun, event("Started", "b", 106.0)]
    assert overdue_pulls(started, onset_s=90.0, now_s=130.0) == frozenset()


def test_the_registry_is_not_blamed_for_a_process_that_loads(fleet):
    world = fleet()
    frame = lost_on_the_way(world, "front->engine", timeout_s=1.0, per_row=4.0,
                            answered={"engine-1": 0.0})  # fmt: skip
    at_s = float(world.times[100]) - 1.0
    events = (event("Killing", "engine-1", at_s), event("Started", "engine-1", at_s + 1.0))
    case = case_of(world, frame, events=events)
    silence = find_silence(case, build_red(case), events, [])
    assert silence.owner == {"engine-1": pod("engine-1")}


def test_the_walk_says_no_more_than_the_channels_that_it_sums_up(fleet):
    world = fleet()
    case = case_of(world, world.build())
    (weak,) = event_findings(
        case, (event("Unhealthy", "store-1", float(world.times[100])),), missed=set()
    )
    walked = type(weak)(entity=weak.entity, channel="graph", strength=1.0, resource=weak.resource,
                        text="walk")  # fmt: skip
    (one,) = fuse(case, [weak, walked], on_path=set(), share={}, config=FuseConfig())
    assert one.parts["graph"] <= one.parts["event"]


def test_a_change_says_no_more_than_what_was_measured(fleet):
    world = fleet()
    case = case_of(world, world.build())
    changed, measured = (
        Finding(entity=service("store"), channel=channel, strength=strength,
                resource=ResourceClass.CODE, text=channel)
        for channel, strength in (("change", 1.0), ("amplification", 0.1))
    )  # fmt: skip
    (one,) = fuse(case, [changed, measured], on_path=set(), share={}, config=FuseConfig())
    assert one.parts["change"] <= one.parts["load"]


def test_another_regions_pods_do_not_count(fleet):
    world = fleet(regions=("r1", "r2"))
    frame = world.build()
    kept = align(frame, now_s=float(world.times[-1]), region=R1)
    assert {role.entity.region for role in kept.roles if role.entity.kind is EntityKind.POD} == {R1}
    assert any(role.entity.region == "r2" for role in kept.roles)  # its scrape jobs
