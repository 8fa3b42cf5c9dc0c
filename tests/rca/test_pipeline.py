"""The whole diagnosis on synthetic fleets: right entity, invariants, silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rca.pipeline import diagnose
from rca.state import (
    ChangeEvent,
    ChangeKind,
    Entity,
    MetricFrame,
    RcaResult,
    ResourceClass,
    Series,
)


def run(fleet, *, frame=None, changes=(), events=(), seed=0, **symptom) -> RcaResult:
    frame = frame if frame is not None else fleet.build()
    return diagnose(
        frame, symptom=fleet.symptom(**symptom), topology=fleet.topology(), changes=changes,
        events=events, now_s=float(fleet.times[-1]), seed=seed,
    )  # fmt: skip


def deploy(service, at_s, kind=ChangeKind.DEPLOY):
    return ChangeEvent(at_s=at_s, kind=kind, region="r1", service=service, revision_from="1",
                       revision_to="2")  # fmt: skip


CASES = [
    ({("own", "store"): 0.3}, "service:r1/store", {"code"}, "latency"),
    ({("own", "store-1"): 0.3}, "pod:r1/store-1", {"code"}, "latency"),
    ({("own", "store-1"): 0.3, ("throttled", "store-1"): 0.4}, "pod:r1/store-1", {"cpu"},
     "latency"),
    ({("own", "node-1"): 0.3}, "node:r1/node-1", {"code", "cpu"}, "latency"),
    ({("gap", "middle->store"): 0.3}, "link:r1/middle->store", {"network"}, "latency"),
    ({("errors", "store"): 0.2}, "service:r1/store", {"code"}, "errors"),
    ({("slow", "engine-0"): 0.8, ("own", "engine-0"): 0.4}, "pod:r1/engine-0", {"gpu-clock"},
     "latency"),
]  # fmt: skip


@pytest.mark.parametrize(("knobs", "entity", "classes", "reason"), CASES)
def test_the_entity_that_adds_the_loss_comes_first(fleet, knobs, entity, classes, reason):
    result = run(fleet(knobs=knobs), reason=reason)
    assert not result.abstained, result.reason
    assert str(result.causes[0].entity) == entity
    assert result.causes[0].resource_class in classes


def test_a_slow_engine_is_found_without_its_clock(fleet):
    world = fleet(knobs=dict(CASES[6][0]), skip_roles=("gpu_sm_clock",))
    first = run(world).causes[0]
    assert (str(first.entity), first.resource_class) == ("pod:r1/engine-0", ResourceClass.GPU_CLOCK)


def test_more_demand_at_equal_speed_names_the_workload(fleet):
    result = run(fleet(load=1.8, knobs={("own", "engine"): 0.4}))
    assert str(result.causes[0].entity) == "workload:r1"
    assert result.causes[0].resource_class is ResourceClass.LOAD


def test_a_peak_of_demand_that_chance_makes_accuses_nobody(fleet):
    result = run(fleet(rps=0.8, load=1.7, rows=108, knobs={("own", "engine"): 0.4}))
    assert str(result.causes[0].entity) == "workload:r1"
    assert result.abstained
    assert "by chance" in result.reason


def test_an_innocent_deploy_nearer_in_time_does_not_win(fleet):
    world = fleet(knobs={("own", "store"): 0.3})
    result = run(world, changes=(deploy("store", 440.0), deploy("middle", 498.0)))
    assert str(result.causes[0].entity) == "service:r1/store"
    assert any(e.channel == "change" for e in result.causes[0].evidence)
    scores = {str(c.entity): c.score for c in result.causes}
    assert scores.get("service:r1/middle", 0.0) < 0.2


def test_a_fault_noticed_a_minute_late_is_still_found(fleet):
    world = fleet(rows=130, knobs={("own", "store-1"): 0.3, ("throttled", "store-1"): 0.4})
    result = run(world, late_s=60.0)
    assert result.began_at_s == 500.0
    assert str(result.causes[0].entity) == "pod:r1/store-1"


def test_a_scrape_gap_without_sufferers_is_an_abstention_that_names_it(fleet):
    result = run(fleet(knobs={("gap", "cadvisor"): 1.0}), bad_ratio=0.0)
    assert result.abstained
    assert "telemetry:r1/cadvisor" in result.reason
    assert str(result.causes[0].entity) == "telemetry:r1/cadvisor"


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_fleet_accuses_nobody(fleet, seed):
    assert run(fleet(seed=seed)).abstained


@pytest.mark.parametrize("rows", [0, 3, 8])
def test_too_few_rows_are_a_reason_not_a_crash(fleet, rows):
    world = fleet()
    whole = world.build()
    short = MetricFrame(times_s=whole.times_s[:rows], values=whole.values[:rows],
                        series=whole.series, roles=whole.roles, step_s=5.0)  # fmt: skip
    result = run(world, frame=short)
    assert result.abstained and result.reason and not result.causes


def test_no_normal_rows_abstain_with_the_count(fleet):
    result = run(fleet(onset_row=2, knobs={("own", "store"): 0.3}))
    assert result.abstained and "normal rows" in result.reason


def test_a_frame_of_unknown_series_abstains(fleet):
    world = fleet()
    frame = world.build()
    frame.roles = (None,) * len(frame.roles)
    assert run(world, frame=frame).reason == "the frame holds no known series"


def _same(a: RcaResult, b: RcaResult) -> bool:
    return [(c.entity, c.score, c.resource_class) for c in a.causes] == [
        (c.entity, c.score, c.resource_class) for c in b.causes
    ]


NODE_KNOBS = {("own", "node-1"): 0.3, ("throttled", "store-1"): 0.4}


def test_the_order_of_the_columns_does_not_matter(fleet):
    world = fleet(knobs=NODE_KNOBS)
    frame = world.build()
    order = np.random.default_rng(3).permutation(len(frame.series))
    shuffled = MetricFrame(
        times_s=frame.times_s, values=frame.values[:, order],
        series=tuple(frame.series[i] for i in order), roles=tuple(frame.roles[i] for i in order),
        step_s=5.0,
    )  # fmt: skip
    assert run(world, frame=frame) == run(world, frame=shuffled)


def test_the_unit_of_a_gauge_does_not_matter(fleet):
    world = fleet(knobs={("memory", "store-1"): 0.8, ("own", "store-1"): 0.2})
    frame = world.build()
    scaled = [r is not None and r.role == "container_memory" for r in frame.roles]
    values = np.where(scaled, frame.values / 1e6, frame.values)
    other = replace(frame, values=values)
    first, second = run(world, frame=frame), run(world, frame=other)
    assert [c.entity for c in first.causes] == [c.entity for c in second.causes]
    assert first.causes[0].score == pytest.approx(second.causes[0].score)
    assert first.causes[0].resource_class is ResourceClass.MEMORY


def test_new_names_give_the_same_ranking_up_to_renaming(fleet):
    knobs = {("own", "store-1"): 0.3, ("gap", "front->engine"): 0.1}
    names = {n: f"x{i:02d}q" for i, n in enumerate(
        ("front", "middle", "store", "engine", "node-0", "node-1", *(
            f"{s}-{i}" for s in ("front", "middle", "store", "engine") for i in (0, 1))))
    }  # fmt: skip
    plain, renamed = run(fleet(knobs=knobs)), run(fleet(knobs=knobs, names=names))

    def rename(entity: Entity) -> str:
        name = "->".join(names.get(part, part) for part in entity.name.split("->"))
        return str(Entity(entity.kind, entity.region, name))

    assert [rename(c.entity) for c in plain.causes] == [str(c.entity) for c in renamed.causes]
    assert [c.score for c in plain.causes] == [c.score for c in renamed.causes]


def test_rows_after_now_change_nothing(fleet):
    world = fleet(knobs={("own", "store"): 0.3})
    frame = world.build()
    longer = MetricFrame(
        times_s=np.append(frame.times_s, frame.times_s[-1] + 5.0),
        values=np.vstack([frame.values, 1e9 * np.ones(len(frame.series))]),
        series=frame.series, roles=frame.roles, step_s=5.0,
    )  # fmt: skip
    assert run(world, frame=frame) == run(world, frame=longer)


def test_the_same_input_gives_the_same_result(fleet):
    knobs = {("own", "middle-0"): 0.1}
    assert run(fleet(knobs=knobs)) == run(fleet(knobs=knobs))


def test_lost_samples_change_little(fleet):
    world = fleet(knobs={("own", "store-1"): 0.3})
    frame = world.build()
    # A scrape is lost for a whole target, so all series of one pod miss the same rows.
    targets = [s.label("pod") or s.name for s in frame.series]
    places = {name: i for i, name in enumerate(sorted(set(targets)))}
    lost = np.random.default_rng(1).random((len(frame.times_s), len(places))) < 0.1
    hole = lost[:, [places[t] for t in targets]]
    frame.values = np.where(hole, np.nan, frame.values)
    assert str(run(world, frame=frame).causes[0].entity) == "pod:r1/store-1"


def test_unknown_series_ride_along_without_effect(fleet):
    world = fleet(knobs={("own", "store-1"): 0.3})
    frame = world.build()
    noise = np.random.default_rng(2).normal(size=(len(frame.times_s), 5)) * 1e12
    more = MetricFrame(
        times_s=frame.times_s, values=np.hstack([noise, frame.values]),
        series=(*(Series(f"odd_{i}") for i in range(5)), *frame.series),
        roles=(*(None,) * 5, *frame.roles), step_s=5.0,
    )  # fmt: skip
    assert _same(run(world, frame=frame), run(world, frame=more))
