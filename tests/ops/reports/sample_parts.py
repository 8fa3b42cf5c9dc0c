"""Small parts of the invented run that several of its pages share."""

from __future__ import annotations

import math

import numpy as np

from ops.reports import (
    Change,
    ClockBase,
    EvidenceSeries,
    Lane,
    Mark,
    MarkKind,
    SpreadArc,
    SpreadNode,
    SpreadRole,
)

NIGHT = ClockBase(epoch_s=1773711000.0)  # 17 Mar 2026 01:30:00 UTC


def lane(region, slo_class, share, with_loop, without, **more) -> Lane:
    def minutes(bad):
        quiet = [0.001 + 0.002 * ((7 * m + len(slo_class)) % 3) for m in range(70)]
        return tuple(bad.get(m, quiet[m]) for m in range(70))

    return Lane(
        region=region,
        slo_class=slo_class,
        traffic_ratio=share,
        start_s=0.0,
        bad_with=minutes(with_loop),
        bad_without=minutes(without),
        **more,
    )


def series(label, unit, *, base, peak=None, onset=None, detail="", gap=None, **more):
    """Noise around `base`; from `onset` to the roll-back at 2215 s a ramp to `peak` and back."""
    rng = np.random.default_rng(list(label.encode()))
    times = np.arange(1920.0, 2645.0, 5.0)
    values = base * (1 + 0.03 * rng.standard_normal(len(times)))
    if peak is not None:
        up = np.clip((times - onset) / 50.0, 0, 1) * np.clip((2340.0 - times) / 90.0, 0, 1)
        values = values + (peak - base) * up
    if gap is not None:
        values[(times >= gap[0]) & (times < gap[1])] = math.nan
    return EvidenceSeries(
        label=label,
        unit=unit,
        detail=detail,
        times_s=tuple(float(t) for t in times),
        values=tuple(round(float(v), 4) for v in values),
        normal_low=round(base * 0.95, 4),
        normal_high=round(base * 1.05, 4),
        onset_s=onset,
        before=base,
        after=peak if peak is not None else round(base * 1.01, 4),
        **more,
    )


def changes() -> tuple[Change, ...]:
    return (
        Change(at_s=660.0, title="flag long-context 5 %", region="us-east", why="other region"),
        Change(at_s=1350.0, title="scale engines 8 → 9", region="eu-west", why="nothing followed"),
        Change(
            at_s=2165.0,
            title="deploy tokenizer 2.3.1",
            region="eu-west",
            why="30 s after onset",
        ),
    )


def marks() -> tuple[Mark, ...]:
    rows = (
        (660.0, MarkKind.CHANGE, "flag long-context 5 %, us-east"),
        (1350.0, MarkKind.CHANGE, "scale engines 8 → 9, eu-west"),
        (2050.0, MarkKind.CHANGE, "config session-store 117 → 118, eu-west"),
        (2135.0, MarkKind.BEGAN, "session-store: calls to session-db flat at 24"),
        (2165.0, MarkKind.CHANGE, "deploy tokenizer 2.3.1, eu-west"),
        (2175.0, MarkKind.SLO_MISS, "eu-west interactive: TTFT p99 above 1.5 s"),
        (2185.0, MarkKind.DETECTED, "41 of 1,296 series changed together"),
        (2205.0, MarkKind.DIAGNOSED, "session-store, connection pool, confidence 0.82"),
        (2215.0, MarkKind.ACTION, "roll back session-store in eu-west, 118 → 117"),
        (2340.0, MarkKind.MITIGATED, "first minute within SLO in all four lanes"),
        (2520.0, MarkKind.OUTCOME, "Effective: TTFT p99 0.64 s"),
        (3040.0, MarkKind.PAGE, "14.4× page, in the same run without midwatch"),
    )
    return tuple(Mark(at_s=at_s, kind=kind, text=text) for at_s, kind, text in rows)


def nodes() -> tuple[SpreadNode, ...]:
    rows = (
        ("r118", "config session-store 118", SpreadRole.CHANGE, 2050.0, ""),
        ("store", "session-store", SpreadRole.CAUSE, 2135.0, "connection pool"),
        ("auth", "auth", SpreadRole.VICTIM, 2145.0, ""),
        ("gateway", "gateway", SpreadRole.VICTIM, 2150.0, ""),
        ("engines", "engines, eu-west", SpreadRole.VICTIM, 2165.0, "starved"),
        ("euwi", "eu-west interactive", SpreadRole.SLO_MISS, 2175.0, ""),
        ("euwb", "eu-west batch", SpreadRole.SLO_MISS, 2220.0, ""),
    )
    return tuple(
        SpreadNode(key=key, name=name, role=role, onset_s=onset_s, detail=detail)
        for key, name, role, onset_s, detail in rows
    )


def arcs() -> tuple[SpreadArc, ...]:
    rows = (
        ("r118", "store", "85 s after the change began, same service.", False),
        ("store", "auth", "Waits for session-store: p99 90 ms → 2.4 s. Arc 0.58.", True),
        ("store", "gateway", "Waits for session-store: p99 0.21 → 2.4 s. Arc 0.61.", True),
        ("auth", "gateway", "Waits for auth: arc 0.19.", True),
        ("gateway", "engines", "Called by gateway: running 118 → 84. Arc 0.33.", True),
        ("gateway", "euwi", "Served by gateway: TTFT p99 0.62 → 3.1 s. Arc 0.66.", True),
        ("gateway", "euwb", "Served by gateway: TTFT p99 1.1 → 8.6 s. Arc 0.41.", True),
    )
    return tuple(
        SpreadArc(cause=a, effect=b, text=text, measured=measured) for a, b, text, measured in rows
    )
