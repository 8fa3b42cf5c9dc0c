"""What every reader needs: cells to numbers, bad rows, columns that grow, the format's own type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

from serving.errors import TraceFormatError
from serving.workload.starts import ColdStarts, Invocations
from serving.workload.table import MODELS_MAX, RequestTable
from serving.workload.windows import LoadWindows, TokenQuantiles

TOKENS_MAX = 10_000_000  # beyond any context window: a larger count is a damaged cell
SECONDS_MAX = 1e11
NAME_CHARS_MAX = 64
SHOWN_CHARS_MAX = 60
TraceTable = RequestTable | LoadWindows | TokenQuantiles | ColdStarts | Invocations


class BadRow(Exception):  # noqa: N818
    """One row that cannot be used; the driver turns it into an error or a count."""

    def __init__(self, reason: str, *, column: str, value: object, expected: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
        self.value = value
        self.expected = expected


class CutMark(BadRow):
    """A row of dots where a printed sample was cut: counted, never an error."""

    def __init__(self) -> None:
        super().__init__("cut mark", column="(line)", value="...", expected="a row")


class RowReader(Protocol):
    """Takes the rows of one file and ends in a table.

    `block` is the fast form of `row`: whatever it takes, it takes as `row` would.
    """

    def block(self, raw: bytes) -> None:
        """Take whole lines, all of them, or raise Unsure or BadRow and keep nothing."""

    def row(self, line: str) -> None:
        """Take one line whole, or raise BadRow and keep nothing of it."""

    def table(self, trace_id: str) -> TraceTable:
        """The rows taken so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFormat:
    """One public format: how to know it by its first line, and its reader."""

    name: str
    has_header: bool
    recognises: Callable[[str], bool]
    rows_are: str = "requests"
    reader: Callable[[str, str], RowReader]  # (file name, first line)


class Header:
    """Positions of the named columns of one CSV file."""

    __slots__ = ("_names", "width")

    def __init__(self, file_name: str, line: str, required: Sequence[str]) -> None:
        self._names = column_names(line)
        self.width = len(self._names)
        missing = [name for name in required if name not in self._names]
        twice = sorted({name for name in required if self._names.count(name) > 1})
        if missing or twice:
            fault = f"misses column {missing[0]!r}" if missing else f"has {twice[0]!r} twice"
            raise TraceFormatError(
                f"{file_name}:1: the header {fault}, columns seen are {shown(line)}; "
                f"give a file with the columns {', '.join(required)}"
            )

    def at(self, name: str) -> int:
        """Position of a column; -1 when the file does not have it."""
        return self._names.index(name) if name in self._names else -1

    def cells(self, line: str) -> list[str]:
        """Cells of one row, exactly as many as the header has."""
        cells = line.split(",")
        if len(cells) != self.width:
            short = len(cells) < self.width
            raise BadRow(
                "wrong number of fields",
                column=self._names[len(cells)] if short else self._names[-1],
                value=line,
                expected=f"{self.width} fields, found {len(cells)}",
            )
        return cells


class Names:
    """Codes of a text column with few values, in order of first sight."""

    __slots__ = ("_codes", "_column")

    def __init__(self, column: str) -> None:
        self._codes: dict[str, int] = {}
        self._column = column

    def code(self, text: str) -> int:
        """Code of a name, a new one at first sight."""
        code = self._codes.get(text)
        if code is None:
            parse_name(text, self._column)
            if len(self._codes) >= MODELS_MAX:
                raise BadRow(
                    "too many values",
                    column=self._column,
                    value=text,
                    expected=f"at most {MODELS_MAX} different names",
                )
            code = self._codes[text] = len(self._codes)
        return code

    def all(self) -> tuple[str, ...]:
        """Every name seen, at the position of its code."""
        return tuple(self._codes)


def column_names(line: str) -> list[str]:
    """Names in a CSV header, without byte-order mark and outer blanks."""
    return [name.strip() for name in line.removeprefix("\ufeff").split(",")]


def parse_name(text: str, column: str) -> str:
    """A short printable name."""
    if not text or len(text) > NAME_CHARS_MAX or not text.isprintable() or "\ufffd" in text:
        raise BadRow(
            "not a name",
            column=column,
            value=text,
            expected=f"1 to {NAME_CHARS_MAX} printable characters",
        )
    return text


def parse_count(text: str, column: str, *, limit: int = TOKENS_MAX) -> int:
    """A whole number in 0..limit."""
    # isdigit alone takes superscripts and other scripts' digits, int alone takes "1_0" and " 1".
    if text.isdigit() and text.isascii():
        if len(text) <= 18 and (count := int(text)) <= limit:
            return count
        reason = "too large"
    else:
        digits = text[1:]
        negative = text[:1] == "-" and digits.isdigit() and digits.isascii()
        reason = "negative" if negative else ("missing value" if not text else "not an integer")
    raise BadRow(reason, column=column, value=text, expected=f"an integer in 0..{limit}")


def parse_seconds(text: str, column: str) -> float:
    """A finite number of seconds >= 0."""
    return parse_number(text, column, limit=SECONDS_MAX, unit="of seconds ")


def parse_number(text: str, column: str, *, limit: float, unit: str = "") -> float:
    """A finite number in 0..limit."""
    try:
        value = float(text) if "_" not in text else float("nan")
    except ValueError:
        value = float("nan")
    if 0.0 <= value <= limit:
        return value
    reason = "negative" if value < 0.0 else "too large"
    if not isfinite(value):
        reason = "not a number" if text else "missing value"
    raise BadRow(reason, column=column, value=text, expected=f"a number {unit}in 0..{limit:.0e}")


def out_of_order(value: object, column: str) -> BadRow:
    """The row's stamp lies before the last kept row's."""
    return BadRow(
        "out of order", column=column, value=value, expected="a stamp not before the row above"
    )


def shown(value: object) -> str:
    """The value as an error shows it: quoted and cut."""
    text = value if isinstance(value, str) else repr(value)
    return repr(text) if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]!r}..."
