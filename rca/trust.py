"""Figures of trust over judged cases: accusations in quiet time, calibration, risk by coverage.

Each is given twice: with the shipped numbers, and by folds, where the threshold and the weights of
the confidence come from the other sets alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rca.calibration import (
    calibration_error,
    chance_of,
    error_interval,
    fit_chance,
    risk_coverage,
)
from rca.judging import Judged, Reading, Trial
from rca.presence import CONFIDENCE, PRESENCE_MIN, clipped
from rca.quiet import Source, groups_of
from rca.state import FloatArray

QUIET_SHARE = 0.95  # of fault-free windows that a threshold lets pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was said of one trial, and which trials it shares rows with.

    Attributes:
        fold: what is left out together with it: its set or its system.
        group: of a fault, its case; of a fault-free window, all windows that share rows with it.
    """

    dataset: str
    fold: str
    group: int
    trial: Trial
    reading: Reading

    @property
    def quiet(self) -> bool:
        """Whether nothing was wrong."""
        return self.trial.source is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The numbers that turn an answer into an accusation and a confidence."""

    presence_min: float = PRESENCE_MIN
    weights: tuple[float, ...] = CONFIDENCE

    def confidence(self, answers: Sequence[Answer]) -> list[float]:
        """Stated chances that the first service is a cause."""
        if not answers:
            return []
        features = np.array([a.reading.features for a in answers], dtype=float)
        return [clipped(float(c)) for c in chance_of(features, self.weights)]


Rules = Mapping[str, Rule]  # by fold


def answers_of(
    judged: Sequence[Judged],
    fold: Callable[[Judged], str],
    readings: Sequence[Sequence[Reading]] | None = None,
) -> list[Answer]:
    """All answers; those of one case, or of windows that share rows, in one group.

    Args:
        readings: of the trials of each case; those that the cases hold where not given.
    """
    said = [j.readings for j in judged] if readings is None else readings
    trials = [
        (j, trial, reading)
        for j, own in zip(judged, said, strict=True)
        for trial, reading in zip(j.trials, own, strict=True)
    ]
    quiet = groups_of([t.rows for _, t, _ in trials if t.source is not None])
    windows = iter(quiet)
    first = max(quiet, default=-1) + 1
    cases = {j.case.case_id: first + n for n, j in enumerate(judged)}
    return [
        Answer(
            dataset=j.case.dataset,
            fold=fold(j),
            group=next(windows) if trial.source is not None else cases[j.case.case_id],
            trial=trial,
            reading=reading,
        )
        for j, trial, reading in trials
    ]


def fit_rule(answers: Sequence[Answer]) -> Rule:
    """Threshold and weights from these answers; shipped ones where there is nothing to fit."""
    quiet = [a for a in answers if a.quiet]
    threshold = _quantile([a.reading.presence for a in quiet], _weights(quiet), QUIET_SHARE)
    hits: FloatArray = np.array([float(a.reading.hit) for a in answers])
    if not 0.0 < hits.sum() < len(hits):
        return Rule(presence_min=threshold if quiet else PRESENCE_MIN)
    features = np.array([a.reading.features for a in answers], dtype=float)
    weights = fit_chance(features, hits, np.ones(len(hits)))
    return Rule(presence_min=threshold if quiet else PRESENCE_MIN, weights=weights)


def rules_by_fold(answers: Sequence[Answer]) -> dict[str, Rule]:
    """For each fold, what the others give; empty where there are no others."""
    folds = sorted({a.fold for a in answers})
    if len(folds) < 2:
        return {}
    return {fold: fit_rule([a for a in answers if a.fold != fold]) for fold in folds}


def presence_figures(answers: Sequence[Answer], rules: Rules, *, failed: int = 0) -> dict[str, Any]:
    """How often quiet time is accused and trouble answered; windows that share rows count once.

    Args:
        failed: faults without an answer, which are not covered.
    """
    quiet = [a for a in answers if a.quiet]
    faults = [a for a in answers if not a.quiet and not a.trial.copy]
    told = [a for a in faults if a.reading.presence >= rules[a.fold].presence_min]
    hits = sum(a.reading.hit for a in told)
    return _accusations(quiet, rules) | {
        "coverage": round(len(told) / max(len(faults) + failed, 1), 4),
        "ac_at_1_answered": round(hits / max(len(told), 1), 4),
        "by_source": {
            source.value: _accusations([a for a in quiet if a.trial.source is source], rules)
            for source in Source
        },
        "by_set": {
            name: _accusations([a for a in quiet if a.dataset == name], rules)
            for name in sorted({a.dataset for a in quiet})
        },
    }


def _accusations(quiet: Sequence[Answer], rules: Rules) -> dict[str, Any]:
    """Share of groups accused: a group counts by the share of its windows."""
    weight = _weights(quiet)
    wrong = [a.reading.presence >= rules[a.fold].presence_min for a in quiet]
    share = float(weight @ np.array(wrong, dtype=float)) / max(float(weight.sum()), 1.0)
    return {
        "false_accusations": round(share, 4),
        "n": len({a.group for a in quiet}),
        "windows": len(quiet),
    }


def calibration_figures(answers: Sequence[Answer], rules: Rules) -> dict[str, Any]:
    """Calibration over faults, their copies and fault-free windows, each kind counted apart."""
    said, hit = _said(answers, rules)
    ece, brier = calibration_error(said, hit)
    low, high = error_interval(said, hit, [a.group for a in answers])
    return {
        "ece": round(ece, 4),
        "brier": round(brier, 4),
        "n": len(said),
        "interval": [round(low, 4), round(high, 4)],
        "faults": sum(not a.quiet and not a.trial.copy for a in answers),
        "disturbed_copies": sum(a.trial.copy for a in answers),
        "fault_free": sum(a.quiet for a in answers),
        "cases": len({a.group for a in answers}),
    }


def curve_figures(answers: Sequence[Answer], rules: Rules) -> list[dict[str, float]]:
    """Risk by coverage over faults and fault-free windows, without disturbed copies."""
    own = [a for a in answers if not a.trial.copy]
    return risk_coverage(*_said(own, rules))


def _said(answers: Sequence[Answer], rules: Rules) -> tuple[list[float], list[bool]]:
    said = [rules[a.fold].confidence([a])[0] for a in answers]
    return said, [a.reading.hit for a in answers]


def _weights(answers: Iterable[Answer]) -> FloatArray:
    """Each group weighs 1, shape [n]."""
    groups = [a.group for a in answers]
    sizes = {group: groups.count(group) for group in set(groups)}
    return np.array([1.0 / sizes[group] for group in groups], dtype=float)


def _quantile(values: Sequence[float], weight: FloatArray, share: float) -> float:
    """Smallest value that at least `share` of the weight does not exceed; 0 without values."""
    if not len(values):
        return 0.0
    order = np.argsort(np.asarray(values), kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    return float(np.asarray(values)[order][int(np.searchsorted(reached, share - 1e-9))])
