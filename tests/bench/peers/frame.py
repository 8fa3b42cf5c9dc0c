"""What a method of the bench is given and what it answers; knows numpy and nothing else.

Both environments import it: the project's, which cleans and scores, and the peers', which ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Frame:
    """The cleaned table of one case, the same for every method.

    Attributes:
        columns: names in the order of the source, length N.
        services: of each column, length N.
        times_s: shape [T].
        values: no cell missing, shape [T, N].
        fault_at_s: rows from here on belong to the fault.
    """

    columns: tuple[str, ...]
    services: tuple[str, ...]
    times_s: np.ndarray
    values: np.ndarray
    fault_at_s: float

    @property
    def normal(self) -> np.ndarray:
        """Rows before the fault, shape [T1, N]."""
        return self.values[self.times_s < self.fault_at_s]

    @property
    def fault(self) -> np.ndarray:
        """Rows from the fault on, shape [T2, N]."""
        return self.values[self.times_s >= self.fault_at_s]


@dataclass(frozen=True)
class Ranking:
    """Columns best first; `services` where their order does not follow from the columns'."""

    columns: list[str]
    services: list[str] | None = None


class FallbackError(Exception):
    """The method gave no ranking of its own."""


def checked(ranks: Sequence[str], given: Sequence[str]) -> Ranking:
    """A ranking that says something.

    Raises:
        FallbackError: it is empty, or the columns in the order in which they were given.
    """
    columns = [str(c) for c in ranks]
    if not columns:
        raise FallbackError("an empty ranking")
    kept = set(columns)
    if len(columns) > 1 and columns == [c for c in given if c in kept]:
        raise FallbackError("the answer is the column order")
    return Ranking(columns)


def save(frame: Frame, path: Path) -> None:
    """Write a frame where a peer's process can read it."""
    np.savez(path, columns=np.array(frame.columns), services=np.array(frame.services),
             times_s=frame.times_s, values=frame.values, fault_at_s=frame.fault_at_s)  # fmt: skip


def load(path: Path) -> Frame:
    """Read it back; nothing is unpickled."""
    with np.load(path) as found:
        return Frame(
            columns=tuple(found["columns"].tolist()),
            services=tuple(found["services"].tolist()),
            times_s=found["times_s"],
            values=found["values"],
            fault_at_s=float(found["fault_at_s"]),
        )
