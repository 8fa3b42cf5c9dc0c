"""What the meters of one scraped target showed last; a scrape reads only those that have moved.

Which meters a target has and how they are named lives in exporters and probes; columns are the
buffer's.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ops.replay.buffer import IntArray
from ops.replay.exporters import Target
from ops.replay.probes import Labels, Named, Probe
from rca.state import FloatArray

ColumnsOf = Callable[[Named, Labels], IntArray]  # columns of series; -1 = not collected


@dataclass(slots=True, eq=False)
class Block:
    """Samples of one target and the columns that they go to; -1 = not collected."""

    columns: IntArray
    samples: FloatArray


@dataclass(slots=True, eq=False)
class _Reader:
    """One meter of one target.

    Attributes:
        columns: of its series.
        place: its part of the target's samples.
        seen: count or collection at which it was read last; None = read anew.
        values: what was read last.
    """

    probe: Probe
    columns: IntArray
    meter: Any = None
    place: slice = field(default_factory=lambda: slice(0))
    seen: int | None = None
    values: Sequence[float] = ()


class TargetSamples:
    """Samples of one target; its own `up` comes first."""

    __slots__ = ("_columns_of", "_known", "_layout", "_readers", "_samples", "_up", "down")

    def __init__(self, columns_of: ColumnsOf, target: Target, *, job: str) -> None:
        self._columns_of = columns_of
        self._known: dict[Any, _Reader] = {}
        self._layout: Sequence[Any] | None = None  # what the readers and samples were made for
        self._readers: list[_Reader] = []
        self._samples = array("d")
        own = {"job": job, "instance": target.name}
        columns = columns_of([("up", own)], target.labels(target.owner))
        self.down = Block(columns, np.zeros(1))  # what a target that does not answer leaves
        self._up = self.down

    def read(self, target: Target, *, collection: int | None) -> Block:
        """Return its samples now.

        Args:
            collection: number of the exporter's own collection that the scrape finds; None = the
                exporter is always fresh.
        """
        if target.layout != self._layout:
            self._lay_out(target, collects=collection is not None)
        samples = self._samples
        for reader in self._readers:
            count = reader.probe.count
            if collection is not None or count is not None:
                seen = collection if count is None else count(reader.meter)
                if seen == reader.seen:
                    continue
                reader.seen = seen
            values = reader.probe.read(reader.meter)
            if values != reader.values:
                reader.values = values
                samples[reader.place] = array("d", values)
        return self._up

    def _lay_out(self, target: Target, *, collects: bool) -> None:
        """Find the meters and where their samples go."""
        self._layout, self._readers, samples = target.layout, [], array("d", [1.0])
        columns = [self.down.columns]
        for probe, name, other, meter, owner in target.readings():
            key = (probe.name, name, other)
            reader = self._known.get(key)
            if reader is None:
                named = probe.names(owner, other, meter)
                reader = _Reader(probe, self._columns_of(named, probe.labels(owner)))
                self._known[key] = reader
            reader.meter = meter
            if not collects or not reader.values:  # an exporter keeps what it has collected
                reader.seen, reader.values = None, probe.read(meter)
            start = len(samples)
            samples.extend(reader.values)
            reader.place = slice(start, len(samples))
            self._readers.append(reader)
            columns.append(reader.columns)
        self._samples = samples
        self._up = Block(np.concatenate(columns), np.frombuffer(samples))  # a view of the samples
