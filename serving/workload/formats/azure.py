"""Azure LLM inference traces: TIMESTAMP, ContextTokens, GeneratedTokens.

2023 stamps have seven fractional digits and no zone; 2024 stamps have microseconds, or no
fraction, and +00:00. The multimodal trace of 2025 adds `NumImages`; further columns are
ignored. The traces hold served requests only, so every row counts as ok.

Source: Azure/AzurePublicDataset; Splitwise (ISCA 2024), DynamoLLM (HPCA 2025).
"""

from __future__ import annotations

from datetime import date

import numpy as np

from serving.workload.formats.cells import Cells, Table
from serving.workload.formats.columns import Columns
from serving.workload.formats.numerals import Ints, Unsure
from serving.workload.formats.rows import (
    TOKENS_MAX,
    BadRow,
    Header,
    RowReader,
    TraceFormat,
    column_names,
    out_of_order,
    parse_count,
)
from serving.workload.table import Kind, RequestTable

TIME, PROMPT, OUTPUT = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
IMAGES = "NumImages"
COLUMNS = (TIME, PROMPT, OUTPUT)
MINUTE_CHARS = 16  # "2023-11-16 18:15"
SECOND_CHARS = 19  # ":46" more
FRACTION_DIGITS_MAX = 9
UTC = b"+00:00"
NS_PER_S = 1_000_000_000
IMAGES_MAX = 10_000


