"""The requests table as CSV, both ways: what is written is read back value for value."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.workload.formats.cells import Cells, Table
from serving.workload.formats.columns import Columns
from serving.workload.formats.numerals import Ints, Unsure
from serving.workload.formats.rows import (
    SECONDS_MAX,
    TOKENS_MAX,
    BadRow,
    Header,
    Names,
    RowReader,
    TraceFormat,
    column_names,
    out_of_order,
    parse_count,
    parse_name,
    parse_seconds,
)
from serving.workload.table import NO_SESSION, Kind, Origin, RequestTable, Status

COLUMNS = (
    "trace_id",
    "arrival_s",
    "kind",
    "model",
    "num_prompt_tokens",
    "num_output_tokens",
    "status",
    "session_index",
    "e2e_s",
    "prefix_block_tokens",
    "prefix_ids",
    "origin",
)
TURN, IMAGES = "turn", "num_images"  # stand in the file only where the table knows them
INT16_MAX = 2**15 - 1
INT64_MAX = 2**63 - 1
INT32_MAX = 2**31 - 1
KINDS = {kind.name.lower(): kind for kind in Kind}
STATUSES = {status.name.lower(): status for status in Status}
ORIGINS = {origin.value: origin for origin in Origin}
Code = TypeVar("Code")


def write_csv(table: RequestTable, path: Path) -> None:
    """Write the table; an unknown latency and an absent session become empty cells.

    Columns that the table does not know, `turn` and `num_images`, are left out.

    Raises:
        ValueError: a name holds a comma or a character that does not print.
    """
    for name in (table.trace_id, *table.models):
        if "," in name or not name.isprintable():
            raise ValueError(f"name {name!r} cannot stand in a CSV cell; rename it")
    kinds, statuses = list(KINDS), list(STATUSES)
    with path.open("w", encoding="utf-8", newline="\n") as out:
        known: dict[str, NDArray[Any]] = {TURN: table.turn, IMAGES: table.num_images}
        more = {name: column for name, column in known.items() if len(column)}
        out.write(",".join((*COLUMNS, *more)) + "\n")
        for row in range(len(table)):
            e2e_s, session = float(table.e2e_s[row]), int(table.session_index[row])
            cells = (
                table.trace_id,
                repr(float(table.arrival_s[row])),
                kinds[table.kind[row]],
                table.models[table.model[row]],
                str(table.num_prompt_tokens[row]),
                str(table.num_output_tokens[row]),
                statuses[table.status[row]],
                "" if session == NO_SESSION else str(session),
                "" if np.isnan(e2e_s) else repr(e2e_s),
                str(table.prefix_block_tokens),
                " ".join(map(str, table.prefix_of(row).tolist())),
                table.origin.value,
                *(str(column[row]) for column in more.values()),
            )
            out.write(",".join(cells) + "\n")


class RequestsReader:
    """Rows of a file that `write_csv` wrote."""

    __slots__ = (
        "_block_tokens",
        "_cells",
        "_columns",
        "_last_s",
        "_models",
        "_more",
        "_origin",
        "_position",
        "_trace",
        "_width",
    )

    def __init__(self, file_name: str, header_line: str) -> None:
        header = Header(file_name, header_line, COLUMNS)
        self._cells = header.cells
        self._width = header.width
        self._position = tuple(header.at(name) for name in COLUMNS)
        self._columns = Columns()
        self._more = tuple(
            (name, header.at(name), limit, column)
            for name, limit, column in (
                (TURN, INT32_MAX, self._columns.turn),
                (IMAGES, INT16_MAX, self._columns.images),
            )
            if header.at(name) >= 0
        )
        self._models = Names("model")
        self._last_s = 0.0
        self._trace = ""
        self._block_tokens = 0
        self._origin = Origin.REAL

    def block(self, raw: bytes) -> None:
        """Take whole lines."""
        rows = Cells(raw).table(self._width)
        trace, arrival, kind, model, prompt, output, status, session, e2e, block, ids, origin = (
            self._position
        )
        at_s = rows.decimals(arrival, limit=SECONDS_MAX)
        num_prompt = rows.counts(prompt, limit=INT32_MAX)
        num_output = rows.counts(output, limit=INT32_MAX)
        kinds = rows.codes(kind, lambda text: _code(text, KINDS, "kind"))
        statuses = rows.codes(status, lambda text: _code(text, STATUSES, "status"))
        sessions = _optional_counts(rows, session)
        e2e_s = rows.optional_decimals((e2e,), limit=SECONDS_MAX)[0]
        block_tokens = rows.counts(block, limit=TOKENS_MAX)
        more = [rows.counts(at, limit=limit) for _, at, limit, _ in self._more]
        failed = (statuses == Status.FAILED) & (num_output > 0)
        if failed.any() or at_s[0] < self._last_s or (np.diff(at_s) < 0).any():
            raise Unsure
        prefix, lengths = _prefix_ids(rows, ids)
        blocks = -(-num_prompt // np.maximum(block_tokens, 1)) * (block_tokens > 0)
        if (lengths != blocks).any() or (block_tokens != block_tokens[0]).any():
            raise Unsure
        traces = Names("trace_id")
        origins = Names("origin")
        if rows.codes(trace, traces.code).any() or rows.codes(origin, origins.code).any():
            raise Unsure
        first_origin = _code(origins.all()[0], ORIGINS, "origin")
        self._same_table(traces.all()[0], int(block_tokens[0]), first_origin)
        models = rows.codes(model, self._models.code)
        columns = self._columns
        columns.model.grow(models)
        self._last_s = float(at_s[-1])
        columns.arrival_s.grow(at_s)
        columns.prompt.grow(num_prompt)
        columns.output.grow(num_output)
        columns.kind.grow(kinds)
        columns.status.grow(statuses)
        columns.session.grow(sessions)
        columns.e2e_s.grow(e2e_s)
        columns.prefix_ids.grow(prefix)
        columns.prefix_counts.grow(lengths)
        for (_, _, _, column), values in zip(self._more, more, strict=True):
            column.grow(values)

    def row(self, line: str) -> None:
        """Take one row; what holds for the whole table is taken from the first."""
        raw = self._cells(line)
        (trace, arrival, kind, model, prompt, output, status, session, e2e, block, ids, origin) = (
            raw[at] for at in self._position
        )
        columns = self._columns
        at_s = parse_seconds(arrival, "arrival_s")
        if at_s < self._last_s:
            raise out_of_order(arrival, "arrival_s")
        kind_code = _code(kind, KINDS, "kind")
        status_code = _code(status, STATUSES, "status")
        origin_code = _code(origin, ORIGINS, "origin")
        num_prompt = parse_count(prompt, "num_prompt_tokens", limit=INT32_MAX)
        num_output = parse_count(output, "num_output_tokens", limit=INT32_MAX)
        if status_code is Status.FAILED and num_output:
            raise BadRow(
                "failed with output", column="num_output_tokens", value=output, expected="0"
            )
        index = parse_count(session, "session_index", limit=INT64_MAX) if session else NO_SESSION
        e2e_s = parse_seconds(e2e, "e2e_s") if e2e else float("nan")
        block_tokens = parse_count(block, "prefix_block_tokens")
        prefix = [parse_count(i, "prefix_ids", limit=INT64_MAX) for i in ids.split()]
        num_blocks = -(-num_prompt // block_tokens) if block_tokens else 0
        if len(prefix) != num_blocks:
            raise BadRow(
                "wrong number of blocks",
                column="prefix_ids",
                value=ids,
                expected=f"{num_blocks} ids, found {len(prefix)}",
            )
        more = [parse_count(raw[at], name, limit=limit) for name, at, limit, _ in self._more]
        self._same_table(parse_name(trace, "trace_id"), block_tokens, origin_code)
        columns.model.append(self._models.code(model))
        self._last_s = at_s
        columns.arrival_s.append(at_s)
        columns.prompt.append(num_prompt)
        columns.output.append(num_output)
        columns.kind.append(kind_code)
        columns.status.append(status_code)
        columns.session.append(index)
        columns.e2e_s.append(e2e_s)
        columns.prefix_ids.extend(prefix)
        columns.prefix_counts.append(len(prefix))
        for (_, _, _, column), value in zip(self._more, more, strict=True):
            column.append(value)

    def table(self, _trace_id: str) -> RequestTable:
        """The rows taken so far, under the id that stands in the file."""
        return self._columns.table(
            self._trace,
            models=self._models.all(),
            prefix_block_tokens=self._block_tokens,
            origin=self._origin,
        )

    def _same_table(self, trace: str, block_tokens: int, origin: Origin) -> None:
        if not self._trace:
            self._trace, self._block_tokens, self._origin = trace, block_tokens, origin
        seen, first = (
            (trace, block_tokens, origin.value),
            (self._trace, self._block_tokens, self._origin.value),
        )
        if seen != first:
            raise BadRow("row of another table", column="trace_id", value=seen, expected=f"{first}")


def _optional_counts(rows: Table, column: int) -> Ints:
    """A column of whole numbers, NO_SESSION for an empty cell."""
    starts, ends = rows.span(column)
    full = np.flatnonzero(ends > starts)
    values = np.full(len(starts), NO_SESSION, dtype=np.int64)
    values[full] = rows.cells.counts(starts[full], ends[full], INT64_MAX)
    return values


def _prefix_ids(rows: Table, column: int) -> tuple[Ints, Ints]:
    """All ids of a column of lists and how many each row has."""
    starts, ends = rows.span(column)
    full = ends > starts
    if not full.any():
        return np.zeros(0, dtype=np.int64), np.zeros(len(starts), dtype=np.int64)
    texts = rows.texts(column)
    joined = Cells(",".join(text.replace(" ", ",") for text in texts if text).encode() + b"\n")
    lengths = np.array([text.count(" ") for text in texts]) + full
    return joined.counts(joined.starts, joined.ends, INT64_MAX), lengths


def _code(text: str, codes: dict[str, Code], column: str) -> Code:
    if text not in codes:
        raise BadRow(
            "unknown value", column=column, value=text, expected="one of " + ", ".join(codes)
        )
    return codes[text]


def _recognises(line: str) -> bool:
    names = column_names(line)
    return "arrival_s" in names or "num_prompt_tokens" in names


def _reader(file_name: str, line: str) -> RowReader:
    return RequestsReader(file_name, line)


FORMAT = TraceFormat(name="requests", has_header=True, recognises=_recognises, reader=_reader)
