"""Where an accused pod ran: its node, its GPU where one is told apart, and whether it ran on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rca.state import Entity, EntityKind, MetricFrame, RankedCause, ResourceClass

_RESTARTS = "pod_restarts"  # role of a counter
_OF_GPU = frozenset({ResourceClass.GPU_CLOCK, ResourceClass.GPU_MEMORY, ResourceClass.GPU_DEVICE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Node and GPU of a pod; empty where not known."""

    node: str = ""
    gpu: str = ""

    def __str__(self) -> str:
        parts = [f"node {self.node}"] if self.node else []
        parts += [f"GPU {self.gpu}"] if self.gpu else []
        return ", ".join(parts)


def has_restarted(entity: Entity, frame: MetricFrame | None, *, from_s: float, to_s: float) -> bool:
    """Whether a container of a pod was restarted in that time, as far as it was counted."""
    if frame is None:
        return False
    rows = (frame.times_s >= from_s) & (frame.times_s <= to_s)
    for column, role in enumerate(frame.roles):
        if role is None or role.entity != entity or role.role != _RESTARTS:
            continue
        counted = frame.values[rows, column]
        counted = counted[np.isfinite(counted)]
        if len(counted) and counted.max() > counted[0]:
            return True
    return False


def place_of(cause: RankedCause | None, frame: MetricFrame | None) -> Place:
    """From the labels of what is measured at the pod; the GPU only where a GPU is accused.

    The GPU is that of the strongest evidence that was read at one.
    """
    if cause is None or frame is None or cause.entity.kind is not EntityKind.POD:
        return Place()
    node = next(
        (
            series.label("node")
            for series, role in zip(frame.series, frame.roles, strict=True)
            if role is not None and role.entity == cause.entity and series.label("node")
        ),
        "",
    )
    if cause.resource_class not in _OF_GPU:
        return Place(node=node)
    read = sorted(cause.evidence, key=lambda e: (-e.strength, e.text))
    gpus = (e.series.label("gpu") for e in read if e.series is not None and e.strength > 0)
    return Place(node=node, gpu=next((gpu for gpu in gpus if gpu), ""))
