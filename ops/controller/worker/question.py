"""One diagnosis as a value: everything that the answer depends on, and nothing else.

A bundle keeps numbers to six digits. The question is rounded the same way before it is asked, so
that the answer to the bundle is the answer that was given, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ops.encode import FLOAT_DIGITS
from ops.state import NodeRecord, PodPhase, PodRecord
from rca.forecasters import Forecaster
from rca.pipeline import diagnose
from rca.state import (
    ChangeEvent,
    ClusterEvent,
    Entity,
    EntityKind,
    MetricFrame,
    RcaResult,
    Shown,
    Symptom,
    Topology,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What `rca.pipeline.diagnose` is asked.

    Attributes:
        granger: name of the model of what leads what, never `auto`: others repeat it.
        shown: the cluster at `now_s`; empty where nothing of that moment was known.
    """

    frame: MetricFrame
    symptom: Symptom
    topology: Topology
    changes: tuple[ChangeEvent, ...]
    events: tuple[ClusterEvent, ...]
    now_s: float
    seed: int
    granger: str
    shown: tuple[Shown, ...] = ()

    def answer(self, forecaster: Forecaster) -> RcaResult:
        """Rank the causes; `forecaster` is the model that `granger` names.

        Raises:
            FrameError: the frame's parts do not fit together.
        """
        return diagnose(
            self.frame,
            symptom=self.symptom,
            topology=self.topology,
            changes=self.changes,
            events=self.events,
            now_s=self.now_s,
            seed=self.seed,
            forecaster=forecaster,
            shown=self.shown,
        )


def settled_symptom(symptom: Symptom) -> Symptom:
    """Numbers as a bundle keeps them."""
    return replace(
        symptom,
        began_at_s=_kept(symptom.began_at_s),
        detected_at_s=_kept(symptom.detected_at_s),
        bad_ratio=_kept(symptom.bad_ratio),
    )


def settled_events(events: tuple[ClusterEvent, ...]) -> tuple[ClusterEvent, ...]:
    """Moments as a bundle keeps them, in its order."""
    return tuple(replace(event, at_s=_kept(event.at_s)) for event in events)


def settled_changes(changes: tuple[ChangeEvent, ...]) -> tuple[ChangeEvent, ...]:
    """Moments as a bundle keeps them, in its order."""
    return tuple(replace(change, at_s=_kept(change.at_s)) for change in changes)


def settled_shown(pods: tuple[PodRecord, ...], nodes: tuple[NodeRecord, ...]) -> tuple[Shown, ...]:
    """Pods and nodes as the cluster shows them, as a bundle keeps them, in an order of their own.

    Replicas that a Deployment shows ready are those of its pods that are.
    """
    shown = [
        Shown(
            entity=Entity(EntityKind.POD, pod.region, pod.name),
            well=pod.ready and pod.phase is PodPhase.RUNNING,
            made_at_s=_kept(pod.created_at_s),
        )
        for pod in pods
    ]
    shown += [
        Shown(entity=Entity(EntityKind.NODE, node.region, node.name), well=node.ready)
        for node in nodes
    ]
    return tuple(sorted(shown))


def _kept(value: float) -> float:
    return round(value, FLOAT_DIGITS) + 0.0
