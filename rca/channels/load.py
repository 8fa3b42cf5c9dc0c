"""Demand against speed: did users ask for more, or does the same work take longer?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, gammaincc

from rca.channels.case import Case, Finding, contrast, ratio
from rca.channels.red import LinkKey, RedTree, entry_services
from rca.kinds import plain
from rca.state import Entity, EntityKind, FloatArray, ResourceClass

CHANNEL = "load"
# Share of failed answers that come back as another try; a bound, as clients differ.
RETRIED_RATIO = 0.85
# Demand that these users reach by themselves more often than once in so long accuses nobody.
RARE_S = 90.0 * 86400.0
# The spread of few blocks is uncertain: its upper limit is exceeded with this chance.
SPREAD_RISK = 0.1
LAG_S = 120.0  # a rise must not teach the usual demand its own start, as onsets are found late
BLOCKS_MIN = 4  # whose spread says anything
REPEATS_Z = 3.0  # standard errors by which repeated calls must exceed the usual ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Arrivals of one region's users, retries of failed requests taken off as far as known."""

    factor: float  # after / before; 1 = unchanged
    z: float
    before_rps: float
    after_rps: float
    top_rps: float = -np.inf  # what earlier windows of the same length reached
    every_s: float = 0.0  # such a window comes by chance once in so long; 0 = unknown

    @property
    def rare(self) -> bool:
        """Whether chance alone does not explain what users ask for."""
        return self.every_s >= RARE_S


def demand(case: Case, region: str) -> Demand:
    """How much more users ask for since the onset.

    Arrivals = answers + growth of what is in flight, so that a stall does not look like calm.
    """
    answers = _by_status(case, region)
    if not answers:
        return Demand(factor=1.0, z=0.0, before_rps=np.nan, after_rps=np.nan)
    total = np.nansum(list(answers.values()), axis=0)
    good = np.nansum([v for k, v in answers.items() if k.startswith("2")] or [total], axis=0)
    arrived = total + _growth_of_gauge(case, _in_flight(case, region))
    again = RETRIED_RATIO * np.maximum(total - good, 0.0)
    rate = np.maximum(arrived - again, 0.0) / case.block_s
    stat = contrast(rate, floor_ratio=0.08)
    factor = stat.after / stat.before if stat.before > 0.0 else 1.0
    return Demand(
        factor=float(factor), z=stat.z, before_rps=stat.before, after_rps=stat.after,
        top_rps=stat.top, every_s=return_period_s(rate, case.block_s),
    )  # fmt: skip


