"""Mooncake JSONL traces: timestamp [ms], input_length, output_length, hash_ids.

One hash id per block of 512 prompt tokens, a partial last block included. Ids are
renumbered per file and never match those of another. Stamps of the real traces come in
steps of 3 s; `replay.smear` spreads them.

Source: kvcache-ai/Mooncake, FAST'25 traces.
"""

from __future__ import annotations

import numpy as np

from serving.workload.formats.columns import Columns
from serving.workload.formats.json_rows import JsonTable, number, parse_ids, parse_object
from serving.workload.formats.numerals import Unsure
from serving.workload.formats.rows import (
    SECONDS_MAX,
    TOKENS_MAX,
    RowReader,
    TraceFormat,
    out_of_order,
)
from serving.workload.table import Kind, RequestTable

TIME, PROMPT, OUTPUT = "timestamp", "input_length", "output_length"
FIELDS = (TIME, PROMPT, OUTPUT)
BLOCK_TOKENS = 512
MS_MAX = SECONDS_MAX * 1e3


class MooncakeReader:
    """Rows of one Mooncake file; its stamps already count from the trace's start."""

    __slots__ = ("_columns", "_kind", "_last_ms")

    def __init__(self, file_name: str) -> None:
        self._columns = Columns()
        self._kind = Kind.AGENT if "toolagent" in file_name.lower() else Kind.CONVERSATION
        self._last_ms: float = 0.0

    def block(self, raw: bytes) -> None:
        """Take whole lines."""
        rows = JsonTable(raw, FIELDS)
        at_ms = rows.decimals(TIME, limit=MS_MAX)
        prompt = rows.counts(PROMPT, limit=TOKENS_MAX)
        output = rows.counts(OUTPUT, limit=TOKENS_MAX)
        fits = np.array_equal(-(-prompt // BLOCK_TOKENS), rows.id_counts)
        if not fits or at_ms[0] < self._last_ms or (np.diff(at_ms) < 0).any():
            raise Unsure
        self._last_ms = float(at_ms[-1])
        columns = self._columns
        columns.arrival_s.grow(at_ms / 1e3)
        columns.prompt.grow(prompt)
        columns.output.grow(output)
        columns.prefix_ids.grow(rows.ids)
        columns.prefix_counts.grow(rows.id_counts)

    def row(self, line: str) -> None:
        """Take one row."""
        row = parse_object(line)
        at_ms = number(row, TIME, MS_MAX)
        prompt = int(number(row, PROMPT, TOKENS_MAX, whole=True))
        output = int(number(row, OUTPUT, TOKENS_MAX, whole=True))
        ids = parse_ids(row, prompt, BLOCK_TOKENS)
        if at_ms < self._last_ms:
            raise out_of_order(row[TIME], TIME)
        self._last_ms = at_ms
        columns = self._columns
        columns.arrival_s.append(at_ms / 1e3)
        columns.prompt.append(prompt)
        columns.output.append(output)
        columns.prefix_ids.extend(ids)
        columns.prefix_counts.append(len(ids))

    def table(self, trace_id: str) -> RequestTable:
        """The rows taken so far."""
        return self._columns.table(trace_id, kind=self._kind, prefix_block_tokens=BLOCK_TOKENS)


def _recognises(line: str) -> bool:
    return line.lstrip("\ufeff \t").startswith("{") and '"chat_id"' not in line


def _reader(file_name: str, _line: str) -> RowReader:
    return MooncakeReader(file_name)


FORMAT = TraceFormat(name="mooncake", has_header=False, recognises=_recognises, reader=_reader)
