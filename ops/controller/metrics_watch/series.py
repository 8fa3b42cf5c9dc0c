"""Label sets of answers -> columns of the ring: each series once, with its place in the fleet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import orjson

from ops.adapters.prometheus_columns import identity, with_added
from ops.catalogue import Catalogue
from ops.catalogue.owner_labels import POD_LABELS
from ops.controller.metrics_watch.roles import USER_ROLES
from ops.controller.metrics_watch.state import Seen
from ops.slo_keys import KEYS_MAX
from rca.state import MetricRole, Series

IntArray = npt.NDArray[np.int64]
_T = TypeVar("_T")

LEFT_OUT, WAITING = -1, -2
SERIES_MAX = 50_000  # of one fleet; what comes beyond is left out and told
_KEYS_MAX = 4 * SERIES_MAX
UNPLACED_MAX = 10_000  # pods without a place that are remembered by name

# Labels (region, service, node) of a pod by its name; None: no pod of this fleet, or not yet.
Placed = Callable[[str], Mapping[str, str] | None]


class WatchSeries:
    """Series that have a role, in the order of their coming.

    A series stored under two spellings, in turn or at once, is one column. Labels, entities and
    roles are shared between the series of a pod.

    Attributes:
        generation: changes with `series`.
        series, roles: of the frames; the same tuples until a column comes or goes.
        stored: names as they are stored.
        num_without_role, num_unplaced, num_refused: series left out; unplaced in the last answers.
        num_classless, odd_class: those whose class is one too many, and the first such class.
        unplaced: the pods that these unplaced ones name.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        placed: Placed | None,
        region: str,
        added: Mapping[str, str],
        classes: frozenset[str] = frozenset(),
    ) -> None:
        self._catalogue, self._placed, self._region = catalogue, placed, region
        self._added, self._classes = added, classes
        self._series: list[Series] = []
        self._roles: list[MetricRole] = []
        # By 64 keyed bits each: that two of a fleet's series share them is out of the question.
        self._by_stored: dict[int, int] = {}  # labels as they are stored -> column
        self._by_identity: dict[int, int] = {}  # what its spellings share -> column
        self._waiting: dict[int, str] = {}  # labels as they are stored -> pod without a place
        self._shared: dict[object, object] = {}  # label pairs, entities
        self._keys: set[tuple[str, str]] = set()  # region and class of what users get
        self.generation = 0
        self.series: tuple[Series, ...] = ()
        self.roles: tuple[MetricRole | None, ...] = ()
        self.stored: set[str] = set()
        self.num_without_role = self.num_unplaced = self.num_refused = 0
        self.num_classless, self.odd_class = 0, ""
        self.unplaced: set[str] = set()

    def begin_answers(self) -> None:
        """Count anew what has no place."""
        self.num_unplaced = 0
        self.unplaced = set()

    def columns(self, metrics: Iterable[bytes]) -> IntArray:
        """Column of each series of an answer, by its labels as JSON; negative: left out."""
        before = len(self._series)
        known = self._by_stored
        found = [
            column if (column := known.get(hash(one))) is not None else self._column(one)
            for one in metrics
        ]
        if len(self._series) > before:
            self._renew()
        return np.array(found, dtype=np.int64)

    def note(self, seen: Seen) -> None:
        """Tell how many series are left out, and why."""
        seen.num_without_role, seen.num_unplaced = self.num_without_role, self.num_unplaced
        seen.num_refused, seen.num_classless = self.num_refused, self.num_classless
        seen.odd_class = self.odd_class

    def keep(self, kept: IntArray) -> None:
        """Forget all columns but these."""
        self._series = [self._series[int(c)] for c in kept]
        self._roles = [self._roles[int(c)] for c in kept]
        places = {int(old): new for new, old in enumerate(kept)}
        for known in (self._by_stored, self._by_identity):
            left = {key: places[c] for key, c in known.items() if c in places}
            known.clear()
            known.update(left)
        self._shared = {pair: pair for one in self._series for pair in one.labels}
        self._shared |= {role.entity: role.entity for role in self._roles}
        self.stored = {one.name for one in self._series}
        self._keys = {
            (role.entity.region, one.label("slo_class"))
            for one, role in zip(self._series, self._roles, strict=True)
            if role.role in USER_ROLES
        }
        self._renew()

    def _renew(self) -> None:
        self.generation += 1
        self.series, self.roles = tuple(self._series), tuple(self._roles)

    def _column(self, metric: bytes) -> int:
        key = hash(metric)
        pod = self._waiting.get(key, "")
        if pod and self._placed is not None and self._placed(pod) is None:
            self._note_unplaced(pod)
            return WAITING  # looked at again with the next answer
        labels = orjson.loads(metric)
        column = self._new(labels)
        if column == WAITING:
            pod = pod_of(labels)
            self._note_unplaced(pod)
            if len(self._waiting) >= _KEYS_MAX:
                self._waiting.clear()
            self._waiting[key] = pod
            return column
        self._waiting.pop(key, None)
        if len(self._by_stored) >= _KEYS_MAX:
            for old in [k for k, c in self._by_stored.items() if c < 0]:
                del self._by_stored[old]
        self._by_stored[key] = column
        return column

    def _note_unplaced(self, pod: str) -> None:
        self.num_unplaced += 1
        if len(self.unplaced) < UNPLACED_MAX:
            self.unplaced.add(pod)

    def _new(self, stored: Mapping[str, str]) -> int:
        labels = with_added(stored, self._added)
        name = labels.pop("__name__", "")
        pod = pod_of(labels)
        if self._placed is not None and pod:
            place = self._placed(pod)
            if place is None:
                return WAITING
            labels |= place  # the cluster knows better than the labels of a scrape
        if not any(labels.get(key) for key in self._catalogue.region_labels):
            labels["region"] = self._region
        pairs = tuple(self._share(pair) for pair in sorted(labels.items()))
        role = self._catalogue.resolve(Series(name, pairs))
        if role is None:
            self.num_without_role += 1
            return LEFT_OUT
        known_by = hash(identity(name, pairs))
        column = self._by_identity.get(known_by)
        if column is None:
            if len(self._series) >= SERIES_MAX:
                self.num_refused += 1
                return LEFT_OUT
            if role.role in USER_ROLES and not self._is_class(role, labels):
                self.num_classless += 1
                return LEFT_OUT
            column = self._by_identity[known_by] = len(self._series)
            self._series.append(Series(sys.intern(name), pairs))
            self._roles.append(replace(role, entity=self._share(role.entity)))
        self.stored.add(name)
        return column

    def _is_class(self, role: MetricRole, labels: Mapping[str, str]) -> bool:
        """Whether there is room for its class: there is for each that the Fleet names."""
        key = role.entity.region, labels.get("slo_class", "")
        if len(self._keys) >= KEYS_MAX and key not in self._keys and key[1] not in self._classes:
            self.odd_class = self.odd_class or key[1]
            return False
        self._keys.add(key)
        return True

    def _share(self, value: _T) -> _T:
        return self._shared.setdefault(value, value)  # type: ignore[return-value]


def pod_of(labels: Mapping[str, str]) -> str:
    """Pod that a series names, empty where it names none."""
    return next((value for key in POD_LABELS if (value := labels.get(key))), "")