def return_period_s(rate_rps: FloatArray, block_s: FloatArray) -> float:
    """How often arrivals like those of the last window come by chance: once in so many seconds.

    Source: counts of a renewal process spread about their mean by a constant factor; a gamma law
    of that mean and spread gives the tail (Cox, Renewal Theory, 1962; index of dispersion).
    Differs: the spread is the upper limit of what few blocks tell, never below Poisson's; the
    mean is that of all blocks or of their last quarter, whichever is larger, as demand drifts.
    Blocks right before the onset are left out while enough others are there.

    Args:
        rate_rps: arrivals per second in each normal block, fault window last, shape [B + 1].
        block_s: lengths, shape [B + 1].
    """
    known = np.isfinite(rate_rps[:-1])
    rates, lengths_s = rate_rps[:-1][known], block_s[:-1][known]
    near = int(np.sum(np.cumsum(lengths_s[::-1]) - lengths_s[::-1] < LAG_S))
    keep = max(len(rates) - near, min(len(rates), BLOCKS_MIN))
    rates, lengths_s = rates[:keep], lengths_s[:keep]
    if len(rates) < BLOCKS_MIN or not np.isfinite(rate_rps[-1]) or block_s[-1] <= 0.0:
        return 0.0
    counts = rates * lengths_s
    mean = float(counts.mean())
    if mean <= 0.0:
        return 0.0
    free = len(counts) - 1
    spread = float(counts.var(ddof=1)) / mean * free / float(chdtri(free, 1.0 - SPREAD_RISK))
    spread = max(spread, 1.0)
    latest = rates[-max(len(rates) // 4, 2) :].mean()
    expected = max(float(rates.mean()), float(latest)) * float(block_s[-1])
    tail = float(gammaincc(expected / spread, float(rate_rps[-1] * block_s[-1]) / spread))
    return float(block_s[-1]) / max(tail, 1e-300)


def rise_of(asked: Demand) -> float:
    """0..1: how far demand rose; half as much again counts in full."""
    beyond = asked.z > 2.0 and asked.after_rps > asked.top_rps
    return float(np.clip((asked.factor - 1.1) / 0.5, 0.0, 1.0)) if beyond else 0.0


def _in_flight(case: Case, region: str) -> list[int]:
    columns = case.columns("frontend_in_flight")
    return [c for c in columns if case.roles[c].entity.region == region]


def _by_status(case: Case, region: str) -> dict[str, FloatArray]:
    found: dict[str, list[int]] = defaultdict(list)
    for column in case.columns("frontend_requests"):
        role = case.roles[column]
        if role.entity.region == region:
            status = role.group or case.aligned.series[column].label("status")
            found[status].append(column)
    return {status: case.total(columns) for status, columns in sorted(found.items())}


def _growth_of_gauge(case: Case, columns: list[int]) -> FloatArray:
    """Last minus first value of the summed gauges in each block, 0 where unknown."""
    out = np.zeros(case.num_blocks)
    if not columns:
        return out
    levels = case.aligned.levels[:, columns].sum(axis=1)
    bounds = np.append(case.windows.cuts, len(levels))
    pieces = [
        (start, end)
        for start, end, keep in zip(bounds[:-1], bounds[1:], case.windows.keep, strict=True)
        if keep
    ]
    for place, (start, end) in enumerate(pieces):
        piece = levels[start:end]
        piece = piece[np.isfinite(piece)]
        if piece.size >= 2:
            out[place] = piece[-1] - piece[0]
    return out


def load_findings(case: Case, tree: RedTree, slowed: float) -> list[Finding]:
    """The workload as a candidate, and slow engines apart from their load.

    Args:
        slowed: 0..1, how much of the trouble is a slowdown at equal load (strongest engine
            residual or exclusive share of one pod); a burst needs none of it.
    """
    region = case.symptom.region
    asked = demand(case, region)
    found = []
    rise = rise_of(asked)
    if rise > 0.0:
        found.append(
            Finding(
                entity=Entity(EntityKind.WORKLOAD, region),
                channel=CHANNEL,
                strength=rise * (1.0 - 0.7 * slowed),
                resource=ResourceClass.LOAD,
                text=(
                    f"users send {plain(asked.before_rps)} -> {plain(asked.after_rps)} requests/s"
                ),
                specificity=1.0,
                before=asked.before_rps,
                after=asked.after_rps,
                unit="/s",
            )
        )
    return found + _amplified(case, tree)


def _amplified(case: Case, tree: RedTree) -> list[Finding]:
    """Services that call a callee more often per request than before: retries multiply load."""
    region = case.symptom.region
    found: dict[Entity, Finding] = {}
    for key in sorted(tree.sent):
        one = amplification(case, tree, key) if key[0] == region else None
        if one is not None and (
            one.entity not in found or one.strength > found[one.entity].strength
        ):
            found[one.entity] = one
    return [found[key] for key in sorted(found)]


def amplification(case: Case, tree: RedTree, key: LinkKey) -> Finding | None:
    """How far a caller calls a callee more often per request of its own than before.

    A caller's requests are what reached it: answered ones, or where answers are missing the calls
    that its own callers sent. The repeats that failed calls bring with them in any sane client
    are a consequence and are taken off. Both numbers are counts: only what exceeds their chance
    counts. Where retries are collected, calls that were none are not held against the caller:
    work that was held up and is let go at once asks for more than what arrives.
    """
    region, caller, callee = key
    sent, base = tree.sent[key], _reached(case, tree, region, caller)
    if base is None:
        return None
    per_call = contrast(ratio(sent.calls, base), floor_ratio=0.05)
    if not (per_call.before > 0.0 and per_call.z > 3.0 and per_call.after > per_call.top):
        return None
    failed = contrast(ratio(np.maximum(sent.errors, sent.lost), sent.calls), floor=0.005)
    share = float(np.clip(np.nan_to_num(failed.after), 0.0, 1.0))
    usual = per_call.before * float(base[-1])
    calls = float(sent.calls[-1]) - REPEATS_Z * float(np.sqrt(usual * (1.0 + per_call.before)))
    factor = calls / usual / (1.0 + share + share**2)
    strength = float(np.clip((factor - 1.15) / 1.0, 0.0, 1.0))
    repeats = "retries are not collected"
    if case.has_role("edge_retries"):
        repeated = float(sent.retries[-1])
        strength *= min(1.0, repeated / max(float(sent.calls[-1]) - usual, 1.0))
        repeats = (
            f"retries {plain(100 * repeated / max(float(sent.calls[-1]), 1.0))} % of the calls"
        )
    if strength <= 0.0:
        return None
    return Finding(
        entity=Entity(EntityKind.SERVICE, region, caller),
        channel="amplification",
        strength=strength,
        resource=ResourceClass.CONFIG_CHANGE,
        text=(
            f"calls {callee} {plain(per_call.before)} -> {plain(per_call.after)} times a "
            f"request, {repeats}"
        ),
        specificity=0.4,
        before=per_call.before,
        after=per_call.after,
    )


def _reached(case: Case, tree: RedTree, region: str, caller: str) -> FloatArray | None:
    """Requests that reached a caller per block, as far as either side tells."""
    if caller in entry_services(case, tree, region):
        arrived = tree.entry_requests.get(region)
        if arrived is None:
            return None
        return arrived + _growth_of_gauge(case, _in_flight(case, region))
    inbound = tree.inbound.get((region, caller))
    if inbound is None:
        return None
    sent = [
        tree.sent[(region, above, caller)].calls
        for above in tree.callers.get((region, caller), ())
        if (region, above, caller) in tree.sent
    ]
    return np.fmax(inbound.calls, np.sum(sent, axis=0)) if sent else inbound.calls
