"""Parts of the spread of an incident: things that moved and the arrows between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SpreadRole(StrEnum):
    """Part that a thing plays in the spread of an incident."""

    CAUSE = "cause"
    VICTIM = "victim"
    MOVED = "moved"  # without a known way from the cause
    SLO_MISS = "SLO miss"
    CHANGE = "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadNode:
    """One thing that moved. `key` is unique within the incident; arcs refer to it."""

    key: str
    name: str
    role: SpreadRole
    onset_s: float
    detail: str = ""  # a few words below the name: "pool", "starved"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadArc:
    """An arrow from cause to victim.

    Attributes:
        measured: a call or a lag was measured; otherwise only time and scope fit (dashed).
        text: the evidence for this arrow.
    """

    cause: str
    effect: str
    text: str = ""
    measured: bool = True
