"""Differences of workloads in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.reports.workload_words import MATTERS, OF_THE_RATE, difference, differences, unknown
from serving.workload import generate
from serving.workload.fidelity import Aspect, compare

A = generate(seed=1, duration_s=3600.0, rate_rps=1.0)
ASPECTS = compare(A, generate(seed=2, duration_s=3600.0, rate_rps=2.0, bursts=0.0, lengths="zipf"))


def aspect(name, reference=1.0, candidate=2.0, figure=0.5) -> Aspect:
    return Aspect(name=name, meaning="", reference=reference, candidate=candidate, figure=figure,
                  bound=0.1)  # fmt: skip


def test_every_aspect_has_its_words() -> None:
    for one in ASPECTS:
        known = one.name in MATTERS or one.name.startswith("rate")
        assert known, one.name


def test_only_what_is_apart_is_told() -> None:
    told = dict(differences(ASPECTS))
    assert set(told) == {a.name for a in ASPECTS if a.verdict == "different"}
    assert "times as many" in told["mean rate"]
    assert not differences(compare(A, A))


def test_higher_bursts_at_a_higher_rate_are_put_down_to_it_once() -> None:
    both = [aspect("mean rate"), aspect("Fano 1 s"), aspect("Fano 10 s")]
    assert sum(OF_THE_RATE in text for _, text in differences(both)) == 1
    assert not any(OF_THE_RATE in text for _, text in differences(both[1:]))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mean rate", "B sends 2 requests/s, A 1: 2 times as many."),
        ("Fano 10 s", "Counts in 10 s vary more: their variance is 2 times their mean, against 1."),
        ("prompt", "The median is 2 tokens against 1"),
        ("burstiness", "Gaps spread more"),
        ("prefix hits, small cache", "Prefill work saved"),
    ],
)
def test_words_name_both_figures(name, told) -> None:
    assert told in difference(aspect(name))


def test_what_cannot_be_compared_is_named() -> None:
    nothing = replace(aspect("turns"), figure=float("nan"))
    assert unknown([nothing, aspect("gaps")]).endswith("too little to show: turns.")
    assert unknown([aspect("gaps")]) == ""
