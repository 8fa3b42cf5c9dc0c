"""Lanes, the moment of the page and lost minutes, counted from minutes of requests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ops.reports.parts import Lane, LostMinutes
from ops.state import SloTarget

# Region, SLO class, minute since the start, requests that arrived in it, bad ones of them.
MinuteRow = tuple[str, str, int, int, int]

MINUTE_S = 60.0
_PAGE_BURN = 14.4
_PAGE_MINUTES_LONG, _PAGE_MINUTES_SHORT = 60, 5

_Counts = dict[tuple[str, str], dict[int, tuple[int, int]]]  # lane -> minute -> requests, bad


def lanes_of(
    rows: Sequence[MinuteRow],
    without: Sequence[MinuteRow] | None,
    slos: Sequence[SloTarget],
    *,
    start_s: float,
    end_s: float,
    since_s: float = 0.0,
) -> tuple[Lane, ...]:
    """One lane per region and class, minute by minute over [start_s, end_s).

    Args:
        rows: minutes as they happened.
        without: the same without the loop; None = not run.
        since_s: bad minutes that ended before it are shown and not counted.
    """
    targets = {slo.name: slo for slo in slos}
    found, reference = _by_lane(rows), _by_lane(without or ())
    total = sum(n for lane in found.values() for n, _ in lane.values()) or 1
    first, last = int(start_s // MINUTE_S), math.ceil(end_s / MINUTE_S)
    lanes = []
    for key in sorted(found.keys() | reference.keys()):
        slo, counts = targets[key[1]], found.get(key, {})
        budget = 1.0 - slo.target_ratio
        hit = [
            counts[m]
            for m in range(max(first, int(since_s // MINUTE_S)), last)
            if m in counts and _is_bad(counts[m], budget)
        ]
        lanes.append(
            Lane(
                region=key[0],
                slo_class=key[1],
                traffic_ratio=sum(n for n, _ in counts.values()) / total,
                start_s=first * MINUTE_S,
                bad_with=_ratios(counts, first, last),
                bad_without=() if without is None else _ratios(reference.get(key, {}), first, last),
                budget_ratio=budget,
                requests_hit=sum(n for n, _ in hit),
                requests_bad=sum(bad for _, bad in hit),
                limit=_limit(slo),
                since_s=since_s,
            )
        )
    return tuple(lanes)


def _limit(slo: SloTarget) -> str:
    if math.isinf(slo.ttft_s) and math.isinf(slo.tpot_s):
        return "no limits set, failures alone count"
    return f"TTFT {slo.ttft_s:g} s, TPOT {slo.tpot_s:g} s"


def first_miss_s(
    rows: Sequence[MinuteRow], slos: Sequence[SloTarget], *, region: str, from_s: float
) -> float | None:
    """Start of the first bad minute of a region that ends after `from_s`, never before it."""
    targets = {slo.name: 1.0 - slo.target_ratio for slo in slos}
    found = [
        max(minute * MINUTE_S, from_s)
        for place, slo_class, minute, requests, bad in rows
        if place == region and (minute + 1) * MINUTE_S > from_s
        if _is_bad((requests, bad), targets[slo_class])
    ]
    return min(found, default=None)


def page_at_s(
    rows: Sequence[MinuteRow], slos: Sequence[SloTarget], *, region: str, from_s: float
) -> float | None:
    """When the 14.4x rule over 1 h and 5 min would page for a region; None = never.

    Source: Google SRE Workbook, "Alerting on SLOs".
    Differs: a request counts in the minute of its arrival, although its outcome is known later,
    so the page comes a little too early here; an hour that has not passed yet counts as it is.
    """
    budgets = {slo.name: 1.0 - slo.target_ratio for slo in slos}
    moments = []
    for (place, slo_class), counts in _by_lane(rows).items():
        if place != region:
            continue
        limit = _PAGE_BURN * budgets[slo_class]
        for minute in sorted(counts):
            end_s = (minute + 1) * MINUTE_S
            if end_s < from_s:
                continue
            spans = (_PAGE_MINUTES_LONG, _PAGE_MINUTES_SHORT)
            if all(_share(counts, minute, span) > limit for span in spans):
                moments.append(end_s)
                break
    return min(moments, default=None)


def lost_minutes(
    rows: Sequence[MinuteRow],
    without: Sequence[MinuteRow] | None,
    slos: Sequence[SloTarget],
    *,
    start_s: float,
    end_s: float,
) -> LostMinutes:
    """Bad minutes in [start_s, end_s), each by its share of that minute's traffic."""
    return LostMinutes(
        with_loop=_lost(rows, slos, start_s, end_s),
        without=None if without is None else _lost(without, slos, start_s, end_s),
    )


def _lost(
    rows: Sequence[MinuteRow], slos: Sequence[SloTarget], start_s: float, end_s: float
) -> float:
    budgets = {slo.name: 1.0 - slo.target_ratio for slo in slos}
    first, last = int(start_s // MINUTE_S), math.ceil(end_s / MINUTE_S)
    total: dict[int, int] = {}
    for _, _, minute, requests, _ in rows:
        total[minute] = total.get(minute, 0) + requests
    return sum(
        requests / total[minute]
        for _, slo_class, minute, requests, bad in rows
        if first <= minute < last and _is_bad((requests, bad), budgets[slo_class])
    )


def _by_lane(rows: Sequence[MinuteRow]) -> _Counts:
    lanes: _Counts = {}
    for region, slo_class, minute, requests, bad in rows:
        lanes.setdefault((region, slo_class), {})[minute] = (requests, bad)
    return lanes


def _is_bad(counts: tuple[int, int], budget: float) -> bool:
    return counts[1] > budget * counts[0]


def _ratios(counts: Mapping[int, tuple[int, int]], first: int, last: int) -> tuple[float, ...]:
    found = (counts.get(minute, (0, 0)) for minute in range(first, last))
    return tuple(bad / requests if requests else math.nan for requests, bad in found)


def _share(counts: Mapping[int, tuple[int, int]], minute: int, span: int) -> float:
    """Bad share over the `span` minutes that end with `minute`."""
    known = [counts[m] for m in range(minute - span + 1, minute + 1) if m in counts]
    requests = sum(n for n, _ in known)
    return sum(bad for _, bad in known) / requests if requests else 0.0
