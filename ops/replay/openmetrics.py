"""A frame as OpenMetrics text with timestamps, no sample lost; `openmetrics_read` reads it back.

A cell that is NaN is an absent sample and is not written. A scraped NaN is another value: it has
Prometheus' bit pattern for it, `REAL_NAN`, in the frame. Rows and series without any sample do
not survive the text.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from ops.errors import MetricsTextError
from rca.state import MetricFrame, MetricRole, Series

_REAL_NAN_BITS = 0x7FF8000000000001
REAL_NAN: float = struct.unpack("<d", struct.pack("<Q", _REAL_NAN_BITS))[0]
CHUNK_CHARS = 1 << 18

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
_SUFFIXES = {
    "counter": ("", "_total", "_created"),
    "histogram": ("", "_bucket", "_sum", "_count", "_created"),
    "summary": ("", "_sum", "_count", "_created"),
}
_Families = dict[tuple[str, str], list[int]]  # (family, type) -> columns


def metrics_text(frame: MetricFrame) -> str:
    """Return the whole text; `metric_chunks` is the same in pieces.

    Raises:
        MetricsTextError: a name or label name that the format does not allow.
    """
    return "".join(metric_chunks(frame))


def metric_chunks(frame: MetricFrame) -> Iterator[str]:
    """Yield the text in pieces of about CHUNK_CHARS, families and series in order of their names.

    A window of a large fleet is a gigabyte of text: nobody should hold all of it.

    Raises:
        MetricsTextError: a name or label name that the format does not allow.
    """
    frame.check()
    stamps = [f" {time_s!r}\n" for time_s in np.asarray(frame.times_s, dtype=np.float64).tolist()]
    pieces: list[str] = []
    num_chars = 0
    for (family, kind), columns in sorted(_families(frame).items()):
        head = f"# TYPE {family} {kind}\n"
        for group in _groups(frame, columns):
            # The samples of one histogram at one time belong together.
            lines = [_sample_lines(frame, column, stamps) for column in group]
            text = "".join(chain.from_iterable(zip(*lines, strict=True)))
            if not text:
                continue
            pieces += (head, text)
            num_chars += len(text)
            head = ""
            if num_chars >= CHUNK_CHARS:
                yield "".join(pieces)
                pieces, num_chars = [], 0
    pieces.append("# EOF\n")
    yield "".join(pieces)


def _escape(text: str) -> str:
    return re.sub(r'[\\"\n]', lambda m: _ESCAPED[m.group(0)], text)


def series_head(series: Series) -> str:
    """A sample's text before its value; names that the format does not allow are refused."""
    for name in (series.name, *(key for key, _ in series.labels)):
        if not _NAME.fullmatch(name) or (name is not series.name and ":" in name):
            raise MetricsTextError(
                f"{name!r} in series {series.name!r} is no OpenMetrics name; "
                "export it with '_' for other characters"
            )
    inner = ",".join(f'{key}="{_escape(value)}"' for key, value in series.labels)
    return f"{series.name}{{{inner}}} " if inner else f"{series.name} "


def _sample_lines(frame: MetricFrame, column: int, stamps: list[str]) -> list[str]:
    """Return one line per row, empty where the sample is absent."""
    head = series_head(frame.series[column])
    values = np.ascontiguousarray(frame.values[:, column], dtype=np.float64)
    if np.isfinite(values).all():
        return [f"{head}{v!r}{s}" for v, s in zip(values.tolist(), stamps, strict=True)]
    real = values.view(np.uint64) == _REAL_NAN_BITS
    absent = (np.isnan(values) & ~real).tolist()
    return [
        "" if gone else f"{head}{_number(value)}{stamp}"
        for gone, value, stamp in zip(absent, values.tolist(), stamps, strict=True)
    ]


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _groups(frame: MetricFrame, columns: Iterable[int]) -> Iterator[list[int]]:
    """Yield the columns of one label set together: buckets by bound, then count and sum."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[float, str, int]]] = {}
    for column in columns:
        series, role = frame.series[column], frame.roles[column]
        bucket = role is not None and role.part == "bucket"
        labels = tuple(pair for pair in series.labels if not (bucket and pair[0] == "le"))
        bound = role.upper_bound if bucket and role and role.upper_bound is not None else math.inf
        name = series.name.removesuffix("_bucket") if bucket else series.name
        groups.setdefault(labels, []).append((bound, name, column))
    for _, members in sorted(groups.items()):
        yield [column for _, _, column in sorted(members)]


def _families(frame: MetricFrame) -> _Families:
    """Sort columns into families; names that would clash become families of unknown type."""
    told: dict[str, MetricRole] = {}
    for series, role in zip(frame.series, frame.roles, strict=True):
        if role is not None:
            told.setdefault(series.name, role)
    names = {series.name for series in frame.series}
    demoted: set[str] = set()
    while True:
        claims: dict[str, set[tuple[str, str]]] = {}
        family_of = {
            name: (name, "unknown") if name in demoted else _family(name, told.get(name), names)
            for name in sorted(names)
        }
        for family, kind in set(family_of.values()):
            for suffix in _SUFFIXES.get(kind, ("",)):
                claims.setdefault(family + suffix, set()).add((family, kind))
        clashing = {one for claim in claims.values() if len(claim) > 1 for one in claim}
        more = {n for n, family in family_of.items() if family in clashing} - demoted
        if not more:
            break
        demoted |= more
    families: _Families = {}
    for column, series in enumerate(frame.series):
        families.setdefault(family_of[series.name], []).append(column)
    return families


def _family(name: str, role: MetricRole | None, names: set[str]) -> tuple[str, str]:
    """Return family name and type; a counter's family is named without `_total`."""
    if role is None:
        return name, "unknown"
    if role.part:
        family = name.removesuffix(f"_{role.part}")
        return family, "histogram" if f"{family}_bucket" in names else "summary"
    if not role.counter:
        return name, "gauge"
    if name.endswith("_total") and name != "_total":
        return name.removesuffix("_total"), "counter"
    # Envoy, cAdvisor and DCGM have counters without the suffix that OpenMetrics demands.
    return name, "unknown"
