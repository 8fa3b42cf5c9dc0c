"""Numbers and short texts out of bytes, many at once, eight bytes a step.

A reader that meets anything unusual raises `Unsure` and leaves the lines to its row by row
form, which knows how to complain. Whatever is accepted here has the value it has there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bools = NDArray[np.bool_]

WORD_BYTES = 8
DIGITS_MAX = 16  # two words
TEXT_BYTES_MAX = 24  # three words
PAD = 2 * WORD_BYTES


def _word(value: int) -> np.uint64:
    return np.uint64(value & (2**64 - 1))


# Masks by number of bytes, 0 to 8: the first bytes of a word lie in its low end.
FIRST = np.array([(1 << (8 * n)) - 1 for n in range(WORD_BYTES + 1)], dtype=np.uint64)
LAST = np.array([_word(~((1 << (64 - 8 * n)) - 1)) for n in range(WORD_BYTES + 1)])
ONE, THREE, SEVEN, SIXTY_THREE = _word(1), _word(3), _word(7), _word(63)
ZEROS = _word(0x3030303030303030)
OVER_NINE = _word(0x7676767676767676)  # carries a byte above 9 into the byte's top bit
TOP_BITS = _word(0x8080808080808080)
STEPS = (  # digits to pairs to fours to eights: factor, shift, mask
    (_word(10 << 8 | 1), _word(8), _word(0x00FF00FF00FF00FF)),
    (_word(100 << 16 | 1), _word(16), _word(0x0000FFFF0000FFFF)),
    (_word(10_000 << 32 | 1), _word(32), _word(0x00000000FFFFFFFF)),
)
HEX_STEPS = (  # the same for four bits a digit: left shift, right shift, mask
    (_word(4), _word(8), _word(0x00FF00FF00FF00FF)),
    (_word(8), _word(16), _word(0x0000FFFF0000FFFF)),
    (_word(16), _word(32), _word(0x00000000FFFFFFFF)),
)
LOW_BITS = _word(0x0101010101010101)
NIBBLES = _word(0x0F0F0F0F0F0F0F0F)
LOWER_CASE = _word(0x2020202020202020)
BEFORE_A = _word(0x6060606060606060)
OVER_SIX = _word(0x7979797979797979)
OVER_ZERO = _word(0x7F7F7F7F7F7F7F7F)
MIX = (_word(0x9E3779B97F4A7C15), _word(0xC2B2AE3D27D4EB4F), _word(0x165667B19E3779F9))


class Unsure(Exception):  # noqa: N818
    """These lines need the row by row form of their reader."""


class Text:
    """Bytes that can be read as words from any position."""

    __slots__ = ("_aligned", "bytes", "raw", "spare")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        padded = np.zeros(len(raw) + 2 * PAD + TEXT_BYTES_MAX + WORD_BYTES, dtype=np.uint8)
        self._aligned = padded[: len(padded) // WORD_BYTES * WORD_BYTES].view(np.uint64)
        self.bytes = padded[PAD : PAD + len(raw)]
        self.bytes[:] = np.frombuffer(raw, dtype=np.uint8)
        self.spare = len(raw)  # position of a digit that is not part of the text
        padded[PAD + self.spare] = ord("0")

    def words_at(self, at: Ints) -> Words:
        """The eight bytes from each position on, counted from PAD before the text's begin."""
        # Two aligned reads take less time than one from a view with a stride of one byte.
        whole = at >> 3
        shift = (at.view(np.uint64) & SEVEN) << THREE
        low = self._aligned.take(whole)
        whole += 1
        high = self._aligned.take(whole)
        low >>= shift
        high <<= ONE  # in two steps: a shift by 64 is not defined
        high <<= SIXTY_THREE - shift
        low |= high
        return low

    def numbers(self, starts: Ints, ends: Ints) -> tuple[Ints, Bools]:
        """Whole numbers at [starts, ends) and which of them are 1 to 16 plain digits."""
        lengths = ends - starts
        values, good = self._eight(ends + (PAD - WORD_BYTES), lengths)
        longest = int(lengths.max(initial=0))
        if longest > WORD_BYTES:
            long = np.flatnonzero(good & (lengths > WORD_BYTES))
            upper, digits = self._eight(
                ends[long] + (PAD - 2 * WORD_BYTES), lengths[long] - WORD_BYTES
            )
            values[long] += upper * 10**WORD_BYTES
            good[long] &= digits
        if longest > DIGITS_MAX or int(lengths.min(initial=1)) <= 0:
            good &= (lengths > 0) & (lengths <= DIGITS_MAX)
        return values, good

    def hex_keys(self, starts: Ints) -> tuple[Words, Bools]:
        """Number of the 16 hexadecimal digits at each position, and where there are 16."""
        upper, good = self._eight_hex(starts + PAD)
        lower, digits = self._eight_hex(starts + (PAD + WORD_BYTES))
        good &= digits
        return (upper << np.uint64(32)) | lower, good

    def first_words(self, starts: Ints, lengths: Ints) -> list[Words]:
        """The texts as words, zero behind their ends; as many words as the longest needs.

        Raises:
            Unsure: a text beyond TEXT_BYTES_MAX.
        """
        longest = int(lengths.max(initial=0))
        if longest > TEXT_BYTES_MAX:
            raise Unsure
        words = []
        for done in range(0, max(longest, 1), WORD_BYTES):
            mask = FIRST.take(lengths - done, mode="clip")
            words.append(self.words_at(starts + (PAD + done)) & mask)
        return words

    def begins(self, starts: Ints, prefix: bytes) -> Bools:
        """Whether `prefix` stands at each position."""
        same = np.ones(len(starts), dtype=np.bool_)
        for done in range(0, len(prefix), WORD_BYTES):
            part = prefix[done : done + WORD_BYTES]
            wanted = np.uint64(int.from_bytes(part, "little"))
            same &= (self.words_at(starts + (PAD + done)) & FIRST[len(part)]) == wanted
        return same

    def codes(self, starts: Ints, ends: Ints, code_of: Callable[[str], int]) -> Ints:
        """Code of each text; `code_of` sees every different text once, in order of first sight."""
        lengths = ends - starts
        words = self.first_words(starts, lengths)
        key = lengths.astype(np.uint64)
        for word, factor in zip(words, MIX, strict=False):
            key = (key ^ word) * factor
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        pick = first[inverse]
        alike = lengths == lengths[pick]
        for word in words:
            alike &= word == word[pick]
        if not alike.all():
            raise Unsure  # two texts share a key
        codes = np.zeros(len(first), dtype=np.int64)
        for k in np.argsort(first, kind="stable").tolist():
            row = first[k]
            codes[k] = code_of(self.raw[starts[row] : ends[row]].decode("utf-8", "replace"))
        result: Ints = codes[inverse]
        return result

    def _eight(self, at: Ints, lengths: Ints) -> tuple[Ints, Bools]:
        """Value of up to eight digits that end a word; bytes before them count as zeros."""
        word = self.words_at(at)
        word ^= ZEROS
        word &= LAST.take(lengths, mode="clip")
        over = word + OVER_NINE
        over |= word
        over &= TOP_BITS
        for factor, shift, mask in STEPS:
            word *= factor  # each lane gets ten times the digit before it and its own
            word >>= shift
            word &= mask
        return word.view(np.int64), over == 0

    def _eight_hex(self, at: Ints) -> tuple[Words, Bools]:
        word = self.words_at(at)
        over = (word ^ ZEROS) + OVER_NINE  # top bit: no decimal digit
        letter = (word | LOWER_CASE) ^ BEFORE_A  # 1 to 6 for a to f
        over &= (letter + OVER_SIX) | ~(letter + OVER_ZERO)
        over |= word
        over &= TOP_BITS
        word = (word & NIBBLES) + ((word >> np.uint64(6)) & LOW_BITS) * np.uint64(9)
        for left, right, mask in HEX_STEPS:
            word = ((word << left) | (word >> right)) & mask
        return word, over == 0
