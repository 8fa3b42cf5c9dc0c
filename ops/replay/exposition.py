"""What one scraped address of the simulated fleet answers: Prometheus' text format, version 0.0.4.

Names, labels and values are those of the probes; moments of the simulated clock become unix times.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ops.catalogue import Catalogue
from ops.replay.buffer import IntArray
from ops.replay.exporters import Target, target_labels
from ops.replay.openmetrics import series_head
from ops.replay.probes import Labels, Named
from ops.replay.probes_cluster import MOMENTS
from ops.replay.samples import Block, TargetSamples
from rca.state import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Line = tuple[str, str, bool]  # name, text before the value, whether the value is a moment


class TargetText:
    """The text of one target. Only meters that moved are read again."""

    def __init__(
        self,
        target: Target,
        *,
        job: str,
        added: Mapping[str, str],
        epoch_s: float,
        catalogue: Catalogue,
    ) -> None:
        self._attached = dict(target_labels(target, job, added))
        self._added, self._epoch_s, self._catalogue = dict(added), epoch_s, catalogue
        self._lines: list[_Line] = []
        self._shown: Block | None = None
        self._order: list[tuple[int, str, float]] = []  # sample, text before it, what to add
        self._samples = TargetSamples(self._columns, target, job=job)

    def render(self, target: Target, *, collection: int | None) -> str:
        """The text now.

        Args:
            collection: number of the exporter's own collection; None = it is always fresh.
        """
        block = self._samples.read(target, collection=collection)
        if block is not self._shown:
            self._order, self._shown = self._in_families(block.columns), block
        values = block.samples.tolist()
        return "".join(
            [
                f"{head}{values[index] + moved_s!r}\n"
                for index, head, moved_s in self._order
                if values[index] == values[index]  # an exporter leaves out what it does not know
            ]
        )

    def _columns(self, named: Named, labels: Labels) -> IntArray:
        columns = np.empty(len(named), dtype=np.intp)
        for index, (name, own) in enumerate(named):
            mine = {**own, **labels, **self._added}
            # The scrape attaches its target's labels; an exporter does not repeat them.
            kept = {key: v for key, v in mine.items() if self._attached.get(key) != v}
            columns[index] = len(self._lines)
            head = series_head(Series(name, tuple(sorted(kept.items()))))
            self._lines.append((name, head, name in MOMENTS))
        return columns

    def _in_families(self, columns: IntArray) -> list[tuple[int, str, float]]:
        """Samples but `up`, which is the scraper's, with the lines of one family together."""
        families: dict[tuple[str, str], list[tuple[int, str, float]]] = {}
        for index, column in enumerate(columns.tolist()):
            name, head, moment = self._lines[column]
            if index == 0:
                continue
            lines = families.setdefault(self._family(name), [])
            lines.append((index, head, self._epoch_s if moment else 0.0))
        order = []
        for (family, kind), lines in families.items():
            first, head, moved_s = lines[0]
            order += [(first, f"# TYPE {family} {kind}\n{head}", moved_s), *lines[1:]]
        return order

    def _family(self, name: str) -> tuple[str, str]:
        found = self._catalogue.entries(name)
        if not found:
            return name, "untyped"
        info, part = found[0]
        if not part:
            return name, "counter" if info.type == "counter" else "gauge"
        family = name.removesuffix(f"_{part}")
        buckets = any(p == "bucket" for _, p in self._catalogue.entries(f"{family}_bucket"))
        return family, "histogram" if buckets else "untyped"
