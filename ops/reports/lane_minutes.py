"""Minutes of a lane as they are drawn: where each lies, and whether it counts as a bad one."""

from __future__ import annotations

from typing import NamedTuple

from ops.reports import svg
from ops.reports.parts import Lane

MINUTE_S = 60.0


class Minute(NamedTuple):
    """One minute; x and width in percent of the plot, `ratio` NaN where nothing arrived.

    A `past` one ended before the incident began: another one may have made it bad.
    """

    x: float
    width: float
    ratio: float
    bad: bool
    past: bool

    @property
    def style(self) -> str:
        """Class of a bad one's colour."""
        return "past" if self.past else "bad"


def minutes_of(lane: Lane, ratios: tuple[float, ...], axis: svg.TimeAxis) -> list[Minute]:
    """Each minute of `ratios`, one of the lane's two worlds, that touches the axis."""
    found, first = [], lane.first_counted()
    for index, ratio in enumerate(ratios):
        start_s = lane.start_s + MINUTE_S * index
        if start_s + MINUTE_S <= axis.start_s or start_s >= axis.end_s:
            continue
        left, right = axis.at(start_s), axis.at(start_s + MINUTE_S)
        bad = ratio > lane.budget_ratio
        found.append(Minute(left, right - left, ratio, bad, index < first))
    return found
