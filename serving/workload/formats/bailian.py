"""Qwen-Bailian JSONL traces: sessions by parent chat, prefix ids per 16 tokens.

Fields: chat_id, parent_chat_id (-1 = root), timestamp [s], input_length, output_length,
type (text, search, image, file), turn, hash_ids. A session is a root and all that descends
from it; chats whose parent lies before the file's start share a session with that parent.

Source: alibaba-edu/qwen-bailian-usagetraces-anon; arXiv 2506.02634 (ATC 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.workload.formats.columns import Columns
from serving.workload.formats.json_rows import JsonTable, number, parse_ids, parse_object
from serving.workload.formats.numerals import Unsure
from serving.workload.formats.rows import (
    SECONDS_MAX,
    TOKENS_MAX,
    BadRow,
    RowReader,
    TraceFormat,
    out_of_order,
    parse_name,
)
from serving.workload.table import Kind, RequestTable

CHAT, PARENT, TIME, PROMPT = "chat_id", "parent_chat_id", "timestamp", "input_length"
OUTPUT, TYPE, TURN = "output_length", "type", "turn"
FIELDS = (CHAT, PARENT, TIME, PROMPT, OUTPUT, TYPE, TURN)
BLOCK_TOKENS = 16
CHAT_MAX = 10**15
TURN_MAX = 1_000_000
ROOT = -1
IMAGE_TYPE = "image"
KINDS_BY_FILE = (("traceb", Kind.API), ("coder", Kind.AGENT))  # else conversation


class BailianReader:
    """Rows of one Qwen-Bailian file; its stamps already count from the trace's start."""

    __slots__ = ("_columns", "_kind", "_last_s", "_num_sessions", "_sessions")

    def __init__(self, file_name: str) -> None:
        name = file_name.lower()
        kinds = (kind for part, kind in KINDS_BY_FILE if part in name)
        self._kind = next(kinds, Kind.CONVERSATION)
        self._columns = Columns()
        self._sessions: dict[int, int] = {}  # chat -> session
        self._num_sessions = 0
        self._last_s: float = 0.0

    def block(self, raw: bytes) -> None:
        """Take whole lines."""
        rows = JsonTable(raw, FIELDS)
        chat = rows.counts(CHAT, limit=CHAT_MAX)
        parent = rows.counts_or_minus_one(PARENT, limit=CHAT_MAX)
        at_s = rows.decimals(TIME, limit=SECONDS_MAX)
        prompt = rows.counts(PROMPT, limit=TOKENS_MAX)
        output = rows.counts(OUTPUT, limit=TOKENS_MAX)
        turn = rows.counts(TURN, limit=TURN_MAX)
        kind = rows.codes(TYPE, self._kind_of)
        fits = np.array_equal(-(-prompt // BLOCK_TOKENS), rows.id_counts)
        if not fits or at_s[0] < self._last_s or (np.diff(at_s) < 0).any():
            raise Unsure
        self._last_s = float(at_s[-1])
        columns = self._columns
        columns.session.extend(self._session_of(chat.tolist(), parent.tolist()))
        columns.arrival_s.grow(at_s)
        columns.prompt.grow(prompt)
        columns.output.grow(output)
        columns.turn.grow(turn)
        columns.kind.grow(kind)
        columns.prefix_ids.grow(rows.ids)
        columns.prefix_counts.grow(rows.id_counts)

    def row(self, line: str) -> None:
        """Take one row."""
        row = parse_object(line)
        chat = int(number(row, CHAT, CHAT_MAX, whole=True))
        parent = int(number(row, PARENT, CHAT_MAX, whole=True, least=ROOT))
        at_s = number(row, TIME, SECONDS_MAX)
        prompt = int(number(row, PROMPT, TOKENS_MAX, whole=True))
        output = int(number(row, OUTPUT, TOKENS_MAX, whole=True))
        turn = int(number(row, TURN, TURN_MAX, whole=True))
        kind = self._kind_of(_text(row, TYPE))
        ids = parse_ids(row, prompt, BLOCK_TOKENS)
        if at_s < self._last_s:
            raise out_of_order(row[TIME], TIME)
        self._last_s = at_s
        columns = self._columns
        columns.arrival_s.append(at_s)
        columns.prompt.append(prompt)
        columns.output.append(output)
        columns.turn.append(turn)
        columns.kind.append(kind)
        columns.session.extend(self._session_of((chat,), (parent,)))
        columns.prefix_ids.extend(ids)
        columns.prefix_counts.append(len(ids))

    def table(self, trace_id: str) -> RequestTable:
        """The rows taken so far."""
        return self._columns.table(trace_id, prefix_block_tokens=BLOCK_TOKENS)

    def _kind_of(self, text: str) -> Kind:
        return Kind.IMAGE if parse_name(text, TYPE) == IMAGE_TYPE else self._kind

    def _session_of(self, chats: Sequence[int], parents: Sequence[int]) -> list[int]:
        """The session of each chat, in order; a loop, because a row may follow the one above."""
        sessions, num_sessions, found = self._sessions, self._num_sessions, []
        for chat, parent in zip(chats, parents, strict=True):
            session = sessions.get(parent) if parent != ROOT else None
            if session is None:
                session = num_sessions
                num_sessions += 1
                if parent != ROOT:
                    sessions[parent] = session
            sessions[chat] = session
            found.append(session)
        self._num_sessions = num_sessions
        return found


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        reason = "not a text" if name in row else "missing field"
        raise BadRow(reason, column=name, value=value, expected="a text")
    return value


def _recognises(line: str) -> bool:
    return line.lstrip("\ufeff \t").startswith("{") and '"chat_id"' in line


def _reader(file_name: str, _line: str) -> RowReader:
    return BailianReader(file_name)


FORMAT = TraceFormat(name="bailian", has_header=False, recognises=_recognises, reader=_reader)
