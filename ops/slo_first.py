"""What a counter stood at before its first sample: zero only where the frame shows that.

Targets are found one after the other, and may have run for weeks before they are: the first sample
of their counters is a past that nobody watched. On a target that was scraped before without the
series it is another thing: a labelled counter is there from its first event on, and those events,
the first errors of a code for one, must count.

Source: Prometheus, "increase()": takes differences of samples, so the first sets the level alone.
Differs: a series that is new on a target that was scraped already counts from zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ops.catalogue.owner_labels import POD_LABELS
from rca.state import FloatArray, MetricFrame, MetricRole, Series

IntArray = npt.NDArray[np.intp]
Target = tuple[str, str, str, str]  # region, job, instance, pod

# A target that was silent for longer is as good as new: what happened meanwhile is not of now.
# Source: Prometheus, `query.lookback-delta`, after which a series counts as gone.
LOOKBACK_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScrapedTargets:
    """Which columns of a frame show that a target was scraped.

    Attributes:
        columns: frame columns of users' requests and of the scraper's own `up`, shape [E].
        targets: number of the target of each, shape [E].
        is_up: whether it is `up`, which tells of a failed scrape, too, by a zero; shape [E].
    """

    columns: IntArray
    targets: IntArray
    is_up: npt.NDArray[np.bool_]


def scraped_targets(frame: MetricFrame) -> ScrapedTargets:
    """Find the targets of the series that tell what users get."""
    numbers: dict[Target, int] = {}
    found: list[tuple[int, int, bool]] = []
    for column, (role, series) in enumerate(zip(frame.roles, frame.series, strict=True)):
        if role is None or not role.role.startswith(("frontend_", "scrape_up")):
            continue
        number = numbers.setdefault(_target(role, series), len(numbers))
        found.append((column, number, role.role == "scrape_up"))
    columns, targets, is_up = ([entry[i] for entry in found] for i in range(3))
    return ScrapedTargets(
        columns=np.array(columns, dtype=np.intp),
        targets=np.array(targets, dtype=np.intp),
        is_up=np.array(is_up, dtype=bool),
    )


def levels_before(
    frame: MetricFrame, row: int, columns: IntArray, known: ScrapedTargets
) -> FloatArray:
    """Level of some counters just before `row`, shape of `columns`.

    Args:
        frame: with the rows before `row`, as far back as they are kept.
        row: the one whose samples are to be counted.
        columns: counters among `known.columns` whose samples were not counted so far.

    Returns:
        The newest sample that earlier rows hold; else 0 where the target was scraped without the
        series within LOOKBACK_S; else NaN: the level is not known.
    """
    before = frame.values[:row]
    since = int(np.searchsorted(frame.times_s[:row], frame.times_s[row] - LOOKBACK_S))
    recent = before[since:, known.columns]
    scraped = np.where(known.is_up, recent > 0, ~np.isnan(recent)).any(axis=0)
    answered = np.unique(known.targets[scraped])
    own = known.targets[np.searchsorted(known.columns, columns)]
    levels = np.where(np.isin(own, answered), 0.0, np.nan)
    for samples in before[:, columns].astype(np.float64):
        levels = np.where(np.isnan(samples), levels, samples)
    return levels


def _target(role: MetricRole, series: Series) -> Target:
    """What is scraped at once. One instance may speak for many pods, each found on its own."""
    pod = next((value for key in POD_LABELS if (value := series.label(key))), "")
    return role.entity.region, series.label("job"), series.label("instance"), pod
