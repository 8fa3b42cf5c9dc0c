"""What `bench_workload` compares with: Poisson arrivals with Zipf lengths, and a classifier.

No figure is made here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from serving.workload import RequestTable, Status
from serving.workload.clock import on_one_clock, smeared
from serving.workload.fit import fit
from serving.workload.resample import resample

NEIGHBOURS, CLASSIFIED = 25, 2000


def auc(a: RequestTable, b: RequestTable, seed: int) -> float:
    """How well nearest neighbours tell the two apart; 0.5 = not at all.

    Features: gap, prompt, output, and the prompt before, as ranks over both.
    """
    rng, rows, owner = np.random.default_rng([seed, 11]), [], []
    for mark, table in enumerate(on_one_clock(a, b)):
        gaps_s = np.diff(smeared(table.arrival_s), prepend=0.0)
        prompt = table.num_prompt_tokens.astype(float)
        every = np.stack([gaps_s, prompt, table.num_output_tokens, np.roll(prompt, 1)], axis=1)[1:]
        rows.append(every[rng.permutation(len(every))[:CLASSIFIED]])
        owner.append(np.full(len(rows[-1]), mark))
    points = rankdata(np.concatenate(rows), axis=0)
    mark = np.concatenate(owner)
    order = rng.permutation(len(mark))
    known, asked = order[::2], order[1::2]
    near = cKDTree(points[known]).query(points[asked], k=NEIGHBOURS)[1]
    scores, truth = mark[known][near].mean(axis=1), mark[asked]
    ranks = rankdata(scores)
    ones = truth.sum()
    return float((ranks[truth == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(truth) - ones)))


def poisson(
    source: RequestTable,
    seed: int,
    duration_s: float,
    *,
    theta: float | None = None,
) -> RequestTable:
    """The baseline: Poisson at the source's rate in each window, Zipf lengths, failures alone."""
    law = fit(source)
    calm = [
        replace(
            s, splits=(), alpha=1.0, alphas=(None,) * len(s.alphas), session=None,
            fail_after_fail=s.fail_ratio, fail_after_ok=s.fail_ratio,
        )
        for s in law.streams
    ]  # fmt: skip
    table = resample(replace(law, streams=tuple(calm)), seed=seed, duration_s=duration_s)
    rng = np.random.default_rng([seed, 7])
    ok = source.status != Status.FAILED
    for name in ("num_prompt_tokens", "num_output_tokens"):
        values = getattr(source, name)[ok]
        exponent = zipf_exponent(values) if theta is None else theta
        drawn = zipf(rng, len(table), exponent, int(values.max())).astype(np.int32)
        setattr(table, name, np.where(table.status == Status.FAILED, 0, drawn).astype(np.int32))
    return table


def zipf_exponent(values: np.ndarray) -> float:
    """Likeliest exponent of a Zipf law cut at the largest value."""
    logs = np.log(np.arange(1, int(values.max()) + 1))
    mean = float(np.log(np.maximum(values, 1)).mean())

    def loss(theta: float) -> float:
        return theta * mean + float(np.log(np.exp(-theta * logs).sum()))

    return float(minimize_scalar(loss, bounds=(-2.0, 4.0), method="bounded").x)


def zipf(rng: np.random.Generator, rows: int, theta: float, limit: int) -> np.ndarray:
    """Zipf lengths up to the limit."""
    weights = np.cumsum(np.arange(1, limit + 1, dtype=np.float64) ** -theta)
    return np.searchsorted(weights / weights[-1], rng.random(rows), side="right") + 1.0
