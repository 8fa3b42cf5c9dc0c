"""Mooncake JSONL traces: timestamp [ms], input_length, output_length, hash_ids.

One hash id per block of 512 prompt tokens, a partial last block included. Ids are
renumbered per file and never match those of another. Stamps of the real traces come in
steps of 3 s; `replay.smear` spreads them.

Source: kvcache-ai/Mooncake, FAST'25 traces.
"""

from __future__ import annotations

from typing import Any

import orjson

from serving.workload.formats.rows import (
    SECONDS_MAX,
    TOKENS_MAX,
    BadRow,
    Columns,
    RowReader,
    TraceFormat,
    out_of_order,
)
from serving.workload.table import Kind, RequestTable

TIME, PROMPT, OUTPUT, HASHES = "timestamp", "input_length", "output_length", "hash_ids"
BLOCK_TOKENS = 512
HASH_ID_MAX = 2**63 - 1


class MooncakeReader:
    """Rows of one Mooncake file; its stamps already count from the trace's start."""

    __slots__ = ("_columns", "_kind", "_last_ms")

    def __init__(self, file_name: str) -> None:
        self._columns = Columns()
        self._kind = Kind.AGENT if "toolagent" in file_name.lower() else Kind.CONVERSATION
        self._last_ms: float = 0.0

    def row(self, line: str) -> None:
        """Take one row."""
        row = _parse_object(line)
        at_ms = _number(row, TIME, SECONDS_MAX * 1e3)
        prompt = int(_number(row, PROMPT, TOKENS_MAX, whole=True))
        output = int(_number(row, OUTPUT, TOKENS_MAX, whole=True))
        ids = _parse_ids(row, prompt)
        if at_ms < self._last_ms:
            raise out_of_order(row[TIME], TIME)
        self._last_ms = at_ms
        columns = self._columns
        columns.arrival_s.append(at_ms / 1e3)
        columns.prompt.append(prompt)
        columns.output.append(output)
        columns.prefix_ids.extend(ids)
        columns.prefix_ends.append(len(columns.prefix_ids))

    def table(self, trace_id: str) -> RequestTable:
        """The rows taken so far."""
        return self._columns.table(trace_id, kind=self._kind, prefix_block_tokens=BLOCK_TOKENS)


def _parse_object(line: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except (orjson.JSONDecodeError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise BadRow("not a JSON object", column="(line)", value=line, expected="a JSON object")
    return row


def _number(row: dict[str, Any], name: str, limit: float, *, whole: bool = False) -> float:
    if name not in row:
        raise BadRow("missing field", column=name, value=tuple(row), expected=f"a field {name!r}")
    value = row[name]
    # type() and not isinstance(): True is an int, and a count of True tokens is a damaged row.
    if type(value) is int or (type(value) is float and not whole):
        if 0 <= value <= limit:
            return value
        reason = "negative" if value < 0 else "too large"
    else:
        reason = "not an integer" if whole else "not a number"
    wanted = "an integer" if whole else "a number"
    raise BadRow(reason, column=name, value=value, expected=f"{wanted} in 0..{limit:.0f}")


def _parse_ids(row: dict[str, Any], prompt: int) -> list[int]:
    ids = row.get(HASHES)
    if not isinstance(ids, list) or any(type(value) is not int for value in ids):
        reason = "not a list of integers" if HASHES in row else "missing field"
        raise BadRow(reason, column=HASHES, value=ids, expected="a list of integers")
    num_blocks = -(-prompt // BLOCK_TOKENS)
    if len(ids) != num_blocks:
        raise BadRow(
            "wrong number of blocks",
            column=HASHES,
            value=ids,
            expected=f"{num_blocks} ids for {prompt} tokens, found {len(ids)}",
        )
    if ids and (min(ids) < 0 or max(ids) > HASH_ID_MAX):
        raise BadRow("id out of range", column=HASHES, value=ids, expected="ids in 0..2^63 - 1")
    return ids


def _recognises(line: str) -> bool:
    return line.lstrip("\ufeff \t").startswith("{")


def _reader(file_name: str, _line: str) -> RowReader:
    return MooncakeReader(file_name)


FORMAT = TraceFormat(name="mooncake", has_header=False, recognises=_recognises, reader=_reader)
