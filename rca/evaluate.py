"""Accuracy of `localise` over folders of labelled cases, and settings chosen on other sets.

`leave_out` chooses every number of `rca.knobs` and the presence threshold without the sets (or
the systems) that are scored with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from rca.datasets import find_cases
from rca.judging import Judged, Method, judge, rank_with
from rca.knobs import LocaliseConfig, central, settings
from rca.localise import service_ranking
from rca.outcomes import other_outcomes
from rca.presence import PRESENCE_MIN
from rca.scoring import (
    MISS,
    accuracy,
    bootstrap_interval,
    calibration_error,
    mean_accuracy,
    random_floor,
    rank_of,
)

QUIET_SHARE = 0.95  # of quiet moments that a threshold lets pass
NEARLY = 0.01  # settings so little below the best are as good: less than a case in a hundred


class LeaveOut(StrEnum):
    """What a fold keeps from the choice of settings."""

    NOTHING = ""
    SET = "set"
    SYSTEM = "system"


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """Judged cases, the settings of each fold and the figures of `report`."""

    judged: list[Judged]
    knobs: dict[str, dict[str, Any]]
    threshold: dict[str, float] = field(default_factory=dict)  # set -> presence threshold

    def of(self, name: str) -> list[Judged]:
        """Cases of one set that have a cause."""
        return [j for j in self.judged if j.case.dataset == name and j.labels.is_fault]

    @property
    def sets(self) -> list[str]:
        """Names of all sets, sorted."""
        return sorted({j.case.dataset for j in self.judged})


def evaluate(
    root: Path,
    *,
    only: str = "",
    method: Method | None = None,
    leave_out: LeaveOut = LeaveOut.NOTHING,
    cpu_s: Callable[[], float],
    tick: Callable[[str, int, int], None] = lambda *_: None,
) -> Evaluation:
    """Judge every case below `root`.

    Args:
        cpu_s: clock of CPU seconds.
        tick: told (what, done, total) after each step.

    Raises:
        DatasetError: no case there. A damaged one is a failure of its own and a miss.
    """
    method = method or Method()
    shipped = LocaliseConfig()
    cases = find_cases(root, only=only if leave_out is LeaveOut.NOTHING else "")
    judged = []
    for number, case in enumerate(cases, start=1):
        judged.append(judge(case, method, shipped, cpu_s=cpu_s))
        tick("cases", number, len(cases))
    result = Evaluation(judged=judged, knobs={})
    if leave_out is LeaveOut.NOTHING:
        result.knobs["shipped"] = asdict(shipped) | {"presence_min": PRESENCE_MIN}
        result.threshold = dict.fromkeys(result.sets, PRESENCE_MIN)
    else:
        _leave_out(result, method, leave_out, tick)
        if only:
            result.judged = [j for j in judged if j.case.dataset == only]
    return result


def system_of(judged: Judged) -> str:
    """Name of the system without its deployment: `Sock Shop (k8s, 3 nodes)` is Sock Shop."""
    return judged.labels.system.partition("(")[0].strip().lower()


def _leave_out(
    result: Evaluation, method: Method, leave_out: LeaveOut, tick: Callable[[str, int, int], None]
) -> None:
    def key(one: Judged) -> str:
        return one.case.dataset if leave_out is LeaveOut.SET else system_of(one)

    tuner = _Tuner(result.judged)
    folds = sorted({key(j) for j in result.judged})
    chosen = {}
    for number, fold in enumerate(folds, start=1):
        others = [n for n, j in enumerate(result.judged) if key(j) != fold]
        config = tuner.choose(others)
        quiet = [p for n in others for p in result.judged[n].quiet]
        presence_min = float(np.quantile(quiet, QUIET_SHARE)) if quiet else PRESENCE_MIN
        chosen[fold] = config, presence_min
        result.knobs[fold] = asdict(config) | {"presence_min": round(presence_min, 3)}
        tick("folds", number, len(folds))
    for fold, (config, presence_min) in chosen.items():
        held = [j for j in result.judged if key(j) == fold]
        rank_with(held, method, config)
        for one in held:
            result.threshold[one.case.dataset] = presence_min


class _Tuner:
    """Ranks of all cases by settings, each computed once, for the whole grid."""

    def __init__(self, judged: Sequence[Judged]) -> None:
        self.judged = judged
        self.ranks: dict[LocaliseConfig, list[int]] = {}

    def choose(self, cases: Sequence[int]) -> LocaliseConfig:
        """The middle of the settings with (nearly) the best mean of AC@1 and Avg@5 per set."""
        value = {config: self._value(config, cases) for config in settings()}
        least = max(value.values()) - NEARLY
        return central([config for config in value if value[config] >= least])

    def _value(self, config: LocaliseConfig, cases: Sequence[int]) -> float:
        if config not in self.ranks:
            self.ranks[config] = [self._rank(one, config) for one in self.judged]
        ranks = self.ranks[config]
        by_set: dict[str, list[int]] = {}
        for n in cases:
            if self.judged[n].labels.is_fault:
                by_set.setdefault(self.judged[n].case.dataset, []).append(ranks[n])
        if not by_set:
            return 0.0
        mean = mean_accuracy([accuracy(r) for r in by_set.values()])
        return round(0.5 * (mean.ac_at_1 + mean.avg_at_5), 9)

    @staticmethod
    def _rank(one: Judged, config: LocaliseConfig) -> int:
        if one.prepared is None or one.failed or not one.labels.is_fault:
            return MISS
        ranking = [name for name, _ in service_ranking(one.prepared, config)]
        return rank_of(ranking, one.labels.right)


def report(result: Evaluation) -> dict[str, Any]:
    """All figures as plain data."""
    faults = [j for j in result.judged if j.labels.is_fault]
    names = [s for s in result.sets if result.of(s)]
    macro = mean_accuracy([accuracy([j.rank for j in result.of(s)]) for s in names])
    costs = [j.cpu_s for j in result.judged if not j.failed] or [0.0]
    replicas = [r for j in faults for r in j.replicas]
    ece, brier = calibration_error([c for c, _ in replicas], [hit for _, hit in replicas])
    scored = {s: [f for j in result.of(s) if (f := j.change_found) is not None] for s in names}
    return {
        "macro": _figures(asdict(macro), "n"),
        "sets": {s: _set_report(result.of(s)) for s in names},
        "presence": _presence(result),
        "calibration": {"ece": round(ece, 4), "brier": round(brier, 4), "n": len(replicas)},
        "change_point": {
            s: {"within": round(sum(found) / len(found), 4), "n": len(found)}
            for s, found in scored.items()
            if found
        },
        "cpu_s": {
            "p50": round(float(np.quantile(costs, 0.5)), 5),
            "p95": round(float(np.quantile(costs, 0.95)), 5),
        },
        "granger": {
            "used": _counts(j.granger.used for j in result.judged if not j.failed),
            "why": _counts(j.granger.why for j in result.judged if not j.failed),
        },
        **other_outcomes(result.judged, result.threshold),
        "failures": sum(bool(j.failed) for j in result.judged),
        "failed": {j.case.case_id: j.failed for j in result.judged if j.failed},
        "knobs": result.knobs,
        "cases": [_case(j) for j in faults],
    }


def _case(judged: Judged) -> dict[str, Any]:
    """One case for those who compare methods on it; a rank of None is a miss."""
    rank, metric = judged.rank, judged.metric_rank
    return {
        "set": judged.case.dataset,
        "case": judged.case.name,
        "kind": judged.labels.fault_type,
        "rank": None if rank == MISS else rank,
        "metric_rank": None if metric == MISS else metric,
        "metric_labelled": metric is not None,
        "cpu_s": round(judged.cpu_s, 5),
        "failed": judged.failed,
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(value or "none" for value in values).items()))


def _figures(values: dict[str, Any], *dropped: str) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v
            for k, v in values.items() if k not in dropped}  # fmt: skip


def _set_report(judged: Sequence[Judged]) -> dict[str, Any]:
    ranks = [j.rank for j in judged]
    metric = [j.metric_rank for j in judged if j.metric_rank is not None]
    low, high = bootstrap_interval([r == 1 for r in ranks])
    kinds: dict[str, list[int]] = {}
    for one in judged:
        kinds.setdefault(one.labels.fault_type, []).append(one.rank)
    by_name = accuracy([j.alphabetical for j in judged])
    return _figures(asdict(accuracy(ranks))) | {
        "interval": [round(low, 4), round(high, 4)],
        "metric": {"n": len(metric), "ac_at_1": round(accuracy(metric).ac_at_1, 4)},
        "by_kind": {
            kind: {"n": len(r), "ac_at_1": round(accuracy(r).ac_at_1, 4)}
            for kind, r in sorted(kinds.items())
        },
        "floors": {
            "random": round(random_floor([j.num_candidates for j in judged]), 4),
            "column_order": round(by_name.ac_at_1, 4),
        },
    }


def _presence(result: Evaluation) -> dict[str, float]:
    def above(values: Iterable[tuple[str, float]]) -> list[bool]:
        return [value >= result.threshold.get(name, PRESENCE_MIN) for name, value in values]

    quiet = above((j.case.dataset, p) for j in result.judged for p in j.quiet)
    faults = [j for j in result.judged if j.labels.is_fault]
    answered = above((j.case.dataset, j.presence) for j in faults)
    hits = [j.rank == 1 for j, told in zip(faults, answered, strict=True) if told]
    return {
        "false_accusations": round(sum(quiet) / max(len(quiet), 1), 4),
        "coverage": round(sum(answered) / max(len(answered), 1), 4),
        "ac_at_1_answered": round(sum(hits) / max(len(hits), 1), 4),
    }
