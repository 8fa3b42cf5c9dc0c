"""Where a cluster contradicts an accusation of loss: gone by its metrics, well by the API.

The order of the candidates stays; only how far to trust it changes. What is told by other classes
is no claim that a readiness could contradict: a slow pod is Ready, and need not answer a scrape.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rca.align import BoolArray
from rca.channels.case import KILLED_S, WORK, Case
from rca.channels.red import RedTree
from rca.kinds import plain
from rca.state import ClusterEvent, Entity, EntityKind, Shown

TAIL_ROWS = 2  # newest rows without a word; single scrapes are lost every day
# Of two witnesses that contradict each other, with nothing that tells them apart, each is right
# half of the time. At first the cluster may not know yet: it notices a lost node after 40 to 50 s,
# the grace period of Kubernetes' node controller. Set by judgement: no recorded incident has a
# cluster's view, and in a simulation the two agree in the end.
NOTICED_S = 60.0
KEPT_EARLY, KEPT_LATE = 0.8, 0.5  # of the confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """What the cluster shows against one accusation.

    Attributes:
        kept: share of the confidence that is left, < 1.
    """

    text: str
    kept: float


def contradictions(
    case: Case,
    tree: RedTree,
    lost: Sequence[Entity],
    shown: Sequence[Shown],
    events: Sequence[ClusterEvent],
) -> dict[Entity, Contradiction]:
    """Accusations of loss that the cluster contradicts.

    Args:
        lost: who is accused of it. A service stands for its pods.
        shown: the cluster at `case.now_s`; empty where nothing of now is known.
    """
    well = {one.entity: one.made_at_s for one in shown if one.well}
    if not (lost and well):
        return {}
    heard = _Heard.of(case, tree)
    for event in sorted(events):
        if event.reason == "Started" and event.entity in well:
            well[event.entity] = max(well[event.entity], event.at_s)
    silent_s = float(case.aligned.times_s[-1]) - TAIL_ROWS * case.aligned.step_s
    since_s = case.onset_s - KILLED_S  # who ended before that is no part of this
    out = {}
    for entity in lost:
        parts = _parts(case, entity)
        known = {part: at_s for part in parts if (at_s := heard.last_s(part)) >= since_s}
        silent = {part: at_s for part, at_s in known.items() if at_s <= silent_s}
        # One that was made or started since then is another one, or back.
        against = [part for part, at_s in silent.items() if well.get(part, math.inf) <= at_s]
        if not against:
            continue
        ages_s = [case.now_s - silent[part] for part in against]
        lost_share = sum(1.0 - (KEPT_EARLY if s <= NOTICED_S else KEPT_LATE) for s in ages_s)
        counts = f"{len(silent)} of its {len(known)} pods", f"{len(against)} of those"
        out[entity] = Contradiction(
            text=_text(entity, counts, max(ages_s), heard.silence(against[0])),
            kept=1.0 - lost_share / len(silent),
        )
    return out


def _parts(case: Case, entity: Entity) -> list[Entity]:
    """What is gone if it is lost."""
    if entity.kind is EntityKind.SERVICE:
        pods = case.pods_of(entity.region, entity.name)
        return [Entity(EntityKind.POD, entity.region, pod) for pod in pods]
    return [entity] if entity.kind in (EntityKind.POD, EntityKind.NODE) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """Who spoke when.

    Attributes:
        own: columns of what a running process shows.
        targets: name of a pod -> columns of whether it answers scrapes.
        answers: name of a pod -> columns of the calls that it answers.
    """

    case: Case
    own: Mapping[Entity, Sequence[int]]
    targets: Mapping[str, Sequence[int]]
    answers: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, case: Case, tree: RedTree) -> _Heard:
        own: dict[Entity, list[int]] = defaultdict(list)
        for column, role in enumerate(case.roles):
            if role.kind in WORK:
                own[role.entity].append(column)
        targets: dict[str, list[int]] = defaultdict(list)
        for column in case.columns("scrape_up"):
            for value in {value for _, value in case.aligned.series[column].labels}:
                targets[value].append(column)
        return cls(case=case, own=own, targets=targets, answers=tree.pod_answers)

    def last_s(self, entity: Entity) -> float:
        """When it was last measured and, where its calls are, answered one; -inf = never."""
        rows = np.flatnonzero(self._measured(entity) & self._answered(entity))
        return float(self.case.aligned.times_s[rows[-1]]) if len(rows) else -math.inf

    def silence(self, entity: Entity) -> tuple[str, str]:
        """What of it is silent in the newest row, of one and of many."""
        if self._measured(entity)[-1]:
            return "answers no calls", "without an answer to calls"
        if entity.kind is EntityKind.POD and entity.name in self.targets:
            return "answers no scrapes", "without an answer to scrapes"
        return "gone by its metrics", "gone by their metrics"

    def _measured(self, entity: Entity) -> BoolArray:
        """Rows in which it answered a scrape; where that is not known, most of its series lived."""
        levels = self.case.aligned.levels
        if entity.kind is EntityKind.POD and entity.name in self.targets:
            return _any(levels[:, self.targets[entity.name]] > 0.0)
        seen = np.isfinite(levels[:, self.own.get(entity, ())])
        most: BoolArray = 2 * seen.sum(axis=1) > max(1, int(seen.any(axis=0).sum()))
        return most

    def _answered(self, entity: Entity) -> BoolArray:
        growth = self.case.aligned.increases
        columns = self.answers.get(entity.name, ()) if entity.kind is EntityKind.POD else ()
        if not len(columns):
            return np.ones(len(growth), dtype=bool)
        return _any(growth[:, columns] > 0.0)


def _any(cells: BoolArray) -> BoolArray:
    """Rows with any of them, also of no columns at all."""
    rows: BoolArray = np.logical_or.reduce(cells, axis=1)
    return rows


def _text(entity: Entity, counts: tuple[str, str], age_s: float, silence: tuple[str, str]) -> str:
    late = "one of the two is wrong" if age_s > NOTICED_S else "a loss may show there a minute late"
    one, many = silence
    if entity.kind is EntityKind.SERVICE:
        return (
            f"{counts[0]} {many} for up to {plain(age_s)} s, yet the cluster shows {counts[1]} "
            f"Running and Ready; {late}"
        )
    state = "Ready" if entity.kind is EntityKind.NODE else "Running and Ready"
    return f"{one} for {plain(age_s)} s, yet the cluster shows it {state}; {late}"
