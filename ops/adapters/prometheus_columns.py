"""Label sets of a Prometheus -> columns of a frame: what has a role, each series once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ops.adapters.prometheus_answers import Answer
from ops.catalogue import plain_name
from rca.state import MetricRole, Series

Labels = tuple[tuple[str, str], ...]
Places = npt.NDArray[np.intp]
_NUMBERS = frozenset({"le", "quantile"})  # labels whose values are numbers
# Labels of a series as they are stored -> with what a scrape lacks and somebody else knows.
Complete = Callable[[Mapping[str, str]], Mapping[str, str]]


class Roles(Protocol):
    """What gives a series its meaning: the catalogue, with or without further metrics."""

    def resolve(self, series: Series) -> MetricRole | None:
        """What the series means, None where nothing is known."""
        ...

    @property
    def region_labels(self) -> tuple[str, ...]:
        """Labels that give the region, in order of trust."""
        ...


def with_added(stored: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """Labels of a series with those that its endpoint adds, where the store lacks them."""
    return {**added, **stored}


def identity(name: str, pairs: Labels) -> tuple[str, Labels]:
    """What two spellings of one series have in common.

    Beside names it is the bounds of a histogram: Prometheus 3 stores le="1.0" where version 2 kept
    the exporter's le="1". After an upgrade the new spelling would else be a counter that begins
    with all of its past.
    """
    return plain_name(name), tuple(
        (label, _as_number(value)) if label in _NUMBERS else (label, value)
        for label, value in pairs
    )


def _as_number(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:
        return text


@dataclass(slots=True)
class Columns:
    """Series met so far. A series stored under two spellings, in turn or at once, is one column."""

    catalogue: Roles
    added: Mapping[str, str]
    complete: Complete | None = None
    series: list[Series] = field(default_factory=list)
    roles: list[MetricRole] = field(default_factory=list)
    spellings: dict[str, set[str]] = field(default_factory=dict)  # plain name -> stored names
    num_without_region: int = 0
    num_without_role: int = 0
    _column: dict[tuple[str, Labels], int] = field(default_factory=dict)

    def places(self, answer: Answer) -> Places:
        """Column of each series of an answer, -1 where it has no role."""
        return np.array([self._place(labels) for labels in answer.labels], dtype=np.intp)

    def sort(self) -> Places:
        """Order columns by name and labels; returns the new place of each, -1 for -1."""
        order = sorted(
            range(len(self.series)), key=lambda c: (self.series[c].name, self.series[c].labels)
        )
        rank = np.full(len(order) + 1, -1, dtype=np.intp)
        rank[order] = np.arange(len(order))
        self.series = [self.series[c] for c in order]
        self.roles = [self.roles[c] for c in order]
        return rank

    def _place(self, stored: Mapping[str, str]) -> int:
        labels = with_added(stored, self.added)
        if self.complete is not None:
            labels = dict(self.complete(labels))
        name = labels.pop("__name__", "")
        pairs = tuple(sorted(labels.items()))
        known_by = plain, _ = identity(name, pairs)
        column = self._column.get(known_by)
        if column is None:
            column = self._column[known_by] = self._new(Series(name, pairs))
        if column >= 0:
            self.spellings.setdefault(plain, set()).add(name)
        return column

    def _new(self, one: Series) -> int:
        role = self.catalogue.resolve(one)
        if role is None:
            if any(one.label(key) for key in self.catalogue.region_labels):
                self.num_without_role += 1
            else:
                self.num_without_region += 1
            return -1
        self.series.append(one)
        self.roles.append(role)
        return len(self.series) - 1
