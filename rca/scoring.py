"""Figures of a ranking: accuracy at k, intervals, comparison of methods.

Ties are broken by score and then name before a rank is read off; a failure has no rank and
counts as a miss everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rca.incident import Column, Incident
from rca.state import FloatArray

MISS = 10**6  # rank of a cause that is not in the ranking
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Shares of cases whose cause is among the first k; `avg_at_5` is their mean for k = 1..5."""

    n: int
    ac_at_1: float
    ac_at_3: float
    ac_at_5: float
    avg_at_5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much better one method is than another on the same cases, with a 95 % interval."""

    value: float
    low: float
    high: float


def candidates_of(columns: Sequence[Column], incident: Incident) -> list[Column]:
    """The columns that may be held against somebody, in the order given.

    Left out are users' symptoms and, where the incident names its instances, owners that are none.
    """
    known = incident.instances
    return [c for c in columns
            if c.owner and not c.is_symptom and (not known or c.owner in known)]  # fmt: skip


def services_of(columns: Sequence[Column], incident: Incident) -> list[str]:
    """A ranking of columns collapsed to services: the first column of a service places it."""
    found = (incident.service_of(c.owner) for c in candidates_of(columns, incident))
    return list(dict.fromkeys(found))


def rank_of(ranking: Sequence[str], wanted: Sequence[str]) -> int:
    """Place of the first hit, counted from 1; repeats in the ranking count once."""
    seen = list(dict.fromkeys(ranking))
    hits = [seen.index(name) + 1 for name in wanted if name in seen]
    return min(hits, default=MISS)


def accuracy(ranks: Sequence[int]) -> Accuracy:
    """Accuracy over cases; all zero without cases."""
    at = [sum(rank <= k for rank in ranks) / max(len(ranks), 1) for k in range(1, 6)]
    return Accuracy(
        n=len(ranks),
        ac_at_1=at[0],
        ac_at_3=at[2],
        ac_at_5=at[4],
        avg_at_5=sum(at) / 5.0,
    )


def mean_accuracy(parts: Sequence[Accuracy]) -> Accuracy:
    """Plain mean over sets: a large set counts as much as a small one."""
    size = max(len(parts), 1)
    return Accuracy(
        n=sum(p.n for p in parts),
        ac_at_1=sum(p.ac_at_1 for p in parts) / size,
        ac_at_3=sum(p.ac_at_3 for p in parts) / size,
        ac_at_5=sum(p.ac_at_5 for p in parts) / size,
        avg_at_5=sum(p.avg_at_5 for p in parts) / size,
    )


def bootstrap_interval(hits: Sequence[bool], *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a share, over resampled cases."""
    if not hits:
        return 0.0, 0.0
    rng = np.random.default_rng([seed, 6])
    values = np.asarray(hits, dtype=float)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def paired_difference(
    ours: Mapping[str, Sequence[int]],
    theirs: Mapping[str, Sequence[int]],
    *,
    depth: int = 1,
    seed: int = 0,
) -> Difference:
    """Difference of two methods in the mean over sets of AC@1..AC@depth, ours minus theirs.

    Cases are drawn again within each set, the same ones for both methods: what both find hard or
    easy does not widen the interval.

    Args:
        ours, theirs: set -> ranks, the same cases in the same order.
        depth: 1 for AC@1, 5 for Avg@5.

    Raises:
        ValueError: the sets or their sizes differ, or there is nothing to compare.
    """
    sizes = {name: len(ranks) for name, ranks in ours.items()}
    if sizes != {name: len(ranks) for name, ranks in theirs.items()} or not all(sizes.values()):
        raise ValueError(f"the methods do not share their cases: {sizes} against "
                         f"{ {name: len(ranks) for name, ranks in theirs.items()} }")  # fmt: skip
    if not sizes:
        raise ValueError("no set to compare on")
    rng = np.random.default_rng([seed, 7])
    value, drawn = 0.0, np.zeros(RESAMPLES)
    for name in sorted(sizes):
        gain = _worth(ours[name], depth) - _worth(theirs[name], depth)  # [cases]
        again = rng.integers(0, len(gain), (RESAMPLES, len(gain)))
        value += float(gain.mean()) / len(sizes)
        drawn += gain[again].mean(axis=1) / len(sizes)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Difference(value=value, low=float(low), high=float(high))


def _worth(ranks: Sequence[int], depth: int) -> FloatArray:
    """What each case adds to the mean of AC@1..AC@depth, shape [cases]."""
    worth: FloatArray = np.clip((depth + 1 - np.asarray(ranks, dtype=float)) / depth, 0.0, 1.0)
    return worth


def random_floor(num_candidates: Sequence[int]) -> float:
    """AC@1 that a blind guess expects."""
    return sum(1.0 / max(n, 1) for n in num_candidates) / max(len(num_candidates), 1)
