"""What is wrong with a scenario file: the list of problems and how values are shown in it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

PROBLEMS_MAX = 100  # listed; beyond it they are only counted
SHOWN_CHARS_MAX = 60


class Problems:
    """Every problem found so far, each with the path of the key at fault."""

    __slots__ = ("lines", "num_found")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.num_found = 0

    def add(self, path: str, text: str) -> None:
        """Note one problem."""
        self.num_found += 1
        if not self.full:
            self.lines.append(f"{path}: {text}" if path else text)

    @property
    def full(self) -> bool:
        """Whether the list is at its bound."""
        return len(self.lines) >= PROBLEMS_MAX

    def any_below(self, *paths: str) -> bool:
        """Whether a problem was found in one of these tables."""
        return any(line.startswith(paths) for line in self.lines)

    def message(self, source: str) -> str:
        """The whole error message."""
        head = f"{source}: {self.num_found} problem{'s' if self.num_found != 1 else ''}"
        more = self.num_found - len(self.lines)
        tail = [f"... and {more} more"] if more else []
        lines = [head, *self.lines, *tail, "docs/scenarios.md describes every key"]
        return "\n  ".join(lines)


def shown(value: object) -> str:
    """A value as an error message quotes it: short, whatever its size."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:
        # Python refuses to print integers of more than 4300 digits.
        return f"an integer of {value.bit_length()} bits"
    text = repr(value[: SHOWN_CHARS_MAX + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."


def unknown(value: str, what: str, known: Iterable[str]) -> str:
    """Text for a reference or key that does not exist, with the nearest one that does."""
    names = sorted(known)
    # Long strings are no typing errors, and comparing them takes time.
    near = get_close_matches(value, names, n=1) if len(value) <= SHOWN_CHARS_MAX else []
    if near:
        return f"{shown(value)} is no {what}; did you mean {near[0]!r}?"
    listed = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
    return f"{shown(value)} is no {what}; known: {listed or 'none'}"
