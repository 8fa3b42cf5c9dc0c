"""BurstGPT CSV files _1, _2 and _3, read by column name.

_3 puts `Session ID` and `Elapsed time` at positions 2 and 3, so positions mean nothing.
A row with 0 response tokens is a failure. Equal rows are real calls of one second and stay.
`Total tokens` is the sum of two other columns and is not read.

Source: HPMLL/BurstGPT; arXiv 2401.17644 (KDD 2025).
"""

from __future__ import annotations

import numpy as np

from serving.workload.formats.cells import Cells, Table
from serving.workload.formats.columns import Columns
from serving.workload.formats.numerals import Unsure
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
from serving.workload.table import NO_SESSION, Kind, RequestTable, Status

TIME, MODEL, PROMPT, OUTPUT = "Timestamp", "Model", "Request tokens", "Response tokens"
SERVICE, SESSION, ELAPSED = "Log Type", "Session ID", "Elapsed time"
COLUMNS = (TIME, MODEL, PROMPT, OUTPUT, SERVICE)
KINDS = {"Conversation log": Kind.CONVERSATION, "API log": Kind.API}
UNKNOWN_S = float("nan")


class BurstGptReader:
    """Rows of one BurstGPT file; time counts from its first kept row."""

    __slots__ = (
        "_at",
        "_cells",
        "_columns",
        "_elapsed_at",
        "_first_s",
        "_last_s",
        "_models",
        "_session_at",
        "_sessions",
        "_width",
    )

    def __init__(self, file_name: str, header_line: str) -> None:
        header = Header(file_name, header_line, COLUMNS)
        self._cells = header.cells
        self._width = header.width
        self._at = tuple(header.at(name) for name in COLUMNS)
        self._session_at = header.at(SESSION)
        self._elapsed_at = header.at(ELAPSED)
        self._columns = Columns()
        self._models = Names(MODEL)
        self._sessions: dict[str, int] = {}
        self._first_s = -1.0
        self._last_s = -1.0

    def block(self, raw: bytes) -> None:
        """Take whole lines."""
        table = Cells(raw).table(self._width)
        time_at, model_at, prompt_at, output_at, service_at = self._at
        at_s = table.decimals(time_at, limit=SECONDS_MAX)
        prompt = table.counts(prompt_at, limit=TOKENS_MAX)
        output = table.counts(output_at, limit=TOKENS_MAX)
        kind = table.codes(service_at, _kind)
        if at_s[0] < self._last_s or (np.diff(at_s) < 0).any():
            raise Unsure
        elapsed_s = names = None
        if self._elapsed_at >= 0:
            elapsed_s = table.optional_decimals((self._elapsed_at,), limit=SECONDS_MAX)[0]
        if self._session_at >= 0:
            names = self._session_names(table)
        model = table.codes(model_at, self._models.code)
        if self._first_s < 0.0:
            self._first_s = float(at_s[0])
        self._last_s = float(at_s[-1])
        columns = self._columns
        columns.arrival_s.grow(at_s - self._first_s)
        columns.prompt.grow(prompt)
        columns.output.grow(output)
        columns.kind.grow(kind)
        columns.model.grow(model)
        columns.status.grow(np.where(output > 0, Status.OK, Status.FAILED))
        if elapsed_s is not None:
            columns.e2e_s.grow(elapsed_s)
        if names is not None:
            known = self._sessions
            columns.session.extend(
                known.setdefault(name, len(known)) if name else NO_SESSION for name in names
            )

    def row(self, line: str) -> None:
        """Take one row."""
        cells = self._cells(line)
        time_at, model_at, prompt_at, output_at, service_at = self._at
        at_s = parse_seconds(cells[time_at], TIME)
        prompt = parse_count(cells[prompt_at], PROMPT)
        output = parse_count(cells[output_at], OUTPUT)
        kind = _kind(cells[service_at])
        if at_s < self._last_s:
            raise out_of_order(cells[time_at], TIME)
        elapsed_s = self._elapsed_s(cells)
        session = self._session_name(cells)
        model = self._models.code(cells[model_at])
        if self._first_s < 0.0:
            self._first_s = at_s
        self._last_s = at_s
        columns = self._columns
        columns.arrival_s.append(at_s - self._first_s)
        columns.prompt.append(prompt)
        columns.output.append(output)
        columns.kind.append(kind)
        columns.model.append(model)
        columns.status.append(Status.OK if output else Status.FAILED)
        if self._elapsed_at >= 0:
            columns.e2e_s.append(elapsed_s)
        if self._session_at >= 0:
            sessions = self._sessions
            known = sessions.setdefault(session, len(sessions)) if session else NO_SESSION
            columns.session.append(known)

    def table(self, trace_id: str) -> RequestTable:
        """The rows taken so far."""
        return self._columns.table(trace_id, models=self._models.all())

    def _elapsed_s(self, cells: list[str]) -> float:
        text = cells[self._elapsed_at] if self._elapsed_at >= 0 else ""
        return parse_seconds(text, ELAPSED) if text else UNKNOWN_S

    def _session_names(self, table: Table) -> list[str]:
        names = table.texts(self._session_at)
        for name in names:
            if name and name not in self._sessions:
                parse_name(name, SESSION)
        return names

    def _session_name(self, cells: list[str]) -> str:
        text = cells[self._session_at] if self._session_at >= 0 else ""
        return parse_name(text, SESSION) if text else ""


def _kind(text: str) -> Kind:
    kind = KINDS.get(text)
    if kind is None:
        raise BadRow(
            "unknown service",
            column=SERVICE,
            value=text,
            expected=" or ".join(repr(name) for name in KINDS),
        )
    return kind


def _recognises(line: str) -> bool:
    names = column_names(line)
    return TIME in names and (PROMPT in names or OUTPUT in names)


def _reader(file_name: str, line: str) -> RowReader:
    return BurstGptReader(file_name, line)


FORMAT = TraceFormat(name="burstgpt", has_header=True, recognises=_recognises, reader=_reader)
