"""Files of a recorded case in the layout that `rca.datasets` reads: table, spans, logs.

Bytes depend on the content alone: rows are sorted, numbers rounded, archives carry no time.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from ops.replay.traced_graph import LogRow, SpanRow
from ops.replay.wide_table import WideTable

SPAN_FIELDS = ("t_ms", "trace", "span", "parent", "service", "op", "dur_us")
LOG_FIELDS = ("t_ms", "service", "trace", "message")


def write_metrics(folder: Path, table: WideTable) -> None:
    """`metrics.csv.gz`: seconds and one column per metric, empty where missing."""
    rows = zip(table.times_s.tolist(), table.values.tolist(), strict=True)
    _write(
        folder / "metrics.csv.gz",
        ("time", *table.columns),
        ([f"{time_s:g}", *("" if v != v else f"{v:.6g}" for v in row)] for time_s, row in rows),
    )


def write_spans(folder: Path, spans: Iterable[SpanRow], *, origin_s: float) -> None:
    """`spans.csv.gz`, by start; times in ms since `origin_s`."""
    ordered = sorted(spans, key=lambda s: (s.start_s, s.span))
    _write(
        folder / "spans.csv.gz",
        SPAN_FIELDS,
        (
            [
                f"{(s.start_s - origin_s) * 1e3:.3f}", s.trace, s.span, s.parent, s.service,
                s.operation, round(s.duration_s * 1e6),
            ]
            for s in ordered
        ),
    )  # fmt: skip


def write_logs(folder: Path, lines: Iterable[LogRow], *, origin_s: float) -> None:
    """`logs.csv.gz`, in the order in which the lines were written."""
    _write(
        folder / "logs.csv.gz",
        LOG_FIELDS,
        ([f"{(x.at_s - origin_s) * 1e3:.3f}", x.service, x.trace, x.message] for x in lines),
    )


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=6, mtime=0))
