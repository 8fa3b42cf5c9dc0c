"""From a table to the stretch a simulator replays: cut, change of rate, spread of coarse stamps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serving.errors import ConfigError
from serving.workload.table import RequestTable


def cut(table: RequestTable, start_s: float, length_s: float) -> RequestTable:
    """Rows that arrive in [start_s, start_s + length_s), counted from start_s."""
    part = table.window(start_s, start_s + length_s)
    return replace(part, arrival_s=part.arrival_s - start_s)


def mean_rate_rps(table: RequestTable) -> float:
    """Gaps over the time from the first to the last arrival.

    Raises:
        ConfigError: fewer than two rows, or all at one moment: there is no rate.
    """
    span_s = float(table.arrival_s[-1] - table.arrival_s[0]) if len(table) else 0.0
    if span_s <= 0.0:
        raise ConfigError(
            f"{table.trace_id}: {len(table)} rows over {span_s} s have no rate; "
            "give a trace with arrivals at two moments at least"
        )
    return (len(table) - 1) / span_s


def to_rate(table: RequestTable, rate_rps: float) -> RequestTable:
    """The same rows, stamps stretched so that their mean rate is `rate_rps`."""
    if not (rate_rps > 0.0 and np.isfinite(rate_rps)):
        raise ConfigError(f"rate_rps must be positive and finite, got {rate_rps}")
    return table.scaled(rate_rps / mean_rate_rps(table))


def smear(table: RequestTable, width_s: float, seed: int) -> RequestTable:
    """Spread stamps that a coarse clock rounded down, uniformly over [stamp, stamp + width_s).

    Rows of one tick change their order among each other; order across ticks of `width_s` stays.
    """
    rng = np.random.default_rng([seed, *b"workload/smear"])
    spread = table.arrival_s + width_s * rng.random(len(table))
    order = np.argsort(spread, kind="stable")
    return replace(table.take(order), arrival_s=spread[order])
