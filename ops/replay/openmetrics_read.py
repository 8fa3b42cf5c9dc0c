"""OpenMetrics text with timestamps as a frame: what `openmetrics` wrote, or another program.

Large texts are read a line at a time: a window of a large fleet is a gigabyte of them.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from ops.catalogue import Catalogue
from ops.errors import MetricsTextError
from ops.replay.openmetrics import REAL_NAN
from rca.state import FloatArray, MetricFrame, Series

# Rows times series; a text that sparsely fills more would not fit into memory.
CELLS_MAX = 2**24

_END = re.compile(r"^# EOF$", re.MULTILINE)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(?:,|$)')
_HEAD = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)*)\})?'
)


def parse_metrics(text: str, *, step_s: float, catalogue: Catalogue | None = None) -> MetricFrame:
    """Read OpenMetrics text whose samples carry timestamps, in any order of series and times.

    Args:
        step_s: nominal scrape interval, which the text does not state.
        catalogue: gives the roles; without it they are None.

    Raises:
        MetricsTextError: truncated, malformed, a sample twice, or too large; names the line.
    """
    end = _END.search(text)
    if end is None:
        num_lines = text.count("\n") + 1
        raise MetricsTextError(
            f"no '# EOF' in {num_lines} lines: the text is cut off; copy it again"
        )
    number = text.count("\n", 0, end.start()) + 1
    for line in text[end.end() :].split("\n"):
        if line:
            raise MetricsTextError(
                f"line {number}: {line[:60]!r} after '# EOF'; keep one exposition per file"
            )
        number += 1
    samples = _Samples()
    samples.read(_lines(text, end.start()))
    series = tuple(samples.columns)
    roles = tuple(catalogue.resolve(one) if catalogue else None for one in series)
    times_s, values = samples.table()
    return MetricFrame(times_s=times_s, values=values, series=series, roles=roles, step_s=step_s)


class _Samples:
    """Samples in order of the text; text before the value and time texts are read once each."""

    def __init__(self) -> None:
        self.columns: dict[Series, int] = {}
        self._heads: dict[str, int] = {}  # text before the value -> column
        self._times_s: dict[str, float] = {}
        self._samples = array("d")  # line, column, time, value of each: tuples take five times that

    def read(self, lines: Iterable[str]) -> None:
        """Read every line that is no comment.

        Raises:
            MetricsTextError: a line is no sample with a timestamp.
        """
        heads, times_s, samples = self._heads, self._times_s, self._samples
        for number, line in enumerate(lines, start=1):
            if not line or line[0] == "#":
                continue
            # The usual line has no exemplar, its series and its time were met before.
            parts = line.rsplit(" ", 2)
            if len(parts) < 3 or parts[0] not in heads or parts[2] not in times_s:
                parts = _split(number, line)
                if parts[0] not in heads:
                    series = _series(number, parts[0])
                    heads[parts[0]] = self.columns.setdefault(series, len(self.columns))
                times_s[parts[2]] = _finite(number, parts[2])
            head, value, time = parts
            try:
                samples.extend((number, heads[head], times_s[time], float(value)))
            except ValueError:
                raise MetricsTextError(
                    f"line {number}: value is {value[:40]!r}, expected a number; mend the line"
                ) from None

    def table(self) -> tuple[FloatArray, FloatArray]:
        """Return times and values, shape [T] and [T, N].

        Raises:
            MetricsTextError: too many cells, or two samples for one.
        """
        read = np.frombuffer(self._samples, dtype=np.float64).reshape(-1, 4)
        times_s, rows = np.unique(read[:, 2], return_inverse=True)
        num_series = len(self.columns)
        if len(times_s) * num_series > CELLS_MAX:
            raise MetricsTextError(
                f"{len(times_s)} times and {num_series} series make more than {CELLS_MAX} cells; "
                "cut the text to fewer series or align its times"
            )
        cells = rows * num_series + read[:, 1].astype(np.intp)
        order = np.argsort(cells, kind="stable")
        twice = np.flatnonzero(np.diff(cells[order]) == 0)
        if len(twice):
            number = int(read[order[twice[0] + 1], 0])
            raise MetricsTextError(
                f"line {number}: second sample of one series at one time; remove it"
            )
        values = np.full(len(times_s) * num_series, np.nan)
        values[cells] = np.where(np.isnan(read[:, 3]), REAL_NAN, read[:, 3])
        return times_s, values.reshape(len(times_s), num_series)


def _lines(text: str, end: int) -> Iterator[str]:
    """Lines of the text before `end`, one at a time."""
    start = 0
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield text[start:stop]
        start = stop + 1


def _finite(number: int, text: str) -> float:
    try:
        time_s = float(text)
    except ValueError:
        time_s = math.nan
    if not math.isfinite(time_s):
        raise MetricsTextError(
            f"line {number}: time is {text[:40]!r}, expected seconds; mend the line"
        )
    return time_s


def _split(number: int, line: str) -> list[str]:
    """Split head, value, time; an exemplar after them is dropped."""
    found = _HEAD.match(line)
    parts = line[found.end() :].split(" ") if found else []
    if found is None or len(parts) < 2 or parts[0]:
        raise MetricsTextError(
            f"line {number}: {line[:60]!r} is no sample, expected name{{labels}} value time; "
            "mend the line"
        )
    if len(parts) < 3 or parts[2] == "#":
        raise MetricsTextError(
            f"line {number}: {line[:60]!r} has no timestamp; export the metrics with timestamps"
        )
    if len(parts) > 3 and parts[3] != "#":
        raise MetricsTextError(
            f"line {number}: {' '.join(parts[3:])[:40]!r} after the timestamp; mend the line"
        )
    return [found.group(0), parts[1], parts[2]]


def _series(number: int, head: str) -> Series:
    name, _, inner = head.partition("{")
    labels = [(k, _unescape(v)) for k, v in _LABEL.findall(inner[:-1])]
    if len({key for key, _ in labels}) < len(labels):
        raise MetricsTextError(f"line {number}: a label twice in {head[:80]!r}; keep one")
    return Series(name, tuple(sorted(labels)))


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), text)
