"""JSON lines with prefix ids at their end: one row checked in full, and blocks of like lines.

Real files repeat one template, `{"timestamp": 0, ..., "hash_ids": [0, 1, 2]}`: their lines
are cut at the commas like CSV, each key is compared as bytes, and only what stands between
is read. A line of any other shape is left to a JSON parser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from serving.workload.formats.cells import NINE, ZERO, Cells, Floats, Table
from serving.workload.formats.numerals import Ints, Unsure
from serving.workload.formats.rows import BadRow

HASHES = "hash_ids"
HASH_ID_MAX = 2**63 - 1
KEY = re.compile(rb'\{?\s*"([a-z_]+)"\s*:\s*')
CLOSE = b"]}"
SPACE, QUOTE = b' "'


class JsonTable:
    """Lines of one template as columns; `ids` [sum of id_counts] in file order."""

    __slots__ = ("_at", "_skip", "_table", "id_counts", "ids")

    def __init__(self, raw: bytes, fields: Sequence[str]) -> None:
        cells = Cells(raw)
        keys = _template(raw, fields)
        first = np.concatenate(([0], cells.last[:-1] + 1))
        num_fields = len(fields)
        if (cells.last - first < num_fields).any():
            raise Unsure
        for k, (_, prefix) in enumerate(keys):
            if not cells.text.begins(cells.starts[first + k], prefix).all():
                raise Unsure
        self._table = Table(cells, first)
        self._at = {name: k for k, (name, _) in enumerate(keys)}
        self._skip = [len(prefix) for _, prefix in keys]
        self.ids, self.id_counts = _ids(cells, first, num_fields, self._skip[-1])

    def counts(self, name: str, *, limit: int) -> Ints:
        """A field of whole numbers in 0..limit."""
        starts, ends = self._span(name)
        return self._table.cells.counts(starts, ends, limit, leading_zeros=False)

    def counts_or_minus_one(self, name: str, *, limit: int) -> Ints:
        """A field of whole numbers in -1..limit."""
        starts, ends = self._span(name)
        none = self._table.cells.text.begins(starts, b"-1") & (ends - starts == 2)
        values = self._table.cells.counts(starts + none, ends, limit, leading_zeros=False)
        return np.where(none, -1, values)

    def decimals(self, name: str, *, limit: float) -> Floats:
        """A field of numbers in 0..limit."""
        starts, ends = self._span(name)
        if not self._table.cells.plain_decimals(starts, ends).all():
            raise Unsure
        dots = self._table.cells.dots[self._table.first + self._at[name]]
        behind = self._table.cells.text.bytes.take(dots + 1, mode="clip")
        if ((dots >= starts) & ((behind < ZERO) | (behind > NINE))).any():
            raise Unsure
        return self._table.cells.decimals(starts, ends, dots, limit=limit)

    def words(self, name: str) -> tuple[Ints, Ints]:
        """Begin and end of a field of short texts without escapes, its quotes left out."""
        starts, ends = self._span(name)
        seen, raw = self._table.cells.text.bytes, self._table.cells.text.raw
        quoted = (seen[starts] == QUOTE) & (seen[ends - 1] == QUOTE) & (ends - starts >= 2)
        if not quoted.all() or b"\\" in raw or np.count_nonzero(seen == QUOTE) != self._quotes(1):
            raise Unsure
        return starts + 1, ends - 1

    def codes(self, name: str, code_of: Any) -> Ints:
        """A field of short texts with few values, as codes."""
        return self._table.cells.text.codes(*self.words(name), code_of)

    def _quotes(self, num_texts: int) -> int:
        return 2 * (len(self._at) + num_texts) * len(self._table.first)

    def _span(self, name: str) -> tuple[Ints, Ints]:
        k = self._at[name]
        return self._table.span(k, skip=self._skip[k])


def parse_object(line: str) -> dict[str, Any]:
    """One line as a JSON object."""
    try:
        row = orjson.loads(line)
    except (orjson.JSONDecodeError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise BadRow("not a JSON object", column="(line)", value=line, expected="a JSON object")
    return row


def number(
    row: dict[str, Any], name: str, limit: float, *, whole: bool = False, least: int = 0
) -> float:
    """A number in least..limit."""
    if name not in row:
        names = ", ".join(row)
        raise BadRow(
            "missing field", column="(fields)", value=names, expected=f"one named {name!r}"
        )
    value = row[name]
    # type() and not isinstance(): True is an int, and a count of True tokens is a damaged row.
    if type(value) is int or (type(value) is float and not whole):
        if least <= value <= limit:
            return value
        reason = "negative" if value < 0 else "too large"
    else:
        reason = "not an integer" if whole else "not a number"
    wanted = "an integer" if whole else "a number"
    raise BadRow(reason, column=name, value=value, expected=f"{wanted} in {least}..{limit:.0f}")


def parse_ids(row: dict[str, Any], prompt: int, block_tokens: int) -> list[int]:
    """Prefix ids, one per block of prompt tokens."""
    ids = row.get(HASHES)
    if not isinstance(ids, list) or any(type(value) is not int for value in ids):
        reason = "not a list of integers" if HASHES in row else "missing field"
        raise BadRow(reason, column=HASHES, value=ids, expected="a list of integers")
    num_blocks = -(-prompt // block_tokens)
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


def _template(raw: bytes, fields: Sequence[str]) -> list[tuple[str, bytes]]:
    """Key of each field and the bytes before its value, as the block's first line has them."""
    cells = raw[: raw.find(b"\n")].split(b",", len(fields) + 1)[: len(fields) + 1]
    keys = []
    for k, cell in enumerate(cells):
        match = KEY.match(cell if k == 0 else cell.removeprefix(b" "))
        if match is None or cell.startswith(b"{") != (k == 0):
            raise Unsure
        prefix = cell[: match.end() + (k > 0 and cell.startswith(b" "))]
        keys.append((match[1].decode(), prefix))
    if sorted(name for name, _ in keys) != sorted((*fields, HASHES)) or keys[-1][0] != HASHES:
        raise Unsure
    keys[-1] = (HASHES, keys[-1][1] + b"[")
    return keys


def _ids(cells: Cells, first: Ints, num_fields: int, skip: int) -> tuple[Ints, Ints]:
    """All ids and how many each row has; `skip` bytes stand before a row's first id."""
    text, last = cells.text, cells.last
    if not text.begins(cells.ends[last] - len(CLOSE), CLOSE).all():
        raise Unsure
    openers = first + num_fields  # cell of each row's first id
    starts, ends = cells.starts, cells.ends.copy()
    ends[last] -= len(CLOSE)
    if b", " in text.raw[cells.starts[openers[0]] + skip : ends[last[0]]]:
        gaps = text.bytes.take(starts)
        gaps[first] = SPACE
        if (gaps != SPACE).any():
            raise Unsure
        starts = starts + 1
    else:
        starts = starts.copy()
    starts[openers] = cells.starts[openers] + skip
    counts = last - openers + 1
    others = [first + k for k in range(num_fields)]
    empty = (counts == 1) & (starts[openers] == ends[last])
    if empty.any():
        counts -= empty
        others.append(openers[empty])
    # The other cells count as one spare digit, so that no array is cut before the end.
    wanted = np.ones(len(ends), dtype=np.bool_)
    for at in others:
        wanted[at] = False
        starts[at], ends[at] = text.spare, text.spare + 1
    ids = cells.counts(starts, ends, HASH_ID_MAX, leading_zeros=False)
    return ids[wanted], counts
