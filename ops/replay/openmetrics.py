"""OpenMetrics text with timestamps: frame -> text and text -> frame, without loss of a sample.

A cell that is NaN is an absent sample and is not written. A scraped NaN is another value: it has
Prometheus' bit pattern for it, `REAL_NAN`, in the frame. Rows and series without any sample do
not survive the text.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ops.catalogue import Catalogue
from ops.errors import MetricsTextError
from rca.state import FloatArray, MetricFrame, MetricRole, Series

_REAL_NAN_BITS = 0x7FF8000000000001
REAL_NAN: float = struct.unpack("<d", struct.pack("<Q", _REAL_NAN_BITS))[0]
# Rows times series; a text that sparsely fills more would not fit into memory.
CELLS_MAX = 2**24

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(?:,|$)')
_HEAD = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*",?)*)\})?'
)
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
    """Yield the text family by family, families and series in order of their names.

    Raises:
        MetricsTextError: a name or label name that the format does not allow.
    """
    frame.check()
    stamps = [f" {time_s!r}\n" for time_s in np.asarray(frame.times_s, dtype=np.float64).tolist()]
    for (family, kind), columns in sorted(_families(frame).items()):
        chunk = [f"# TYPE {family} {kind}\n"]
        lines = {column: _sample_lines(frame, column, stamps) for column in columns}
        for group in _groups(frame, columns):
            # The samples of one histogram at one time belong together.
            for at_one_time in zip(*(lines[column] for column in group), strict=True):
                chunk += at_one_time
        if any(chunk[1:]):
            yield "".join(chunk)
    yield "# EOF\n"


def parse_metrics(text: str, *, step_s: float, catalogue: Catalogue | None = None) -> MetricFrame:
    """Read OpenMetrics text whose samples carry timestamps, in any order of series and times.

    Args:
        step_s: nominal scrape interval, which the text does not state.
        catalogue: gives the roles; without it they are None.

    Raises:
        MetricsTextError: truncated, malformed, a sample twice, or too large; names the line.
    """
    lines = text.split("\n")
    if "# EOF" not in lines:
        raise MetricsTextError(
            f"no '# EOF' in {len(lines)} lines: the text is cut off; copy it again"
        )
    end = lines.index("# EOF")
    for number, line in enumerate(lines[end + 1 :], start=end + 2):
        if line:
            raise MetricsTextError(
                f"line {number}: {line[:60]!r} after '# EOF'; keep one exposition per file"
            )
    samples = _Samples()
    samples.read(lines[:end])
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
        self._samples: list[tuple[int, int, float, float]] = []  # line, column, time, value

    def read(self, lines: Sequence[str]) -> None:
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
                samples.append((number, heads[head], times_s[time], float(value)))
            except ValueError:
                raise MetricsTextError(
                    f"line {number}: value is {value[:40]!r}, expected a number; mend the line"
                ) from None

    def table(self) -> tuple[FloatArray, FloatArray]:
        """Return times and values, shape [T] and [T, N].

        Raises:
            MetricsTextError: too many cells, or two samples for one.
        """
        read = np.array(self._samples, dtype=np.float64).reshape(-1, 4)
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
