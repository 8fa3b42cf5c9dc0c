"""A gap in the measurements as pure data: an abstention without an incident."""

from __future__ import annotations

from dataclasses import dataclass

from ops.reports.parts import Change, Step
from rca.state import Entity


@dataclass(frozen=True, slots=True, kw_only=True)
class GapReport:
    """Everything that the pages show of one scrape job that fell silent.

    Attributes:
        since_s: its last scrape; noticed_at_s: when midwatch abstained.
        until_s: its first scrape afterwards; None = silent to the end of the record.
        headline: what cannot be seen since when, in one sentence with its full stop.
        now: what holds at the end of the record and what is not done.
        figures: (figure, what it is) of the two numbers that show the gap.
        hidden: what is not seen and what could not be noticed meanwhile, a sentence each.
        seen: what is still seen and from where, a sentence each.
        checked: what was looked at, a few words each.
        would_settle: the reading that tells what is wrong, and what its values mean.
        next_step: what to do tonight; morning: what to look at when the gap is over.
        done: why nothing was done.
        changes: what was changed before it, each with whether it may have hidden the metrics.
    """

    job: Entity
    since_s: float
    noticed_at_s: float
    until_s: float | None
    headline: str
    now: str
    figures: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]
    seen: tuple[str, ...]
    checked: tuple[str, ...]
    would_settle: tuple[str, ...]
    next_step: Step
    done: str
    morning: Step | None = None
    changes: tuple[Change, ...] = ()
