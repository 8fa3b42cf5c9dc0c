"""Columns that grow by rows and by blocks, and end as arrays."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.workload.table import NO_SESSION, Kind, Origin, RequestTable, Status

NARROW = np.uint32
NARROW_MAX = 2**32 - 1


class Column:
    """One column: blocks as they came, and the rows since the last block.

    Blocks are kept apart until the end; one buffer that grows is copied again and again.
    """

    __slots__ = ("_blocks", "_dtype", "_narrow", "_num_in_blocks", "_tail", "append", "extend")

    def __init__(self, typecode: str, *, narrow: bool = False) -> None:
        self._tail: array[Any] = array(typecode)
        self._blocks: list[NDArray[Any]] = []
        self._num_in_blocks = 0
        self._dtype = np.dtype(typecode)
        self._narrow = narrow  # keep blocks of small numbers in half the memory
        self.append: Callable[[Any], None] = self._tail.append
        self.extend: Callable[[Iterable[Any]], None] = self._tail.extend

    def __len__(self) -> int:
        return self._num_in_blocks + len(self._tail)

    def grow(self, values: NDArray[Any]) -> None:
        """Append a block's values in the column's own number type; they must not change later."""
        self._flush()
        if not len(values):
            return
        fits = self._narrow and int(values.max()) <= NARROW_MAX
        self._blocks.append(values.astype(NARROW if fits else self._dtype, copy=False))
        self._num_in_blocks += len(values)

    def frozen(self) -> NDArray[Any]:
        """The whole column as one array; the column is empty afterwards."""
        self._flush()
        whole = np.empty(self._num_in_blocks, dtype=self._dtype)
        end = len(whole)
        while self._blocks:  # from the back, so that each block is freed once it is copied
            block = self._blocks.pop()
            whole[end - len(block) : end] = block
            end -= len(block)
        self._num_in_blocks = 0
        return whole

    def _flush(self) -> None:
        if self._tail:
            self._blocks.append(np.array(self._tail, dtype=self._dtype))
            self._num_in_blocks += len(self._tail)
            del self._tail[:]


@dataclass(slots=True)
class Columns:
    """Growing columns; one that stays empty is filled with its default at the end."""

    arrival_s: Column = field(default_factory=lambda: Column("d"))
    prompt: Column = field(default_factory=lambda: Column("i"))
    output: Column = field(default_factory=lambda: Column("i"))
    kind: Column = field(default_factory=lambda: Column("B"))
    model: Column = field(default_factory=lambda: Column("B"))
    status: Column = field(default_factory=lambda: Column("B"))
    session: Column = field(default_factory=lambda: Column("q"))
    turn: Column = field(default_factory=lambda: Column("i"))
    images: Column = field(default_factory=lambda: Column("h"))
    e2e_s: Column = field(default_factory=lambda: Column("f"))
    prefix_ids: Column = field(default_factory=lambda: Column("q", narrow=True))
    prefix_counts: Column = field(default_factory=lambda: Column("i"))

    def table(
        self,
        trace_id: str,
        *,
        models: tuple[str, ...] = ("unknown",),
        kind: Kind = Kind.CONVERSATION,
        prefix_block_tokens: int = 0,
        origin: Origin = Origin.REAL,
    ) -> RequestTable:
        """Freeze the columns; `kind` holds for all rows when no row gave its own."""
        rows = len(self.arrival_s)

        def column(cells: Column, default: float, dtype: type) -> NDArray[Any]:
            return cells.frozen() if len(cells) else np.full(rows, default, dtype=dtype)

        offsets = np.zeros(rows + 1 if prefix_block_tokens else 0, dtype=np.int64)
        if prefix_block_tokens:
            np.cumsum(self.prefix_counts.frozen(), out=offsets[1:])
        return RequestTable(
            trace_id=trace_id,
            arrival_s=column(self.arrival_s, 0.0, np.float64),
            num_prompt_tokens=column(self.prompt, 0, np.int32),
            num_output_tokens=column(self.output, 0, np.int32),
            kind=column(self.kind, kind, np.uint8),
            model=column(self.model, 0, np.uint8),
            models=models,
            status=column(self.status, Status.OK, np.uint8),
            session_index=column(self.session, NO_SESSION, np.int64),
            e2e_s=column(self.e2e_s, float("nan"), np.float32),
            turn=self.turn.frozen(),
            num_images=self.images.frozen(),
            prefix_block_tokens=prefix_block_tokens,
            prefix_ids=self.prefix_ids.frozen(),
            prefix_offsets=offsets,
            origin=origin,
        )
