"""One incident as arrays: a wide table of metrics and, where they exist, spans, logs and a graph.

What a method may see is in `Incident`; what the incident really was is in `Labels`, which never
travels with it. Times are seconds on one clock; missing samples are NaN, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rca.errors import FrameError
from rca.state import ChangeEvent, FloatArray

IntArray = npt.NDArray[np.int64]

QUIET_TYPES = ("", "none", "unknown")  # words for no fault, where no service is labelled
SYMPTOM_PREFIX = "sli"  # owner of columns that measure users, never a candidate


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """Identity of one metric: whose it is and what it measures."""

    owner: str  # service, pod or node, as the table spells it
    metric: str

    def __str__(self) -> str:
        return f"{self.owner}_{self.metric}"

    @classmethod
    def parse(cls, text: str) -> Column:
        """Split `<owner>_<metric>` at the last underscore; without one the owner is empty."""
        owner, _, metric = text.rpartition("_")
        return cls(owner, metric)

    @property
    def is_symptom(self) -> bool:
        """Whether it measures what users get rather than one service."""
        return self.owner == SYMPTOM_PREFIX or self.owner.startswith(f"{SYMPTOM_PREFIX}_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Finished spans, in the order in which they were read.

    Attributes:
        start_s: on the incident's clock, shape [S].
        trace, span: identifiers; logs of the same time use the same, shape [S].
        parent: span identifier of the caller, -1 for a root, shape [S].
        service, operation: places in `services` and `operations`, shape [S].
        duration_s: shape [S].
    """

    start_s: FloatArray
    trace: IntArray
    span: IntArray
    parent: IntArray
    service: IntArray
    operation: IntArray
    duration_s: FloatArray
    services: tuple[str, ...]
    operations: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.start_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Log lines, in the order in which they were read.

    Attributes:
        at_s: on the incident's clock, shape [L].
        service: place in `services`, shape [L].
        trace: identifier, -1 where the line belongs to no trace, shape [L].
        messages: length L.
    """

    at_s: FloatArray
    service: IntArray
    trace: IntArray
    messages: tuple[str, ...]
    services: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.at_s)


@dataclass(slots=True, kw_only=True)
class Incident:
    """What a method may see of one incident.

    Attributes:
        times_s: ascending, shape [T].
        values: levels as recorded, NaN missing, shape [T, N].
        columns: identities, length N.
        step_s: nominal sampling interval.
        fault_at_s: when the trouble was noticed to begin; None where nobody knows.
        instances: pod -> service; empty where columns name services.
        nodes: service or pod -> node.
        calls: (caller, callee) pairs of services.
        entry: service that receives the users' traffic, empty if unknown.
        spans, logs: around the fault; None where not collected.
        normal_spans, normal_logs: blocks of fault-free time of the same deployment; their clocks
            are their own, only differences count.
        changes: announced changes, if any.
        notes: what was repaired or assumed when it was read, one sentence each.
    """

    incident_id: str
    times_s: FloatArray
    values: FloatArray
    columns: tuple[Column, ...]
    step_s: float
    fault_at_s: float | None = None
    instances: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[tuple[str, str], ...] = ()
    entry: str = ""
    spans: Spans | None = None
    logs: Logs | None = None
    normal_spans: tuple[Spans, ...] = ()
    normal_logs: tuple[Logs, ...] = ()
    changes: tuple[ChangeEvent, ...] = ()
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Verify shapes and order.

        Raises:
            FrameError: parts do not fit.
        """
        expected = (len(self.times_s), len(self.columns))
        if self.values.shape != expected:
            raise FrameError(f"values have shape {self.values.shape}, expected {expected}")
        if len(self.times_s) > 1 and bool(np.any(np.diff(self.times_s) <= 0)):
            raise FrameError("times_s must rise strictly; sort the rows and drop duplicates")

    def service_of(self, owner: str) -> str:
        """Service of a column's owner: the owner itself unless it is a known pod."""
        return self.instances.get(owner, owner)

    @property
    def services(self) -> tuple[str, ...]:
        """Services that can be accused, sorted: where pods are named, theirs, else the owners."""
        owners = {c.owner for c in self.columns if not c.is_symptom and c.owner}
        if self.instances:
            return tuple(sorted({self.instances[o] for o in owners if o in self.instances}))
        return tuple(sorted(owners))


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What an incident really was. For scoring only: no method gets to see it.

    Attributes:
        service: at fault; empty in a quiet stretch, or where no service is.
        also: further services at fault at the same time.
        alternatives: services that are as right an answer as `service`, such as the other end of
            a slow link.
        felt: whether users noticed; a fault that they do not is no incident.
        instance: pod or node at fault, empty if unknown.
        metrics: columns of which any is a hit, None where the source labels none.
        fault_type: the source's word.
        contiguous: whether normal rows directly precede the fault on the original clock.
        injected_at_s: the true moment.
    """

    incident_id: str
    dataset: str
    system: str
    service: str
    also: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    felt: bool = True
    instance: str = ""
    metrics: tuple[str, ...] | None = None
    fault_type: str = ""
    contiguous: bool = True
    injected_at_s: float | None = None

    @property
    def is_fault(self) -> bool:
        """Whether there is a service to be named, and somebody who suffers."""
        return bool(self.service) and self.felt

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was done to the system."""
        return not self.service and self.fault_type in QUIET_TYPES

    @property
    def right(self) -> tuple[str, ...]:
        """Services of which each is a right answer."""
        return (self.service, *self.alternatives, *self.also)
