"""Load per client and window, and token quantiles per client: what ServeGen publishes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import TraceFormatError

Floats = NDArray[np.float64]

WINDOW_S = 600.0
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


class GapLaw(IntEnum):
    """Law of the gaps between a client's requests in one window."""

    GAMMA = 0
    WEIBULL = 1
    NONE = 2  # a window without requests


@dataclass(slots=True, kw_only=True)
class LoadWindows:
    """Request rate of each client in windows of `width_s`, a column each, [n].

    A window that is absent has rate 0. Rows stand in file order; a small scale may be
    printed as 0. Trap: the Weibull shape and scale do not reproduce the rate; keep the shape
    and take scale = 1 / (rate * Gamma(1 + 1 / shape)).

    Source: alibaba/ServeGen, arXiv 2505.09999.
    """

    trace_id: str
    client: NDArray[np.int32]
    start_s: Floats
    rate_rps: Floats
    iat_cv: Floats  # NaN = unknown, as are shape and scale
    law: NDArray[np.uint8]  # codes of `GapLaw`
    shape: Floats
    scale: Floats
    width_s: float = WINDOW_S

    def __len__(self) -> int:
        return len(self.start_s)

    def check(self) -> None:
        """Hold the table against its invariants.

        Raises:
            TraceFormatError: the first invariant broken, with the row and the value seen.
        """
        refuse(self, self.client < 0, "client", ">= 0")
        refuse(self, ~(self.start_s >= 0), "start_s", ">= 0")
        refuse(self, ~(self.rate_rps >= 0), "rate_rps", ">= 0")
        refuse(self, self.law >= len(GapLaw), "law", "a known code")
        lawful = self.law != GapLaw.NONE
        for name in ("iat_cv", "shape", "scale"):
            refuse(self, lawful & ~(getattr(self, name) >= 0), name, ">= 0 where a law is given")


@dataclass(slots=True, kw_only=True)
class TokenQuantiles:
    """Token counts of each client in blocks of six hours, a column each, [n].

    Some clients have none: use those of the whole pool.
    """

    trace_id: str
    client: NDArray[np.int32]
    start_s: Floats
    field: NDArray[np.uint8]  # index into `fields`
    fields: tuple[str, ...]  # input_tokens, output_tokens, reason_ratio, ...
    mean: Floats
    quantiles: Floats  # [len(QUANTILES), n]
    maximum: Floats
    support: NDArray[np.int32]  # different values seen

    def __len__(self) -> int:
        return len(self.start_s)

    def check(self) -> None:
        """Hold the table against its invariants.

        Raises:
            TraceFormatError: the first invariant broken, with the row and the value seen.
        """
        refuse(self, self.client < 0, "client", ">= 0")
        refuse(self, ~(self.start_s >= 0), "start_s", ">= 0")
        refuse(self, self.field >= len(self.fields), "field", "an index into fields")
        rising = np.vstack([self.quantiles, self.maximum])
        falls = np.flatnonzero((np.diff(rising, axis=0) < 0).any(axis=0))
        refuse(self, np.isin(np.arange(len(self)), falls), "maximum", "quantiles that rise")


def refuse(table: Any, wrong: NDArray[np.bool_], column: str, wanted: str) -> None:
    """Name the first row of `table` that is wrong.

    Raises:
        TraceFormatError: a row is wrong.
    """
    if wrong.any():
        row = int(np.argmax(wrong))
        raise TraceFormatError(
            f"{table.trace_id}: row {row}: {column!r} is {getattr(table, column)[row]}, "
            f"expected {wanted}; correct the rows before building the table"
        )
