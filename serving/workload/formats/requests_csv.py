"""The requests table as CSV, both ways: what is written is read back value for value."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np

from serving.workload.formats.rows import (
    BadRow,
    Columns,
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
INT64_MAX = 2**63 - 1
INT32_MAX = 2**31 - 1
KINDS = {kind.name.lower(): kind for kind in Kind}
STATUSES = {status.name.lower(): status for status in Status}
ORIGINS = {origin.value: origin for origin in Origin}
Code = TypeVar("Code")


def write_csv(table: RequestTable, path: Path) -> None:
    """Write the table; an unknown latency and an absent session become empty cells.

    Raises:
        ValueError: a name holds a comma or a character that does not print.
    """
    for name in (table.trace_id, *table.models):
        if "," in name or not name.isprintable():
            raise ValueError(f"name {name!r} cannot stand in a CSV cell; rename it")
    kinds, statuses = list(KINDS), list(STATUSES)
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(",".join(COLUMNS) + "\n")
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
            )
            out.write(",".join(cells) + "\n")


class RequestsReader:
    """Rows of a file that `write_csv` wrote."""

    __slots__ = ("_block_tokens", "_cells", "_columns", "_models", "_origin", "_position", "_trace")

    def __init__(self, file_name: str, header_line: str) -> None:
        header = Header(file_name, header_line, COLUMNS)
        self._cells = header.cells
        self._position = tuple(header.at(name) for name in COLUMNS)
        self._columns = Columns()
        self._models = Names("model")
        self._trace = ""
        self._block_tokens = 0
        self._origin = Origin.REAL

    def row(self, line: str) -> None:
        """Take one row; what holds for the whole table is taken from the first."""
        raw = self._cells(line)
        (trace, arrival, kind, model, prompt, output, status, session, e2e, block, ids, origin) = (
            raw[at] for at in self._position
        )
        columns = self._columns
        at_s = parse_seconds(arrival, "arrival_s")
        if columns.arrival_s and at_s < columns.arrival_s[-1]:
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
        self._same_table(parse_name(trace, "trace_id"), block_tokens, origin_code)
        columns.model.append(self._models.code(model))
        columns.arrival_s.append(at_s)
        columns.prompt.append(num_prompt)
        columns.output.append(num_output)
        columns.kind.append(kind_code)
        columns.status.append(status_code)
        columns.session.append(index)
        columns.e2e_s.append(e2e_s)
        columns.prefix_ids.extend(prefix)
        columns.prefix_ends.append(len(columns.prefix_ids))

    def table(self, _trace_id: str) -> RequestTable:
        """The rows taken so far, under the id that stands in the file."""
        if not self._block_tokens:
            del self._columns.prefix_ends[:]
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
