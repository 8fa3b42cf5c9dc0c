"""The one requests table: columns, selection, scaling, invariants. Files live in `formats`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serving.errors import TraceFormatError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_SESSION = -1
MODELS_MAX = 256  # distinct model names in one table; more means that a column was mistaken


class Kind(IntEnum):
    """What sort of caller sent the request."""

    CONVERSATION = 0
    API = 1
    BATCH = 2
    AGENT = 3
    IMAGE = 4


class Status(IntEnum):
    """How the request ended in the system that recorded it."""

    OK = 0
    FAILED = 1
    CANCELLED = 2
    UNKNOWN = 3


class Origin(StrEnum):
    """Where the rows come from."""

    REAL = "real"
    DIGITISED = "digitised"
    GENERATED = "generated"


def no_ids() -> Ints:
    """An empty id column."""
    return np.zeros(0, dtype=np.int64)


@dataclass(slots=True, kw_only=True)
class RequestTable:
    """Requests of one trace, a column each, n rows in order of arrival.

    Shapes: every column [n], `turn` and `num_images` [0] when unknown; `prefix_ids` flat, row i
    owns `prefix_ids[prefix_offsets[i] : prefix_offsets[i + 1]]`, both empty when there are none.
    Latencies are those of the recording system, never ours.
    """

    trace_id: str
    arrival_s: Floats  # seconds from trace start, sorted; ties keep file order
    num_prompt_tokens: NDArray[np.int32]
    num_output_tokens: NDArray[np.int32]  # realised; 0 if failed
    kind: NDArray[np.uint8]  # codes of `Kind`
    model: NDArray[np.uint8]  # index into `models`
    models: tuple[str, ...]
    status: NDArray[np.uint8]  # codes of `Status`
    session_index: Ints  # NO_SESSION = none
    e2e_s: NDArray[np.float32]  # NaN = unknown
    turn: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    num_images: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, dtype=np.int16))
    prefix_block_tokens: int = 0  # 0 = the trace has no prefix ids
    prefix_ids: Ints = field(default_factory=no_ids)
    prefix_offsets: Ints = field(default_factory=no_ids)  # [n + 1]
    origin: Origin = Origin.REAL

    def __len__(self) -> int:
        return len(self.arrival_s)

    def prefix_of(self, row: int) -> Ints:
        """Prefix block ids of one row; empty when the trace has none."""
        if self.prefix_block_tokens == 0:
            return self.prefix_ids
        return self.prefix_ids[self.prefix_offsets[row] : self.prefix_offsets[row + 1]]

    def take(self, rows: NDArray[Any]) -> Self:
        """The given rows in the given order; `rows` is an index or a mask. Stamps stay."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        ids, offsets = self.prefix_ids, self.prefix_offsets
        if self.prefix_block_tokens:
            starts, lengths = offsets[index], np.diff(offsets)[index]
            offsets = np.concatenate(([0], np.cumsum(lengths)))
            shift = np.repeat(starts - offsets[:-1], lengths)
            ids = ids[shift + np.arange(offsets[-1])]
        return replace(
            self,
            arrival_s=self.arrival_s[index],
            num_prompt_tokens=self.num_prompt_tokens[index],
            num_output_tokens=self.num_output_tokens[index],
            kind=self.kind[index],
            model=self.model[index],
            status=self.status[index],
            session_index=self.session_index[index],
            e2e_s=self.e2e_s[index],
            turn=self.turn[index] if len(self.turn) else self.turn,
            num_images=self.num_images[index] if len(self.num_images) else self.num_images,
            prefix_ids=ids,
            prefix_offsets=offsets,
        )

    def window(self, start_s: float, end_s: float) -> Self:
        """Rows that arrive in [start_s, end_s), with their stamps unchanged."""
        first, last = np.searchsorted(self.arrival_s, [start_s, end_s], side="left")
        return self.take(np.arange(first, max(first, last)))

    def scaled(self, rate_ratio: float) -> Self:
        """The same rows at `rate_ratio` times the rate; counts and tokens stay exact."""
        if not (rate_ratio > 0.0 and np.isfinite(rate_ratio)):
            raise ValueError(f"rate_ratio must be positive and finite, got {rate_ratio}")
        return replace(self, arrival_s=self.arrival_s / rate_ratio)

    def check(self) -> None:
        """Hold the table against its invariants.

        Raises:
            TraceFormatError: the first invariant broken, with the row and the value seen.
        """
        self._check_shapes()
        stamps = self.arrival_s
        self._refuse(~np.isfinite(stamps) | (stamps < 0), "arrival_s", "finite and >= 0")
        self._refuse(np.diff(stamps, prepend=stamps[:1]) < 0, "arrival_s", "sorted")
        self._refuse(self.num_prompt_tokens < 0, "num_prompt_tokens", ">= 0")
        self._refuse(self.num_output_tokens < 0, "num_output_tokens", ">= 0")
        self._refuse(self.kind >= len(Kind), "kind", "a known code")
        self._refuse(self.status >= len(Status), "status", "a known code")
        self._refuse(self.model >= len(self.models), "model", "an index into models")
        self._refuse(self.session_index < NO_SESSION, "session_index", ">= -1")
        self._refuse(self.e2e_s < 0, "e2e_s", ">= 0 or NaN")
        self._refuse(self.turn < 0, "turn", ">= 0")
        self._refuse(self.num_images < 0, "num_images", ">= 0")
        failed = (self.status == Status.FAILED) & (self.num_output_tokens != 0)
        self._refuse(failed, "num_output_tokens", "0 where the request failed")
        if self.prefix_block_tokens:
            blocks = -(-self.num_prompt_tokens.astype(np.int64) // self.prefix_block_tokens)
            wrong = blocks != np.diff(self.prefix_offsets)
            self._refuse(wrong, "num_prompt_tokens", "as many blocks as the row has prefix ids")

    def _check_shapes(self) -> None:
        rows = len(self)
        columns = (
            ("num_prompt_tokens", self.num_prompt_tokens),
            ("num_output_tokens", self.num_output_tokens),
            ("kind", self.kind),
            ("model", self.model),
            ("status", self.status),
            ("session_index", self.session_index),
            ("e2e_s", self.e2e_s),
            *((("turn", self.turn),) if len(self.turn) else ()),
            *((("num_images", self.num_images),) if len(self.num_images) else ()),
        )
        for name, column in columns:
            if column.shape != (rows,):
                raise TraceFormatError(
                    f"{self.trace_id}: column {name!r} has shape {column.shape}, "
                    f"arrival_s has {rows} rows; build all columns from the same rows"
                )
        offsets = self.prefix_offsets
        if not self.prefix_block_tokens:
            whole = len(offsets) == 0 and len(self.prefix_ids) == 0
        else:
            whole = (
                len(offsets) == rows + 1
                and int(offsets[0]) == 0
                and int(offsets[-1]) == len(self.prefix_ids)
            )
        if not whole:
            raise TraceFormatError(
                f"{self.trace_id}: {len(offsets)} prefix offsets and {len(self.prefix_ids)} ids "
                f"do not fit {rows} rows at prefix_block_tokens {self.prefix_block_tokens}; "
                "give n + 1 offsets from 0 to the number of ids, or none of both"
            )

    def _refuse(self, wrong: NDArray[np.bool_], column: str, wanted: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise TraceFormatError(
                f"{self.trace_id}: row {row}: {column!r} is {getattr(self, column)[row]}, "
                f"expected {wanted}; correct the rows before building the table"
            )
