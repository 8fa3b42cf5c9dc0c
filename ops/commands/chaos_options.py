"""Values of the options that the chaos commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import typer

from ops.replay.faults import CATALOGUE

Number = TypeVar("Number", int, float)


def parse_kinds(text: str) -> list[str]:
    """Fault kinds, comma separated, or "all".

    Raises:
        typer.BadParameter: an unknown kind.
    """
    names = list(CATALOGUE) if text == "all" else [k.strip() for k in text.split(",") if k.strip()]
    unknown = [k for k in names if k not in CATALOGUE]
    if unknown:
        raise typer.BadParameter(f"unknown kinds {unknown}; choose from {', '.join(CATALOGUE)}")
    return names


def parse_seeds(text: str) -> tuple[int, int]:
    """FIRST:LAST, the last one excluded.

    Raises:
        typer.BadParameter: no two whole numbers.
    """
    return _pair(text, int, "--seeds", "1000:1010")


def parse_load(text: str) -> tuple[float, float]:
    """LOW:HIGH, shares of the capacity.

    Raises:
        typer.BadParameter: no two numbers, or not 0 < LOW <= HIGH <= 2.
    """
    low, high = _pair(text, float, "--load", ".5:.85")
    if not 0.0 < low <= high <= 2.0:
        raise typer.BadParameter(f"--load {text!r}: expected 0 < LOW <= HIGH <= 2")
    return low, high


def parse_severity(text: str) -> tuple[float, float]:
    """LOW:HIGH; 1 is the usual size of a fault.

    Raises:
        typer.BadParameter: no two numbers, or not 0 < LOW <= HIGH <= 10.
    """
    low, high = _pair(text, float, "--severity", "1:1.6")
    if not 0.0 < low <= high <= 10.0:
        raise typer.BadParameter(f"--severity {text!r}: expected 0 < LOW <= HIGH <= 10")
    return low, high


def _pair(
    text: str, kind: Callable[[str], Number], option: str, example: str
) -> tuple[Number, Number]:
    try:
        first, last = (kind(part) for part in text.split(":"))
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r}: expected two numbers, as {example}") from None
    return first, last