class AzureReader:
    """Rows of one Azure file; time counts from its first kept row."""

    __slots__ = (
        "_cells",
        "_columns",
        "_first_ns",
        "_images_at",
        "_kind",
        "_last_ns",
        "_minute",
        "_minute_ns",
        "_output_at",
        "_prompt_at",
        "_time_at",
        "_width",
    )

    def __init__(self, file_name: str, header_line: str) -> None:
        header = Header(file_name, header_line, COLUMNS)
        self._cells = header.cells
        self._width = header.width
        self._images_at = header.at(IMAGES)
        self._time_at = header.at(TIME)
        self._prompt_at = header.at(PROMPT)
        self._output_at = header.at(OUTPUT)
        self._kind = Kind.API if "code" in file_name.lower() else Kind.CONVERSATION
        self._columns = Columns()
        self._minute = ""
        self._minute_ns = 0
        self._first_ns = -1
        self._last_ns = -1

    def block(self, raw: bytes) -> None:
        """Take whole lines."""
        table = Cells(raw).table(self._width)
        at_ns = self._stamps_ns(table)
        prompt = table.counts(self._prompt_at, limit=TOKENS_MAX)
        output = table.counts(self._output_at, limit=TOKENS_MAX)
        images = (
            table.counts(self._images_at, limit=IMAGES_MAX) if self._images_at >= 0 else prompt[:0]
        )
        if at_ns[0] < self._last_ns or (np.diff(at_ns) < 0).any():
            raise Unsure
        if self._first_ns < 0:
            self._first_ns = int(at_ns[0])
        self._last_ns = int(at_ns[-1])
        columns = self._columns
        columns.arrival_s.grow((at_ns - self._first_ns) / NS_PER_S)
        columns.prompt.grow(prompt)
        columns.output.grow(output)
        columns.images.grow(images)

    def row(self, line: str) -> None:
        """Take one row."""
        cells = self._cells(line)
        stamp = cells[self._time_at]
        at_ns = self._stamp_ns(stamp)
        prompt = parse_count(cells[self._prompt_at], PROMPT)
        output = parse_count(cells[self._output_at], OUTPUT)
        images = -1
        if self._images_at >= 0:
            images = parse_count(cells[self._images_at], IMAGES, limit=IMAGES_MAX)
        if at_ns < self._last_ns:
            raise out_of_order(stamp, TIME)
        if self._first_ns < 0:
            self._first_ns = at_ns
        self._last_ns = at_ns
        # Whole nanoseconds until here: seconds since 1970 in a float lose the 100 ns digits.
        self._columns.arrival_s.append((at_ns - self._first_ns) / NS_PER_S)
        self._columns.prompt.append(prompt)
        self._columns.output.append(output)
        if images >= 0:
            self._columns.images.append(images)

    def table(self, trace_id: str) -> RequestTable:
        """The rows taken so far."""
        return self._columns.table(trace_id, kind=self._kind)

    def _stamps_ns(self, table: Table) -> Ints:
        """Nanoseconds since year 1 of each row's stamp."""
        text = table.cells.text
        starts, ends = table.span(self._time_at)
        if (ends - starts < SECOND_CHARS).any():
            raise Unsure
        zoned = text.begins(ends - len(UTC), UTC)
        ends = ends - np.where(zoned, len(UTC), 0)
        ends = ends - (text.bytes[ends - 1] == ord("Z"))
        second, good = text.numbers(starts + (MINUTE_CHARS + 1), starts + SECOND_CHARS)
        good &= (text.bytes[starts + MINUTE_CHARS] == ord(":")) & (second <= 59)
        places = ends - starts - (SECOND_CHARS + 1)  # -1 without a dot
        fraction, digits = text.numbers(starts + (SECOND_CHARS + 1), ends)
        dotted = text.bytes[starts + SECOND_CHARS] == ord(".")
        good &= (places == -1) | (dotted & digits & (places <= FRACTION_DIGITS_MAX))
        if not good.all():
            raise Unsure
        fraction = np.where(places > 0, fraction, 0)
        fraction *= 10 ** (FRACTION_DIGITS_MAX - np.clip(places, 0, FRACTION_DIGITS_MAX))
        result: Ints = self._minutes_ns(table, starts) + second * NS_PER_S + fraction
        return result

    def _minutes_ns(self, table: Table, starts: Ints) -> Ints:
        """The same of the minute only; rows of one minute stand together and are parsed once."""
        words = table.cells.text.first_words(starts, np.full(len(starts), MINUTE_CHARS))
        changes = np.zeros(len(starts), dtype=np.bool_)
        changes[0] = True
        for word in words:
            changes[1:] |= word[1:] != word[:-1]
        first = np.flatnonzero(changes)
        raw = table.cells.text.raw
        minutes = [
            _minute_ns(raw[at : at + MINUTE_CHARS].decode("utf-8", "replace"))
            for at in starts[first].tolist()
        ]
        return np.repeat(np.array(minutes), np.diff(first, append=len(starts)))

    def _stamp_ns(self, text: str) -> int:
        if text[:MINUTE_CHARS] != self._minute:
            self._minute_ns = _minute_ns(text)
            self._minute = text[:MINUTE_CHARS]
        second = text[MINUTE_CHARS:].removesuffix("+00:00").removesuffix("Z")
        whole, fraction = second[1:3], second[4:]
        good = (
            second[:1] == ":"
            and whole.isdigit()
            and len(whole) == 2
            and whole <= "59"
            and (second[3:4] == "." and fraction.isdigit() if second[3:] else True)
            and len(fraction) <= 9
            and second.isascii()
        )
        if not good:
            raise _not_a_stamp(text)
        return self._minute_ns + int(whole) * NS_PER_S + int(fraction.ljust(9, "0"))


def _minute_ns(text: str) -> int:
    hour, minute = text[11:13], text[14:16]
    digits = text[:10].replace("-", "") + hour + minute
    shaped = len(digits) == 12 and digits.isdigit() and digits.isascii()
    if not shaped or text[10] not in " T" or text[13] != ":" or hour > "23" or minute > "59":
        raise _not_a_stamp(text)
    try:
        day = date.fromisoformat(text[:10]).toordinal()
    except ValueError:
        raise _not_a_stamp(text) from None
    return ((day * 24 + int(hour)) * 60 + int(minute)) * 60 * NS_PER_S


def _not_a_stamp(text: str) -> BadRow:
    return BadRow(
        "not a time stamp" if text else "missing value",
        column=TIME,
        value=text,
        expected="YYYY-MM-DD HH:MM:SS with up to 9 fractional digits, UTC",
    )


def _recognises(line: str) -> bool:
    names = column_names(line)
    return TIME in names and (PROMPT in names or OUTPUT in names)


def _reader(file_name: str, line: str) -> RowReader:
    return AzureReader(file_name, line)


FORMAT = TraceFormat(name="azure", has_header=True, recognises=_recognises, reader=_reader)
