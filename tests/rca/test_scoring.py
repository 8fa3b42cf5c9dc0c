"""Figures of rankings: ties, misses, floors."""

from __future__ import annotations

import numpy as np
import pytest

from rca.incident import Column, Incident
from rca.scoring import (
    MISS,
    accuracy,
    bootstrap_interval,
    candidates_of,
    mean_accuracy,
    paired_difference,
    random_floor,
    rank_of,
    services_of,
)


def incident_of(*columns: str, instances: dict[str, str] | None = None) -> Incident:
    return Incident(
        incident_id="made",
        times_s=np.arange(2.0),
        values=np.zeros((2, len(columns))),
        columns=tuple(Column.parse(c) for c in columns),
        step_s=1.0,
        instances=instances or {},
    )


def test_the_first_hit_counts_and_repeats_do_not():
    assert rank_of(["a", "b", "a", "c"], ["c"]) == 3
    assert rank_of(["a", "b"], ["b", "a"]) == 1
    assert rank_of(["a", "b"], ["z"]) == MISS


def test_accuracy_is_the_share_of_cases_and_a_miss_counts_nowhere():
    found = accuracy([1, 2, 6, MISS])
    assert (found.ac_at_1, found.ac_at_3, found.ac_at_5) == (0.25, 0.5, 0.5)
    assert found.avg_at_5 == pytest.approx((0.25 + 0.5 * 4) / 5)
    assert accuracy([]).ac_at_1 == 0.0


def test_the_mean_over_sets_does_not_weigh_by_size():
    assert mean_accuracy([accuracy([1]), accuracy([9] * 99)]).ac_at_1 == 0.5


def test_uniform_guesses_give_the_random_floor():
    rng = np.random.default_rng(0)
    names = [f"s{n}" for n in range(8)]
    ranks = [rank_of(list(rng.permutation(names)), ["s3"]) for _ in range(4000)]
    assert accuracy(ranks).ac_at_1 == pytest.approx(random_floor([8] * 4000), abs=0.02)


def test_the_interval_holds_the_share_and_shrinks():
    few, many = bootstrap_interval([True, False] * 5), bootstrap_interval([True, False] * 500)
    assert few[0] < 0.5 < few[1]
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])


def test_symptoms_are_no_candidates_and_the_first_column_places_a_service():
    incident = incident_of("sli_latency", "b_cpu", "a_cpu", "b_mem")
    assert services_of(incident.columns, incident) == ["b", "a"]
    assert [str(c) for c in candidates_of(incident.columns, incident)] == [
        "b_cpu",
        "a_cpu",
        "b_mem",
    ]


def test_pods_become_services_and_machines_drop_out_where_instances_are_known():
    incident = incident_of("node-1_cpu", "a.1_cpu", "b_cpu", "a.0_cpu",
                           instances={"a.0": "a", "a.1": "a", "b": "b"})  # fmt: skip
    assert services_of(incident.columns, incident) == ["a", "b"]


def test_a_paired_difference_is_that_of_the_means_over_sets():
    ours = {"x": [1, 1, 3, 9], "y": [1, MISS]}
    theirs = {"x": [1, 2, 3, 1], "y": [2, MISS]}
    found = paired_difference(ours, theirs)
    assert found.value == pytest.approx(0.5 * (0.0 + 0.5))
    assert found.low <= found.value <= found.high
    deep = paired_difference(ours, theirs, depth=5)
    assert deep.value == pytest.approx(
        mean_accuracy([accuracy(r) for r in ours.values()]).avg_at_5
        - mean_accuracy([accuracy(r) for r in theirs.values()]).avg_at_5
    )


def test_cases_alike_for_both_methods_leave_no_doubt_about_no_difference():
    ranks = {"x": [1, 4] * 20}
    assert paired_difference(ranks, ranks).high == 0.0
    with pytest.raises(ValueError, match="do not share"):
        paired_difference(ranks, {"x": [1]})
