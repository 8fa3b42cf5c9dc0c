"""A block of lines cut at its commas: columns of numbers and codes without a loop over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.workload.formats.numerals import DIGITS_MAX, Bools, Ints, Text, Unsure

Floats = NDArray[np.float64]

COMMA, NEWLINE, DOT, ZERO, NINE = b",\n.09"
EXACT_DIGITS_MAX = 15  # below 2^53, so that one division rounds as a decimal parser does
TENS = 10.0 ** np.arange(EXACT_DIGITS_MAX + 1)
INT_TENS = 10 ** np.arange(EXACT_DIGITS_MAX + 1, dtype=np.int64)
LEAST = np.array([0, 0, *(10**n for n in range(1, DIGITS_MAX))])  # of each number of digits
BYTES_PER_DOT = 64  # fewer dots are looked up one by one
FLOAT_CHARS = b"0123456789.e-+"


class Cells:
    """Where each cell of a block begins, ends and has its last dot, in file order, [cells]."""

    __slots__ = ("dots", "ends", "last", "num_rows", "starts", "text")

    def __init__(self, raw: bytes) -> None:
        if b"\r" in raw:
            raw = raw.replace(b"\r\n", b"\n")
            if b"\r" in raw:
                raise Unsure
        self.text = Text(raw)
        seen = self.text.bytes
        is_mark = seen == COMMA
        is_mark |= seen == NEWLINE
        is_dot = seen == DOT
        num_dots = np.count_nonzero(is_dot)
        if num_dots > len(raw) // BYTES_PER_DOT:
            is_mark |= is_dot
            marks = np.flatnonzero(is_mark)
            kinds = seen.take(marks)
            cuts = np.flatnonzero(kinds != DOT)
            before = cuts - 1  # -1 for the very first is the closing newline: no dot either
            self.ends: Ints = marks.take(cuts)
            self.dots: Ints = np.where(kinds[before] == DOT, marks[before], -1)
            kinds = kinds[cuts]
        else:
            self.ends = np.flatnonzero(is_mark)
            self.dots = np.full(len(self.ends), -1)
            dots = np.flatnonzero(is_dot)
            self.dots[np.searchsorted(self.ends, dots)] = dots
            kinds = seen.take(self.ends)
        self.starts: Ints = np.empty_like(self.ends)
        self.starts[0] = 0
        np.add(self.ends[:-1], 1, out=self.starts[1:])
        self.last: Ints = np.flatnonzero(kinds == NEWLINE)  # a row's last cell, [rows]
        self.num_rows = len(self.last)

    def table(self, width: int) -> Table:
        """The cells as rows of `width`.

        Raises:
            Unsure: a row of another width.
        """
        wanted = np.arange(1, self.num_rows + 1) * width - 1
        if len(self.ends) != self.num_rows * width or not np.array_equal(self.last, wanted):
            raise Unsure
        return Table(self, np.arange(self.num_rows) * width)

    def counts(self, starts: Ints, ends: Ints, limit: int, *, leading_zeros: bool = True) -> Ints:
        """Whole numbers in 0..limit.

        Raises:
            Unsure: one is not, or it begins with a zero that is not wanted.
        """
        values, good = self.text.numbers(starts, ends)
        if not good.all() or int(values.max(initial=0)) > limit:
            raise Unsure
        if not leading_zeros and (values < LEAST.take(ends - starts)).any():
            raise Unsure
        return values

    def decimals(self, starts: Ints, ends: Ints, dots: Ints, *, limit: float) -> Floats:
        """Numbers in 0..limit, each the double that `float` gives.

        Raises:
            Unsure: one is not.
        """
        whole_ends, fraction_starts = ends, ends
        has_dot = dots >= starts
        dotted = bool(has_dot.any())
        if dotted:
            whole_ends = np.where(has_dot, dots, ends)
            fraction_starts = np.where(has_dot, dots + 1, ends)
        values, good = self.text.numbers(starts, whole_ends)
        result: Floats
        if dotted:
            fraction, digits = self.text.numbers(fraction_starts, ends)
            places = ends - fraction_starts
            good &= digits | (places == 0)
            good &= places + (whole_ends - starts) <= EXACT_DIGITS_MAX
            places = np.minimum(places, EXACT_DIGITS_MAX)
            result = (values * INT_TENS[places] + fraction) / TENS[places]
        else:
            good &= ends - starts <= EXACT_DIGITS_MAX
            result = values.astype(np.float64)
        if not good.all():
            rest = np.flatnonzero(~good)
            result[rest] = self._floats(starts[rest], ends[rest])
        if not ((result >= 0.0) & (result <= limit)).all():
            raise Unsure
        return result

    def plain_decimals(self, starts: Ints, ends: Ints) -> Bools:
        """Whether each begins as JSON wants it: a digit, and after a zero no other digit."""
        first = self.text.bytes.take(starts, mode="clip")
        second = self.text.bytes.take(starts + 1, mode="clip")
        digit = (first > ZERO) & (first <= NINE)
        bare = (first == ZERO) & ((ends - starts == 1) | (second == DOT))
        result: Bools = digit | bare
        return result

    def texts(self, starts: Ints, ends: Ints) -> list[str]:
        """The cells as text, one at a time.

        Raises:
            Unsure: the block has bytes beyond ASCII.
        """
        if not self.text.raw.isascii():
            raise Unsure
        text = self.text.raw.decode("ascii")
        return [text[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]

    def _floats(self, starts: Ints, ends: Ints) -> list[float]:
        """Many digits or an exponent: what the exact division cannot do."""
        texts = self.texts(starts, ends)
        if "".join(texts).encode().translate(None, FLOAT_CHARS):
            raise Unsure
        try:
            return [float(text) for text in texts]
        except ValueError:
            raise Unsure from None


class Table:
    """Columns of cells; `first` is the index of each row's first cell, [rows]."""

    __slots__ = ("cells", "first")

    def __init__(self, cells: Cells, first: Ints) -> None:
        self.cells = cells
        self.first = first

    def span(self, column: int, *, skip: int = 0) -> tuple[Ints, Ints]:
        """Begin and end of a column's cells, `skip` bytes after their begin."""
        at = self.first + column
        return self.cells.starts[at] + skip, self.cells.ends[at]

    def counts(self, column: int, *, limit: int, skip: int = 0) -> Ints:
        """A column of whole numbers in 0..limit."""
        starts, ends = self.span(column, skip=skip)
        return self.cells.counts(starts, ends, limit)

    def decimals(self, column: int, *, limit: float, skip: int = 0) -> Floats:
        """A column of numbers in 0..limit."""
        starts, ends = self.span(column, skip=skip)
        return self.cells.decimals(starts, ends, self.cells.dots[self.first + column], limit=limit)

    def optional_decimals(self, columns: Sequence[int], *, limit: float) -> Floats:
        """Columns of numbers in 0..limit side by side, NaN for an empty cell, [columns, rows]."""
        at = (self.first[None, :] + np.array(columns)[:, None]).ravel()
        starts, ends = self.cells.starts[at], self.cells.ends[at]
        dots = self.cells.dots[at]
        full = np.flatnonzero(ends > starts)
        if len(full) == len(at):
            values = self.cells.decimals(starts, ends, dots, limit=limit)
        else:
            values = np.full(len(at), np.nan)
            values[full] = self.cells.decimals(starts[full], ends[full], dots[full], limit=limit)
        return values.reshape(len(columns), -1)

    def codes(self, column: int, code_of: Callable[[str], int]) -> Ints:
        """A column of texts with few values, as codes."""
        return self.cells.text.codes(*self.span(column), code_of)

    def texts(self, column: int) -> list[str]:
        """A column as text."""
        return self.cells.texts(*self.span(column))
