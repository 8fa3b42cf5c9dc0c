"""BurstGPT CSV files _1, _2 and _3, read by column name.

_3 puts `Session ID` and `Elapsed time` at positions 2 and 3, so positions mean nothing.
A row with 0 response tokens is a failure. Equal rows are real calls of one second and stay.
`Total tokens` is the sum of two other columns and is not read.

Source: HPMLL/BurstGPT; arXiv 2401.17644 (KDD 2025).
"""

from __future__ import annotations

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
    )

    def __init__(self, file_name: str, header_line: str) -> None:
        header = Header(file_name, header_line, COLUMNS)
        self._cells = header.cells
        self._at = tuple(header.at(name) for name in COLUMNS)
        self._session_at = header.at(SESSION)
        self._elapsed_at = header.at(ELAPSED)
        self._columns = Columns()
        self._models = Names(MODEL)
        self._sessions: dict[str, int] = {}
        self._first_s = -1.0
        self._last_s = -1.0

    def row(self, line: str) -> None:
        """Take one row."""
        cells = self._cells(line)
        time_at, model_at, prompt_at, output_at, service_at = self._at
        at_s = parse_seconds(cells[time_at], TIME)
        prompt = parse_count(cells[prompt_at], PROMPT)
        output = parse_count(cells[output_at], OUTPUT)
        kind = KINDS.get(cells[service_at])
        if kind is None:
            raise BadRow(
                "unknown service",
                column=SERVICE,
                value=cells[service_at],
                expected=" or ".join(repr(name) for name in KINDS),
            )
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

    def _session_name(self, cells: list[str]) -> str:
        text = cells[self._session_at] if self._session_at >= 0 else ""
        return parse_name(text, SESSION) if text else ""


def _recognises(line: str) -> bool:
    names = column_names(line)
    return TIME in names and (PROMPT in names or OUTPUT in names)


def _reader(file_name: str, line: str) -> RowReader:
    return BurstGptReader(file_name, line)


FORMAT = TraceFormat(name="burstgpt", has_header=True, recognises=_recognises, reader=_reader)
