"""Events of the cluster: rows, and a bounded memory of when each was seen how often.

The server keeps one object for a reason that repeats and only counts it up. For a diagnosis it
matters whether the counts came before or after the onset: a pod that has crashed all day is not
news. So each observation is kept with the share of the count that it added.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from ops.adapters.kube.fields import NOTHING, Pool, Raw, created_at_s, time_of

MESSAGE_CHARS_MAX = 256
_SEEN_MAX = 16  # observations of one object; older ones are added to the first
Seen = tuple[float, int]  # when, how many


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An Event, with the time and number of its occurrences."""

    namespace: str
    name: str
    kind: str  # of what it is about
    about: str  # name of that
    about_namespace: str
    reason: str
    message: str
    warning: bool
    count: int
    seen: tuple[Seen, ...]  # ascending; the counts add up to `count`

    @property
    def last_s(self) -> float:
        """Its newest occurrence."""
        return self.seen[-1][0]


def event_row(raw: Raw, pool: Pool) -> EventRow:
    """Decode an Event of either API group's form; the pool is not needed, decoders share one form.

    Raises:
        fields.MALFORMED: it is none.
    """
    del pool
    meta, about = raw["metadata"], raw["involvedObject"]
    series = raw.get("series") or NOTHING
    first_s = time_of(raw.get("firstTimestamp") or raw.get("eventTime")) or created_at_s(meta)
    last_s = time_of(series.get("lastObservedTime") or raw.get("lastTimestamp")) or first_s
    count = max(1, series.get("count") or raw.get("count") or 1)
    earlier = ((first_s, count - 1),) if count > 1 else ()
    return EventRow(
        namespace=sys.intern(meta["namespace"]),
        name=meta["name"],
        kind=sys.intern(about.get("kind") or ""),
        about=about.get("name") or "",
        about_namespace=sys.intern(about.get("namespace") or ""),
        reason=sys.intern(raw.get("reason") or ""),
        message=(raw.get("message") or "")[:MESSAGE_CHARS_MAX],
        warning=raw.get("type") == "Warning",
        count=count,
        seen=(*earlier, (max(first_s, last_s), 1)),
    )


def merged(old: EventRow, new: EventRow) -> EventRow:
    """The new row with the old one's observations, where it is the same object counted up."""
    added = new.count - old.count
    if added < 0:
        return new  # deleted and made again under the same name
    if added == 0:
        return replace(new, seen=(*old.seen[:-1], (max(old.last_s, new.last_s), old.seen[-1][1])))
    seen = [*old.seen, (max(old.last_s, new.last_s), added)]
    if len(seen) > _SEEN_MAX:
        (first_s, first), (_, second) = seen[:2]
        seen[:2] = [(first_s, first + second)]
    return replace(new, seen=tuple(seen))
