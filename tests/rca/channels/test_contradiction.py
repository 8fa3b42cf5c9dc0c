"""A loss that the cluster does not show: how far it is trusted, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rca.align import align, cut_windows
from rca.change import measure_changes
from rca.channels.case import make_case
from rca.channels.contradiction import KEPT_EARLY, KEPT_LATE, NOTICED_S, contradictions
from rca.channels.mesh import build_red
from rca.fuse import FuseConfig
from rca.pipeline import DiagnoseConfig, diagnose
from rca.state import (
    CONTRADICTION,
    ClusterEvent,
    Direction,
    Entity,
    EntityKind,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
    Shown,
)

ONSET_ROW, STEP_S = 100, 5.0
STORE = tuple(Entity(EntityKind.POD, "r1", f"store-{k}") for k in (0, 1))
SERVICE = Entity(EntityKind.SERVICE, "r1", "store")


class Lost:
    """Pods of a synthetic fleet fall silent at the onset, and what they should answer fails."""

    def __init__(self, fleet, pods=STORE, *, rows=ONSET_ROW + 8, targets=False, measured="-"):
        self.world = fleet(rows=rows, knobs={("errors", "store"): 0.5})
        frame = self.world.build()
        values, names = frame.values.copy(), {pod.name for pod in pods}
        gone = [
            k for k, one in enumerate(frame.series)
            if one.label("pod") in names and not one.name.startswith(measured)
        ]  # fmt: skip
        values[ONSET_ROW:, gone] = np.nan
        self.frame = replace(frame, values=values)
        if targets:
            self._add_targets(names)

    def _add_targets(self, names):
        frame, rows = self.frame, np.arange(len(self.frame.times_s))
        series, roles, columns = [], [], []
        for pod in STORE:
            entity = Entity(EntityKind.TELEMETRY, "r1", "pods")
            labels = (("instance", f"{pod.name}:80"), ("pod", pod.name), ("region", "r1"))
            series.append(Series("up", labels))
            roles.append(
                MetricRole(role="scrape_up", entity=entity, kind=MetricKind.AVAILABILITY,
                           resource=ResourceClass.TELEMETRY, bad=Direction.DOWN)
            )  # fmt: skip
            columns.append(np.where((rows >= ONSET_ROW) & (pod.name in names), 0.0, 1.0))
        self.frame = replace(
            frame, values=np.column_stack([frame.values, *columns]),
            series=(*frame.series, *series), roles=(*frame.roles, *roles),
        )  # fmt: skip

    @property
    def now_s(self):
        return float(self.frame.times_s[-1])

    def diagnosed(self, shown=(), events=(), config=None):
        return diagnose(
            self.frame, symptom=self.world.symptom(reason="errors"), topology=self.world.topology(),
            changes=(), events=events, now_s=self.now_s, seed=0, shown=shown,
            config=config,
        )  # fmt: skip


def shown(*entities, well=True, made_at_s=0.0):
    return tuple(Shown(entity=entity, well=well, made_at_s=made_at_s) for entity in entities)


def first_of(result):
    assert result.causes[0].resource_class is ResourceClass.LOSS, result.causes[0]
    return result.causes[0]


def against(cause):
    return [item for item in cause.evidence if item.channel == CONTRADICTION]


@pytest.mark.parametrize(
    ("rows", "kept", "says"),
    [(8, KEPT_EARLY, "a minute late"), (20, KEPT_LATE, "one of the two is wrong")],
)
def test_a_pod_that_the_cluster_shows_ready_is_accused_with_less_confidence(
    fleet, rows, kept, says
):
    lost = Lost(fleet, STORE[:1], rows=ONSET_ROW + rows)
    silent_s = (rows + 0.0) * STEP_S
    assert (silent_s > NOTICED_S) is (kept == KEPT_LATE)
    before, after = lost.diagnosed(), lost.diagnosed(shown(*STORE))
    cause = first_of(after)
    assert cause.entity == STORE[0]
    assert cause.confidence == pytest.approx(kept * first_of(before).confidence, abs=2e-6)
    (told,) = against(cause)
    assert told.strength < 0.0
    assert told.text.startswith(f"gone by its metrics for {silent_s:.0f} s")
    assert "the cluster shows it Running and Ready" in told.text
    assert told.text.endswith(says)
    assert [(c.entity, c.score) for c in after.causes] == [
        (c.entity, c.score) for c in before.causes
    ]


@pytest.mark.parametrize("targets", [False, True])
def test_replicas_that_are_ready_contradict_a_service_in_proportion(fleet, targets):
    lost = Lost(fleet, targets=targets)
    before = first_of(lost.diagnosed())
    assert before.entity == SERVICE
    for ready, kept in ((STORE[:1], (1.0 + KEPT_EARLY) / 2), (STORE, KEPT_EARLY)):
        cause = first_of(lost.diagnosed(shown(*ready)))
        assert cause.confidence == pytest.approx(kept * before.confidence, abs=2e-6)
        text = against(cause)[0].text
        gone = "without an answer to scrapes" if targets else "gone by their metrics"
        assert text.startswith(f"2 of its 2 pods {gone}")
        assert f"shows {len(ready)} of those Running and Ready" in text


def found_of(lost, entities, seen):
    case = case_of(lost)
    return contradictions(case, build_red(case), entities, seen, ())


def case_of(lost):
    aligned = align(lost.frame, now_s=lost.now_s)
    windows = cut_windows(aligned.times_s, ONSET_ROW * STEP_S)
    return make_case(
        aligned, windows, measure_changes(aligned, windows), topology=lost.world.topology(),
        symptom=lost.world.symptom(), now_s=lost.now_s,
    )  # fmt: skip


def test_a_target_that_is_down_counts_though_the_container_is_measured(fleet):
    lost = Lost(fleet, targets=True, measured="container")
    found = found_of(lost, STORE[:1], shown(*STORE))
    assert found[STORE[0]].text.startswith("answers no scrapes for 40 s")


def test_a_pod_that_is_measured_and_answers_no_calls_is_contradicted_too(fleet):
    lost = Lost(fleet, STORE[:1], measured="container")
    text = found_of(lost, STORE[:1], shown(*STORE))[STORE[0]].text
    assert text.startswith("answers no calls for 40 s, yet the cluster shows it Running and Ready")


def test_who_still_speaks_contradicts_nobody(fleet):
    found = found_of(Lost(fleet, STORE[:1]), (*STORE, SERVICE), shown(*STORE))
    assert set(found) == {STORE[0], SERVICE}
    assert found[SERVICE].text.startswith("1 of its 2 pods gone")
    assert found[SERVICE].kept == pytest.approx(KEPT_EARLY)


def test_pods_that_ended_long_before_are_no_part_of_the_service(fleet):
    lost = Lost(fleet)
    old = [k for k, one in enumerate(lost.frame.series) if one.label("pod") == STORE[1].name]
    lost.frame.values[ONSET_ROW // 2 :, old] = np.nan
    found = found_of(lost, (SERVICE,), shown(STORE[0]))
    assert found[SERVICE].text.startswith("1 of its 1 pods gone")
    assert found[SERVICE].kept == pytest.approx(KEPT_EARLY)


@pytest.mark.parametrize(
    ("seen", "events"),
    [
        ((), ()),
        (shown(*STORE, well=False), ()),
        (shown(*STORE, made_at_s=ONSET_ROW * STEP_S), ()),  # of the same name, made since
        (
            shown(*STORE),
            tuple(ClusterEvent(at_s=ONSET_ROW * STEP_S + 10, reason="Started", entity=pod)
                  for pod in STORE),
        ),
        (shown(*(replace(pod, region="r2") for pod in STORE)), ()),
    ],
    ids=["not seen", "not ready", "made anew", "started again", "of another region"],
)  # fmt: skip
def test_what_is_no_contradiction_lowers_nothing(fleet, seen, events):
    lost = Lost(fleet)
    before, after = lost.diagnosed(events=events), lost.diagnosed(seen, events)
    assert before == after


def test_other_classes_are_not_contradicted_by_readiness(fleet):
    world = fleet(knobs={("own", "store-1"): 0.3})
    frame, topology = world.build(), world.topology()
    results = [
        diagnose(frame, symptom=world.symptom(), topology=topology, changes=(), events=(),
                 now_s=float(world.times[-1]), seed=0, shown=seen)
        for seen in ((), shown(*STORE))
    ]  # fmt: skip
    assert results[0] == results[1]


def test_a_loss_that_is_no_longer_believed_says_what_contradicts_it(fleet):
    lost = Lost(fleet, STORE[:1], rows=ONSET_ROW + 20)
    config = DiagnoseConfig(fuse=FuseConfig(confidence_min=0.6))
    assert not lost.diagnosed(config=config).abstained
    result = lost.diagnosed(shown(*STORE), config=config)
    assert result.abstained
    assert result.reason.startswith(
        "the evidence contradicts itself: pod:r1/store-0 leads with 0.5"
    )
    assert against(first_of(result))[0].text in result.reason
