"""A Prometheus in memory, for readings without a network: series, a clock, answers that fail."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import orjson

from ops.adapters.prometheus_answers import RawAnswer

NOW_S = 1_700_000_000.0


@dataclass
class StoredSeries:
    """Answers range selectors from samples in memory; every matcher counts."""

    url: str = "http://stored"
    clock_s: float = NOW_S
    series: list = field(default_factory=list)  # labels, times [s], values
    warnings: tuple = ()
    error: Exception | None = None
    asked: list = field(default_factory=list)

    def add(self, name, samples, **labels):
        """`samples`: pairs of a time in seconds and a value."""
        pairs = list(samples)
        self.series.append(({"__name__": name, "namespace": "shop", **labels}, pairs))
        return pairs

    def now_s(self, *, deadline):
        if self.error:
            raise self.error
        return self.clock_s

    def raw_samples(self, names, *, after_ms, until_ms, matchers, deadline):
        if self.error:
            raise self.error
        self.asked.append((tuple(names), tuple(matchers), after_ms, until_ms))
        labels, counts, times, values = [], [], [], []
        for one, pairs in self.series:
            if one["__name__"] not in names or not all(holds(one, m) for m in matchers):
                continue
            kept = [(t, v) for t, v in pairs if after_ms / 1000.0 <= t <= until_ms / 1000.0]
            if kept:
                labels.append(one)
                counts.append(len(kept))
                times += [t for t, _ in kept]
                values += [v for _, v in kept]
        return RawAnswer(
            metrics=tuple(map(orjson.dumps, labels)), counts=np.array(counts, dtype=np.intp),
            times_s=np.array(times, dtype=float), values=np.array(values, dtype=float),
            warnings=self.warnings,
        )  # fmt: skip


def holds(labels, matcher):
    seen = labels.get(matcher.label, "")
    if matcher.op == "=":
        return seen == matcher.value
    assert matcher.op == "=~", matcher
    return re.fullmatch(matcher.value, seen) is not None
