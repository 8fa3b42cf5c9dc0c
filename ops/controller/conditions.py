"""Conditions by the Kubernetes conventions: one per type, its time moves only with its status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ops.controller.moments import rfc3339
from ops.controller.resources.fields import Condition, ConditionStatus

MESSAGE_BYTES_MAX = 1024  # the schema would take 32 KiB: a status has many of them
AS_SCRAPED = "metrics are read as they are scraped"  # of DataFresh, where nothing is to be told


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is seen now, without the times."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def merged(
    previous: Iterable[Condition], observed: Iterable[Observed], *, now_s: float, generation: int
) -> list[Condition]:
    """The conditions after this look, in the order in which they were first seen.

    `lastTransitionTime` is kept while a status stays what it was; a condition that nobody
    observed this time is kept as it is.
    """
    known = {condition.type: condition for condition in previous}
    for seen in observed:
        before = known.get(seen.type)
        same = before is not None and before.status is seen.status
        known[seen.type] = Condition(
            type=seen.type,
            status=seen.status,
            reason=seen.reason,
            message=cut(seen.message, MESSAGE_BYTES_MAX),
            last_transition_time=before.last_transition_time if same and before else rfc3339(now_s),
            observed_generation=generation,
        )
    return list(known.values())


def cut(text: str, bytes_max: int) -> str:
    """One line of at most `bytes_max` bytes of UTF-8; what was cut ends in `...`.

    Bytes, not characters: the limits of an object are bytes, and a label value may be any text.
    """
    shown = text[: bytes_max + 1]  # a letter has a byte at least
    line = shown if shown.isprintable() else " ".join(shown.split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else "?" for c in line)
    raw = line.encode("utf-8", errors="replace")
    if len(raw) <= bytes_max and len(shown) == len(text):
        return raw.decode()
    return raw[: max(0, bytes_max - 3)].decode("utf-8", errors="ignore") + "..."[:bytes_max]
