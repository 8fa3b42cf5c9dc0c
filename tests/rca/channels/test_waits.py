"""What a caller waits for is not its own: streams below it, answers that are lost."""

from __future__ import annotations

import numpy as np
import pytest

from rca.align import align, cut_windows
from rca.change import measure_changes
from rca.channels.blame import blame
from rca.channels.case import make_case
from rca.channels.collect import own_findings, reasons
from rca.channels.mesh import build_red
from rca.channels.red import FIELDS, Red, lost_in_time
from rca.channels.silence import find_silence
from rca.state import Direction, Entity, EntityKind, MetricKind, ResourceClass

R1 = "r1"
TAIL_S = 4.0  # an engine's stream goes on for so long after its first token
CHAINS = {
    1: (("front", "middle"), ("middle", "engine")),
    2: (("front", "middle"), ("middle", "store"), ("store", "engine")),
}


def pod(name):
    return Entity(EntityKind.POD, R1, name)


def service(name):
    return Entity(EntityKind.SERVICE, R1, name)


def case_of(world, frame):
    now_s = float(world.times[-1])
    aligned = align(frame, now_s=now_s)
    windows = cut_windows(aligned.times_s, float(world.times[world.onset_row]))
    assert windows is not None
    return make_case(
        aligned, windows, measure_changes(aligned, windows), topology=world.topology(),
        symptom=world.symptom(), now_s=now_s,
    )  # fmt: skip


def shares(case):
    tree = build_red(case)
    return blame(case, tree, find_silence(case, tree, [], []), reasons(own_findings(case))).share


def streaming(world, chain):
    """Calls go on for as long as an engine streams; users count the time to the first token."""
    world.CHAIN = chain
    world.OWN_S = {"front": 0.01, "middle": 0.02, "store": 0.03, "engine": 0.1}
    frame = world.build()
    column = {(s.name, s.labels): i for i, s in enumerate(frame.series)}
    for i, (series, role) in enumerate(zip(frame.series, frame.roles, strict=True)):
        if role.role != "edge_latency" or role.part != "sum":
            continue
        count = frame.values[:, column[(series.name[:-3] + "count", series.labels)]]
        if role.group == "destination" and series.label("service") == "engine":
            name = series.label("pod")
            for part, values in (("sum", frame.values[:, i] / 1e3), ("count", count)):
                world.add(f"vllm:time_to_first_token_seconds_{part}", "engine_ttft", pod(name),
                          values, kind=MetricKind.LATENCY, res=ResourceClass.LOAD, counter=True,
                          part=part, labels={"pod": name, "service": "engine"})  # fmt: skip
        frame.values[:, i] += 1e3 * TAIL_S * count
    return extended(world, frame)


def extended(world, frame):
    """The frame with the columns that were added to the fleet after it was built."""
    late = world.columns[len(frame.series) :]
    frame.series += tuple(c[0] for c in late)
    frame.roles += tuple(c[1] for c in late)
    frame.values = np.column_stack([frame.values, *(c[2] for c in late)])
    return frame


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("slow", ["middle", "front"])
def test_the_wait_for_a_stream_from_further_below_is_not_the_entrys(fleet, depth, slow):
    world = fleet(knobs={("own", slow): 0.6})
    found = shares(case_of(world, streaming(world, CHAINS[depth])))
    assert found[service(slow)] > 0.8
    assert sum(found.values()) - found[service(slow)] < 0.2


@pytest.mark.parametrize("depth", [1, 2])
def test_a_late_first_token_from_further_below_makes_nobody_above_slow(fleet, depth):
    world = fleet(knobs={("own", "engine"): 1.5})
    found = shares(case_of(world, streaming(world, CHAINS[depth])))
    assert all(found.get(service(s), 0.0) < 0.1 for s in ("front", "middle", "store"))


@pytest.mark.parametrize("depth", [1, 2])
def test_a_stream_that_comes_late_over_a_slow_link_is_the_links(fleet, depth):
    world = fleet(knobs={("gap", "front->middle"): 0.8})
    found = shares(case_of(world, streaming(world, CHAINS[depth])))
    assert found[Entity(EntityKind.LINK, R1, "front->middle")] > 0.8
    assert found.get(service("front"), 0.0) < 0.1


@pytest.mark.parametrize("node_ends", [True, False])
def test_a_node_that_ends_with_its_only_pod_owns_its_silence(fleet, node_ends):
    world = fleet()
    world.node = lambda name: "gpu-" + name[-1] if name.startswith("engine") else "cpu"
    node = Entity(EntityKind.NODE, R1, "gpu-0")
    frame = world.build()
    for number in range(4):
        world.add(f"node_{number}", "node_load", node, np.ones(world.rows),
                  kind=MetricKind.SATURATION, res=ResourceClass.CPU,
                  bad=Direction.UP)  # fmt: skip
    frame = extended(world, frame)
    gone = [
        series.label("pod") == "engine-0" or (node_ends and role.entity == node)
        for series, role in zip(frame.series, frame.roles, strict=True)
    ]
    frame.values[world.onset_row + 2 :, np.array(gone)] = np.nan
    case = case_of(world, frame)
    found = find_silence(case, build_red(case), [], [])
    assert found.owner == {"engine-0": node if node_ends else pod("engine-0")}


def red(**rows):
    return Red(np.array([[9.0, float(rows.get(name, 0.0))] for name in FIELDS]))


def test_answers_given_in_time_that_never_came_were_lost_on_the_way():
    sent = red(requests=6, errors=700, count=706, total_s=706.0)
    assert lost_in_time(sent, red(requests=600, count=600, total_s=520.0)) > 0.9
    assert lost_in_time(sent, red(requests=600, count=600, total_s=1800.0)) == 0.0
    served = red(requests=400, errors=206, count=606, total_s=300.0)
    assert lost_in_time(served, red(requests=600, count=600, total_s=520.0)) == 0.0


def test_calls_repeated_over_a_lossy_link_do_not_make_its_callee_the_cause(fleet):
    world = fleet(knobs={("own", "store"): 0.8})
    frame = world.build()
    for i, role in enumerate(frame.roles):  # callers give up on nearly all calls after 1 s
        if role.entity.name != "middle->store" or role.group != "source":
            continue
        lost = 150.0 * np.arange(1, world.rows - world.onset_row + 1)
        start = frame.values[world.onset_row - 1, i]
        kept = {"edge_errors": lost, "edge_requests": 0.01 * lost, "edge_latencysum": 1e3 * lost,
                "edge_latencycount": lost}  # fmt: skip
        frame.values[world.onset_row :, i] = start + kept[role.role + role.part]
    for i, role in enumerate(frame.roles):  # and repeat them: the callee answers most
        if role.entity.name == "middle->store" and role.group == "destination":
            steps = np.diff(frame.values[:, i], prepend=0.0)
            steps[world.onset_row :] *= 7.0
            frame.values[:, i] = np.cumsum(steps)
    found = shares(case_of(world, frame))
    assert found[Entity(EntityKind.LINK, R1, "middle->store")] > 0.7
    assert found.get(service("store"), 0.0) < 0.2
