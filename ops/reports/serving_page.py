"""The page of `midwatch serving simulate`: one HTML file without network, figures drawn in SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.reports import serving_cache, serving_figures, svg, words
from ops.reports.lanes import Row
from ops.reports.page import render_page
from ops.reports.parts import Command
from ops.reports.serving_cache import percent
from serving.sim.capacity import Capacity
from serving.sim.report import SimReport
from serving.state import Slo

VARIANTS_MAX = 6  # line styles that can be told apart
_SAME_RATIO = 0.005  # attainments that differ less are told as one


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingRun:
    """What the page is made of: at least one report, all on the same requests."""

    fleet: str
    traffic: str
    reports: Sequence[SimReport]
    figures: Sequence[Mapping[str, Any]]  # of each report; what the tables are made of
    uncached: Sequence[SimReport]  # the same without prefix caches; empty if there are none
    reuse_ratio: float  # prompt tokens found if one cache kept all; NaN without prefix caches
    capacities: Sequence[Capacity]
    facts: Sequence[tuple[str, str]]
    banners: Sequence[str]
    command: str


def render_serving(run: ServingRun) -> str:
    """The whole page."""
    reports = run.reports
    time_axis: svg.TimeAxis | None = None
    over_time: list[Row] = []
    if all(report.duration_s > 0.0 for report in reports):
        time_axis, over_time = serving_figures.over_time(reports)
    span_axis, spreads = serving_figures.spreads(reports, run.uncached)
    return render_page(
        "serving.html.j2",
        "serving.css",
        title=headline(reports),
        fleet=run.fleet,
        traffic=run.traffic,
        seed=reports[0].seed,
        banners=run.banners,
        variants=[
            (serving_figures.line_sign(index), report.label) for index, report in enumerate(reports)
        ],
        table=figure_rows(run.figures),
        cache_table=serving_cache.cache_rows(run.figures),
        cache_lead=serving_cache.lead(run.reuse_ratio),
        instance_axis=serving_cache.axis_of_instances(),
        by_instance=serving_cache.instance_rows(reports),
        ttft_spreads=serving_cache.ttft_rows(reports, run.uncached, span_axis),
        time_axis=svg.time_axis(time_axis, serving_figures.ELAPSED, []) if time_axis else "",
        over_time=over_time,
        span_axis=span_axis.drawn(),
        spreads=spreads,
        capacities=[_capacity(item) for item in run.capacities],
        facts=run.facts,
        commands=[Command(label="Repeat", text=run.command)],
    )


def headline(reports: Sequence[SimReport]) -> str:
    """The answer in one sentence."""
    first, slo = reports[0], reports[0].slo
    limits = _limits(slo)
    if len(reports) == 1:
        return f"{percent(first.attainment_ratio)} of the requests stayed within {limits}"
    ranked = sorted(reports, key=lambda r: (-r.attainment_ratio, r.label))
    best, worst = ranked[0], ranked[-1]
    if best.attainment_ratio - worst.attainment_ratio < _SAME_RATIO:
        return (
            f"All kept {percent(worst.attainment_ratio)} of the requests within {limits}; "
            f"TTFT p99 {_from_to(reports, 'ttft_s')}, TBT p99 {_from_to(reports, 'tbt_s')}"
        )
    return (
        f"{best.label} kept {percent(best.attainment_ratio)} of the requests within {limits}; "
        f"{worst.label} kept {percent(worst.attainment_ratio)}"
    )


def _limits(slo: Slo) -> str:
    """The limits that can be missed; an infinite one limits nothing."""
    named = (("TTFT", slo.ttft_s), ("TPOT", slo.tpot_s))
    found = [f"a {name} of {words.quantity(s, 's')}" for name, s in named if math.isfinite(s)]
    return " and ".join(found) or "no limit at all"


def _from_to(reports: Sequence[SimReport], key: str) -> str:
    """ "56 ms (one policy) to 142 ms (another)"."""
    found = sorted((report.figures()[key]["p99"], report.label) for report in reports)
    return " to ".join(
        f"{words.quantity(value, 's')} ({label})" for value, label in (found[0], found[-1])
    )


def figure_rows(figures: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """(name, one cell per variant), for the page and the terminal."""

    def row(name: str, cell: Any) -> tuple[str, list[str]]:
        return name, [cell(f) for f in figures]

    def span(key: str, which: str) -> Any:
        return lambda f: words.quantity(f[key][which], "s")

    rows = [row("Requests", lambda f: f"{f['requests']:,}")]
    for key, name in (("ttft_s", "TTFT"), ("tpot_s", "TPOT"), ("tbt_s", "TBT"), ("e2e_s", "E2E")):
        rows += [row(f"{name} {which}", span(key, which)) for which in ("p50", "p90", "p99")]
    unanswered = ("open", "rejected", "aborted", "failed")
    return [
        *rows,
        row("Within limits", lambda f: percent(f["attainment_ratio"])),
        row("Good requests", lambda f: f"{words.number(f['good_rps'])} /s"),
        row("Unanswered", lambda f: _counts(f["outcomes"], unanswered)),
        row("Instances busy", lambda f: percent(f["busy_ratio"])),
        row("Longest queue", lambda f: f"{f['waiting_max']:,}"),
        row("KV memory, mean", lambda f: percent(f["kv_ratio_mean"])),
        row("KV memory, fullest", lambda f: percent(f["kv_ratio_max"])),
        row("Preemptions", lambda f: f"{f['preemptions']:,}"),
    ]


def _counts(outcomes: Mapping[str, int], which: Sequence[str]) -> str:
    return ", ".join(f"{outcomes[key]:,} {key}" for key in which if outcomes[key]) or "0"


def capacity_text(item: Capacity) -> str:
    """A search's answer in one sentence."""
    failed = item.rate_rps_failed
    if item.rate_rps:
        return (
            f"{item.rate_rps:.3g} requests/s within the limits, not {failed:.3g}; goodput "
            f"{item.goodput_rps_per_gpu:.3g} requests/s per GPU"
        )
    kept = min(item.trials, key=lambda trial: trial.rate_rps).attainment_ratio
    return (
        f"no rate keeps the wanted share within the limits: even at {failed:.2g} requests/s, where "
        f"requests hardly meet, it is {percent(kept)}"
    )


def _capacity(item: Capacity) -> list[str]:
    failed = item.rate_rps_failed
    if not item.rate_rps:
        return [item.label, "none", f"{words.number(failed)} /s", "none", str(len(item.trials))]
    return [
        item.label,
        f"{words.number(item.rate_rps)} /s",
        "none" if math.isinf(failed) else f"{words.number(failed)} /s",
        f"{words.number(item.goodput_rps_per_gpu)} /s",
        str(len(item.trials)),
    ]
