"""What prefix caches did in a simulated serving fleet: rows of figures, and plots by instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ops.reports import svg, words
from ops.reports.lanes import Row
from ops.reports.serving_figures import HEIGHT, SpanAxis, cdf, round_up, spread_row
from serving.sim.report import SimReport

Floats = NDArray[np.float64]

_MILLION = 1e6


def cache_rows(figures: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """(name, one cell per variant); empty when the fleet has no prefix caches."""
    caches = [f["prefix_cache"] for f in figures]
    if any(cache is None for cache in caches):
        return []
    hits = [[i["hit_ratio"] for i in cache["instances"]] for cache in caches]
    rows = [("Prefix hits", [percent(cache["hit_ratio"]) for cache in caches])]
    if max(map(len, hits)) > 1:
        rows += [
            ("Prefix hits, lowest", [percent(_extreme(np.nanmin, h)) for h in hits]),
            ("Prefix hits, highest", [percent(_extreme(np.nanmax, h)) for h in hits]),
            ("Prefill, busiest / mean", [_times(f["prefill_imbalance_ratio"]) for f in figures]),
        ]
    rows.append(("Tokens looked up", [tokens(cache["queried_tokens"]) for cache in caches]))
    rows.append(("Tokens evicted", [tokens(cache["evicted_tokens"]) for cache in caches]))
    for which in ("p50", "p90", "p99"):
        rows.append((f"TTFT {which}, no cache", [_ttft(f, which) for f in figures]))
    return rows


def lead(reuse_ratio: float) -> str:
    """What the section's figures mean, and the most that they could be."""
    most = "" if math.isnan(reuse_ratio) else (
        f" One cache for all requests that forgets nothing would find {percent(reuse_ratio)}."
    )  # fmt: skip
    return (
        "Share of prompt tokens whose KV was there when the request began to run; "
        f"the same requests once more without prefix caches.{most}"
    )


def instance_rows(reports: Sequence[SimReport]) -> list[Row]:
    """A row each for hit ratio and prefill by instance, instances in rising order."""
    if len(reports[0].caches) < 2:
        return []
    hits = [np.sort([cache.hit_ratio for cache in r.caches]) for r in reports]
    work = [
        np.sort(r.prefilled_tokens / max(float(r.prefilled_tokens.mean()), 1.0)) for r in reports
    ]
    return [
        _instance_row("Hit ratio", "by instance", hits, [percent(_middle(h)) for h in hits], True),
        _instance_row("Prefill", "over the mean", work, [_times(w[-1]) for w in work], False),
    ]


def ttft_rows(
    reports: Sequence[SimReport], uncached: Sequence[SimReport], axis: SpanAxis
) -> list[Row]:
    """Distribution of TTFT with and without prefix caches, on the axis of the other ones."""
    limit = reports[0].slo.ttft_s
    pairs = (("with prefix caches", reports), ("without", uncached))
    return [
        spread_row("TTFT", what, [cdf(r.ttft_s) for r in runs], limit, axis=axis)
        for what, runs in pairs
        if runs
    ]


def percent(ratio: float) -> str:
    """A share with one decimal."""
    return words.NO_DATA if math.isnan(ratio) else f"{100 * ratio:.1f} %"


def tokens(num: float) -> str:
    """A count of tokens; millions from one on."""
    return f"{words.number(num / _MILLION)} M" if num >= _MILLION else f"{num:,.0f}"


def _instance_row(
    name: str, detail: str, lines: Sequence[Floats], told: Sequence[str], is_ratio: bool
) -> Row:
    known = [float(v) for line in lines for v in line if not math.isnan(v)]
    top = round_up(max(known, default=0.0)) or 1.0
    parts = [svg.line(0, y, 100, y, "gl") for y in (0, HEIGHT / 2)]
    parts.append(svg.line(0, HEIGHT, 100, HEIGHT, "ax"))
    for index, line in enumerate(lines):
        line = line[~np.isnan(line)]  # those that looked nothing up
        places = np.linspace(0.0, 100.0, len(line))
        points = [(float(x), float(v) / top) for x, v in zip(places, line, strict=True)]
        parts.append(svg.curve(points, HEIGHT, f"v{index}"))
    label = words.quantity(top, "ratio") if is_ratio else f"{words.number(top)} ×"
    parts += [
        svg.text(0, 10, label, anchor="end", dx=-8),
        svg.text(0, HEIGHT, "0", anchor="end", dx=-8),
    ]
    reading = "median" if is_ratio else "busiest"
    title = f"{name} {detail}, from the lowest to the highest; {reading} {'; '.join(told)}"
    return Row(
        label=name,
        detail=detail,
        plot=svg.plot(title, HEIGHT, *parts),
        value=f"{reading} {told[0]}",
        value_detail="; ".join(told[1:]),
    )


def axis_of_instances() -> Markup:
    """Labels under which instances stand in rising order."""
    return svg.plot(
        "Axis of instances",
        24,
        svg.text(0, 20, "lowest instance"),
        svg.text(100, 20, "highest", anchor="end"),
    )


def _ttft(figure: Mapping[str, Any], which: str) -> str:
    without = figure["without_prefix_cache"]
    return words.NO_DATA if without is None else words.quantity(without["ttft_s"][which], "s")


def _times(ratio: float) -> str:
    return words.NO_DATA if math.isnan(ratio) else f"{ratio:.2f} ×"


def _extreme(of: Any, ratios: Sequence[float]) -> float:
    known = [r for r in ratios if not math.isnan(r)]
    return float(of(known)) if known else math.nan


def _middle(ratios: Floats) -> float:
    known = ratios[~np.isnan(ratios)]
    return float(np.median(known)) if len(known) else math.nan
