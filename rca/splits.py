"""Normal rows and fault rows of a recorded incident, whether or not its fault time is right.

A fault time is a hint: people notice late, and alarms are set back by guess. Where the metrics show
a clearly stronger change nearby, that one splits the record, so that a time that is wrong by a
minute contaminates nothing. Without a time the own change point of the whole record does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rca.channels.surprise import Split
from rca.incident import IntArray
from rca.onset import ChangePoint, find_change
from rca.state import FloatArray

NEARBY_S = 75.0  # how wrong a given time may be ...
NEARBY_ROWS = 2  # ... or so many rows, whichever is more
CLEARER = 1.3  # a change elsewhere must be this much stronger than at the given time
NORMAL_ROWS_MIN = 3
FAULT_ROWS_MIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Split of a record, None where it has too few rows for any.

    Attributes:
        change_at_s: own change point that was used, None where there was none.
        strength: of that change, 0 without one.
    """

    split: Split | None
    change_at_s: float | None = None
    strength: float = 0.0
    notes: tuple[str, ...] = ()


def split_record(
    times_s: FloatArray,
    levels: FloatArray,
    *,
    fault_at_s: float | None,
    step_s: float,
    owner: IntArray,
    metric: Sequence[str],
    weight: FloatArray,
    bad: FloatArray,
    repair: bool = True,
) -> Found:
    """Split at the given time, mended by the own change point, or at that point alone.

    Args:
        repair: False takes a given time as it is.
    """

    def scan(first: int, last: int | None) -> ChangePoint | None:
        return find_change(times_s, levels, owner=owner, metric=metric, weight=weight, bad=bad,
                           first=first, last=last)  # fmt: skip

    given = None if fault_at_s is None else int(np.searchsorted(times_s, fault_at_s))
    if given is not None and fault_at_s is not None:
        if NORMAL_ROWS_MIN <= given < len(times_s):
            if not repair:
                return Found(split=Split.at(fault_at_s))
            reach = max(NEARBY_ROWS, round(NEARBY_S / step_s)) if step_s > 0.0 else NEARBY_ROWS
            own = scan(given - reach, min(given + reach, len(times_s) - 1))
            return _mended(times_s, fault_at_s, given, own)
        note = (f"the given time leaves {given} normal rows and {len(times_s) - given} fault rows: "
                "own change point used")  # fmt: skip
    else:
        note = "no fault time given: own change point used"
    own = scan(NORMAL_ROWS_MIN, len(times_s) - FAULT_ROWS_MIN)
    if own is None or own.strength <= 0.0:
        return Found(split=None, notes=(note, f"{len(times_s)} rows show no change point"))
    return Found(
        split=Split.at(own.at_s), change_at_s=own.at_s, strength=own.strength, notes=(note,)
    )


def _mended(times_s: FloatArray, fault_at_s: float, given: int, own: ChangePoint | None) -> Found:
    """The given split, or the own one where the metrics are clear that it was another moment."""
    exact = Split.at(fault_at_s)
    if own is None or own.strength <= 0.0:
        return Found(split=exact)
    mended = own.row != given and own.strength >= CLEARER * float(own.curve[given])
    room = own.row >= NORMAL_ROWS_MIN and len(times_s) - own.row >= FAULT_ROWS_MIN
    if not (mended and room):
        return Found(split=exact, change_at_s=own.at_s, strength=own.strength)
    side = "before" if own.row < given else "after"
    note = f"metrics change {abs(own.at_s - fault_at_s):.0f} s {side} the given time: used instead"
    return Found(
        split=Split.at(own.at_s), change_at_s=own.at_s, strength=own.strength, notes=(note,)
    )
