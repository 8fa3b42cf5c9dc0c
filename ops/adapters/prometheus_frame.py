"""A window of a Prometheus as one metric frame on the scrape grid: what a diagnosis reads.

Counters stay cumulative; `rca.align` makes rates of them. Missing is NaN, never zero.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.adapters.prometheus_answers import Answer
from ops.adapters.prometheus_columns import Columns, Complete
from ops.adapters.prometheus_grid import Grid, fill, interval_ms
from ops.adapters.prometheus_names import Asked, names_to_read
from ops.adapters.prometheus_plan import (
    RawSamples,
    Tick,
    ask,
    count_series,
    make_parts,
    no_tick,
)
from ops.adapters.prometheus_selectors import BUCKET_ROLES, Matcher, some
from ops.catalogue import Catalogue, WithUnlisted
from ops.clock import Deadline
from ops.errors import PrometheusError
from rca.state import MetricFrame

if TYPE_CHECKING:
    from ops.adapters.prometheus import PrometheusReader

logger = logging.getLogger(__name__)

DEADLINE_S = 120.0
STEP_MS_GUESSED = 5_000  # for the plan, until the samples tell
LOOKBACK_MS = 60_000  # before the first row where the step is not known
COMPLETED = frozenset({"region", "service", "node"})  # labels that a store then need not have
CELLS_MAX = 2**24  # rows times series: 128 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReading:
    """A frame and what a person should know of how it came about.

    Attributes:
        names: stored names that were read; they tell which spelling is live.
        notes: one sentence each, e.g. that samples come more rarely than the step.
    """

    frame: MetricFrame
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def open_reader(
    url: str,
    *,
    timeout_s: float = 30.0,
    headers: Mapping[str, str] | None = None,
    token_file: Path | None = None,
    basic_auth_file: Path | None = None,
    ca_file: Path | None = None,
) -> PrometheusReader:
    """A reader of the Prometheus at `url`; close it, or use it in a `with`.

    Raises:
        PrometheusError: no URL, or the extra `prometheus` is not installed.
    """
    try:
        # The client belongs to an extra: commands that read files must run without it.
        from ops.adapters.prometheus import PrometheusReader  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise PrometheusError(
            f"reading a Prometheus needs the package {error.name}; "
            "run pip install -e '.[prometheus]' in the clone of midwatch"
        ) from error
    return PrometheusReader(
        url, timeout_s=timeout_s, headers=headers, token_file=token_file,
        basic_auth_file=basic_auth_file, ca_file=ca_file,
    )  # fmt: skip


def read_frame(
    reader: RawSamples,
    catalogue: Catalogue,
    start_s: float,
    end_s: float,
    step_s: float | None = None,
    *,
    matchers: Sequence[Matcher] = (),
    add_labels: Mapping[str, str] | None = None,
    deadline_s: float = DEADLINE_S,
) -> MetricFrame:
    """`read_window` whose notes go to the log.

    Raises:
        PrometheusError: as `read_window`.
    """
    reading = read_window(
        reader,
        catalogue,
        start_s,
        end_s,
        step_s,
        matchers=matchers,
        add_labels=add_labels,
        deadline_s=deadline_s,
    )
    for note in reading.notes:
        logger.warning("%s: %s", reader.url, note)
    return reading.frame


def read_window(
    reader: RawSamples,
    catalogue: Catalogue,
    start_s: float,
    end_s: float,
    step_s: float | None = None,
    *,
    matchers: Sequence[Matcher] = (),
    also: Sequence[tuple[Matcher, ...]] = (),
    add_labels: Mapping[str, str] | None = None,
    complete: Complete | None = None,
    bucket_roles: frozenset[str] = BUCKET_ROLES,
    deadline_s: float = DEADLINE_S,
    tick: Tick = no_tick,
) -> FrameReading:
    """Read every series that has a role between two moments.

    A row holds what was scraped in the step that it ends. The values are float64: in float32 a
    start time is wrong by a minute, and a counter of bytes beyond 100 GB moves in steps of 8 kB.

    Args:
        start_s, end_s: first and last row in unix seconds, exact to the millisecond.
        step_s: between rows, best the scrape interval; None = the median distance of samples.
        matchers: further conditions, e.g. on the namespace.
        also: selectors of metrics that the catalogue does not list, each as its conditions.
        add_labels: for series that lack them, often the region.
        complete: gives a series its labels in the end, e.g. region and service of its pod.
        bucket_roles: roles whose histogram buckets are read, too.
        deadline_s: for all of it.
        tick: told (questions answered, questions known so far, samples) after each answer.

    Raises:
        PrometheusError: no usable answer, no known series, or more cells than fit.
    """
    grid, added = _grid(start_s, end_s, step_s), dict(add_labels or {})
    deadline = Deadline.after(deadline_s)
    step_ms = grid.step_ms or STEP_MS_GUESSED
    after_ms = grid.start_ms - (grid.step_ms or LOOKBACK_MS)
    given = frozenset(added) | (COMPLETED if complete else frozenset())
    asked = Asked(
        after_ms=after_ms, until_ms=grid.end_ms, matchers=tuple(matchers), also=tuple(also),
        added=given, bucket_roles=bucket_roles,
    )  # fmt: skip
    known, unlisted = names_to_read(reader, catalogue, asked, deadline=deadline)
    counts = count_series(reader, known, at_ms=(grid.start_ms, grid.end_ms), deadline=deadline)
    if grid.step_ms:
        _check_cells(reader.url, grid, sum(counts.values()))
    parts = make_parts(known, counts, after_ms=after_ms, until_ms=grid.end_ms, step_ms=step_ms)
    answers = ask(reader, parts, deadline=deadline, tick=tick)
    columns = Columns(WithUnlisted(catalogue, unlisted) if unlisted else catalogue, added, complete)
    places = [columns.places(answer) for answer in answers]
    if not columns.series:
        raise PrometheusError(_nothing_read(reader.url, known, columns))
    seen_ms = interval_ms(answers)
    if not grid.step_ms:
        grid = Grid(grid.start_ms, grid.end_ms, min(seen_ms, grid.end_ms - grid.start_ms) or 1_000)
    _check_cells(reader.url, grid, len(columns.series))
    rank = columns.sort()
    frame = MetricFrame(
        times_s=grid.times_s(),
        values=fill(grid, answers, [rank[place] for place in places], len(columns.series)),
        series=tuple(columns.series),
        roles=tuple(columns.roles),
        step_s=grid.step_ms / 1000.0,
    )
    return FrameReading(
        frame=frame,
        names=tuple(sorted(name for names in columns.spellings.values() for name in names)),
        notes=tuple(_notes(answers, columns, grid, seen_ms)),
    )


def _grid(start_s: float, end_s: float, step_s: float | None) -> Grid:
    """Rows as asked for; step 0 where the samples shall tell."""
    if not end_s > start_s:
        raise PrometheusError(f"end {end_s} is not after start {start_s}; exchange them")
    if step_s is not None and not 0.001 <= step_s <= end_s - start_s:
        raise PrometheusError(
            f"step is {step_s:g} s for a window of {end_s - start_s:g} s; give the scrape interval"
        )
    return Grid(round(start_s * 1000), round(end_s * 1000), round((step_s or 0.0) * 1000))


def _check_cells(url: str, grid: Grid, num_series: int) -> None:
    if grid.num_rows * num_series > CELLS_MAX:
        raise PrometheusError(
            f"{url}: {num_series} series and {grid.num_rows} rows make more than {CELLS_MAX} "
            "cells; shorten the window, widen the step or add a matcher such as namespace=prod"
        )


def _nothing_read(url: str, known: Mapping[str, object], columns: Columns) -> str:
    if columns.num_without_region:
        labels = ", ".join(columns.catalogue.region_labels)
        return (
            f"{url}: none of {columns.num_without_region} series has a label that gives the "
            f"region ({labels}); add one, e.g. --label region=eu-west-1"
        )
    return (
        f"{url}: {len(known)} known metrics, {columns.num_without_role} series without a usable "
        f"label and none with a role in that time, e.g. of {some(sorted(known))}; "
        "check start, end and matchers"
    )


def _notes(answers: Sequence[Answer], columns: Columns, grid: Grid, seen_ms: int) -> Iterable[str]:
    seen_s, step_s = seen_ms / 1000.0, grid.step_ms / 1000.0
    if seen_s > 1.25 * step_s:
        yield (
            f"samples come every {seen_s:g} s and rows every {step_s:g} s: most cells are "
            f"missing; a step of {seen_s:g} s fits"
        )
    elif 0.0 < seen_s < 0.8 * step_s:
        yield f"samples come every {seen_s:g} s: only the last of each {step_s:g} s is kept"
    for names in columns.spellings.values():
        if len(names) > 1:
            yield f"one metric is stored as {some(sorted(names))}; equal labels are one series"
    if columns.num_without_region:
        yield f"{columns.num_without_region} series have no label that gives a region: left out"
    num_histograms = sum(answer.num_histograms for answer in answers)
    if num_histograms:
        yield f"{num_histograms} native histograms cannot be read: left out"
    told = list(dict.fromkeys(text for answer in answers for text in answer.warnings))
    if told:
        yield f"the server warns: {some(told)}"
