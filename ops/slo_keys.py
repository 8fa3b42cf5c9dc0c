"""Which pairs of region and class are counted: a label may hold anything, memory may not.

A label that holds users' names in place of classes would fill an operator that watches other
fleets, too. An hour of one pair takes 40 KB.
"""

from __future__ import annotations

from collections.abc import Collection

from ops.state import SloTarget

Key = tuple[str, str]  # region, SLO class
KEYS_MAX = 256  # those with an SLO come first, however many there are


def room_for(
    found: Collection[Key], slos: Collection[SloTarget], *, num_known: int
) -> tuple[Key, ...]:
    """The new keys that are counted, sorted.

    Args:
        found: keys that are not counted yet.
        num_known: how many are.
    """
    named = {slo.name for slo in slos}
    ours = {key for key in found if key[1] in named}
    room = max(0, KEYS_MAX - num_known - len(ours))
    return tuple(sorted(ours | set(sorted(set(found) - ours)[:room])))
