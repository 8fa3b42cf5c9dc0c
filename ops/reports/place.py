"""Where an accused pod ran: its node, and its GPU where one is told apart."""

from __future__ import annotations

from dataclasses import dataclass

from rca.state import EntityKind, MetricFrame, RankedCause, ResourceClass

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
