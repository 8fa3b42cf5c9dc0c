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
from rca.knobs import LocaliseConfig
from rca.outcomes import other_outcomes
from rca.scoring import (
    MISS,
    accuracy,
    bootstrap_interval,
    mean_accuracy,
    random_floor,
)
from rca.trust import (
    Rule,
    answers_of,
    calibration_figures,
    curve_figures,
    fit_rule,
    presence_figures,
    rules_by_fold,
)
from rca.tuning import Tuner


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
    fold: Callable[[Judged], str] = lambda judged: judged.case.dataset
    rules: dict[str, Rule] = field(default_factory=dict)  # by fold; shipped where it has none

    def of(self, name: str) -> list[Judged]:
        """Cases of one set that have a cause."""
        return [j for j in self.judged if j.case.dataset == name and j.labels.is_fault]

    @property
    def threshold(self) -> dict[str, float]:
        """Set -> presence from which somebody is accused."""
        return {
            j.case.dataset: self.rules.get(self.fold(j), Rule()).presence_min for j in self.judged
        }

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
    cases = find_cases(root, only=only)
    if leave_out is not LeaveOut.NOTHING and only:
        cases = find_cases(root)  # settings are chosen on the others
    judged = []
    for number, case in enumerate(cases, start=1):
        judged.append(judge(case, method, shipped, cpu_s=cpu_s))
        tick("cases", number, len(cases))
    result = Evaluation(judged=judged, knobs={})
    if leave_out is LeaveOut.NOTHING:
        result.knobs["shipped"] = asdict(shipped) | _threshold(Rule())
    else:
        _leave_out(result, method, leave_out, tick)
        if only:
            result.judged = [j for j in judged if j.case.dataset == only]
    return result


def system_of(judged: Judged) -> str:
    """Name of the system without its deployment: `Sock Shop (k8s, 3 nodes)` is Sock Shop."""
    return judged.labels.system.partition("(")[0].strip().lower()


def _threshold(rule: Rule) -> dict[str, float]:
    return {"presence_min": round(rule.presence_min, 3)}


def _leave_out(
    result: Evaluation, method: Method, leave_out: LeaveOut, tick: Callable[[str, int, int], None]
) -> None:
    if leave_out is LeaveOut.SYSTEM:
        result.fold = system_of
    tuner = Tuner(result.judged)
    folds = sorted({result.fold(j) for j in result.judged})
    chosen = {}
    for number, fold in enumerate(folds, start=1):
        others = [n for n, j in enumerate(result.judged) if result.fold(j) != fold]
        chosen[fold] = tuner.choose(others)
        answers = [a for a in tuner.answers(chosen[fold], result.fold) if a.fold != fold]
        result.rules[fold] = fit_rule(answers)
        result.knobs[fold] = asdict(chosen[fold]) | _threshold(result.rules[fold])
        tick("folds", number, len(folds))
    for fold, config in chosen.items():
        rank_with([j for j in result.judged if result.fold(j) == fold], method, config)


def report(result: Evaluation) -> dict[str, Any]:
    """All figures as plain data."""
    faults = [j for j in result.judged if j.labels.is_fault]
    names = [s for s in result.sets if result.of(s)]
    macro = mean_accuracy([accuracy([j.rank for j in result.of(s)]) for s in names])
    costs = [j.cpu_s for j in result.judged if not j.failed] or [0.0]
    return {
        "macro": _figures(asdict(macro), "n"),
        "sets": {s: _set_report(result.of(s)) for s in names},
        **_trust(result),
        "change_point": _changes(result, contiguous=True),
        "join_found": _changes(result, contiguous=False),
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


def _changes(result: Evaluation, *, contiguous: bool) -> dict[str, Any]:
    """How often the own change point is near enough, per set. A splice has a step of its own."""
    out = {}
    for name in result.sets:
        found = [f for j in result.of(name) if j.labels.contiguous is contiguous
                 and (f := j.change_found) is not None]  # fmt: skip
        if found:
            out[name] = {"within": round(sum(found) / len(found), 4), "n": len(found)}
    return out


def _trust(result: Evaluation) -> dict[str, Any]:
    """Presence, calibration and risk; beside the shipped numbers those that other sets give."""
    answers = answers_of(result.judged, result.fold)
    folds = {a.fold for a in answers}
    failed = sum(bool(j.failed) and j.labels.is_fault for j in result.judged)
    rules = {fold: result.rules.get(fold, Rule()) for fold in folds}
    found: dict[str, Any] = {
        "presence": presence_figures(answers, rules, failed=failed),
        "calibration": calibration_figures(answers, rules),
        "risk_coverage": curve_figures(answers, rules),
    }
    others = {} if result.rules else rules_by_fold(answers)
    if others:
        found["presence"]["fold"] = presence_figures(answers, others, failed=failed) | {
            "thresholds": {fold: round(rule.presence_min, 3) for fold, rule in others.items()}
        }
        found["calibration"]["fold"] = calibration_figures(answers, others)
        found["risk_coverage_fold"] = curve_figures(answers, others)
    return found


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
