"""The record behind a ranking, made ready for drawing: levels, windows, series of one column."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ops.reports.parts import EvidenceSeries
from ops.reports.rca_model import Reading
from ops.reports.rca_words import PLAIN, harm, spreads, unusual
from rca.channels.surprise import Split
from rca.incident import Column, Incident
from rca.levels import comparable_levels
from rca.state import Evidence, FloatArray

BAND = (5.0, 95.0)  # percentiles of the normal rows
BEFORE_FAULTS = 5.0  # rows before the trouble that are drawn, in lengths of the trouble ...
BEFORE_ROWS_MIN = 20  # ... and at least so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An incident with comparable levels.

    Attributes:
        times_s, levels: shapes [T] and [T, N]; counters are rates, NaN is missing.
        place: column -> its place in `levels`.
        split: what was compared; None where nothing could be.
        normal, fault: which rows are on either side, shape [T].
        shown: rows that are drawn, shape [T].
    """

    incident: Incident
    times_s: FloatArray
    levels: FloatArray
    place: dict[str, int]
    split: Split | None
    normal: np.ndarray
    fault: np.ndarray
    shown: np.ndarray

    @classmethod
    def of(cls, incident: Incident, split: Split | None) -> Record:
        """Levels and windows of an incident as its ranking saw them."""
        times_s, levels = comparable_levels(incident)
        normal = np.zeros(len(times_s), dtype=bool)
        fault = normal.copy()
        shown = np.ones(len(times_s), dtype=bool)
        if split is not None:
            normal = times_s < split.normal_end_s
            fault = (times_s >= split.fault_start_s) & (times_s < split.fault_end_s)
            before = max(int(BEFORE_FAULTS * fault.sum()), BEFORE_ROWS_MIN)
            start = int(np.searchsorted(times_s, split.fault_start_s))
            shown[: max(start - before, 0)] = False
        return cls(
            incident=incident,
            times_s=times_s,
            levels=levels,
            place={str(column): n for n, column in enumerate(incident.columns)},
            split=split,
            normal=normal,
            fault=fault,
            shown=shown,
        )

    def levels_of(self, column: str) -> tuple[float | None, float | None]:
        """Median of the normal rows and of the fault rows; None where all are missing."""
        values = self.levels[:, self.place[column]]
        return _median(values[self.normal]), _median(values[self.fault])

    def band_of(self, column: str) -> tuple[float | None, float | None]:
        """5th and 95th percentile of the normal rows."""
        values = self.levels[self.normal, self.place[column]]
        seen = values[np.isfinite(values)]
        if not len(seen):
            return None, None
        low, high = np.percentile(seen, BAND)
        return float(low), float(high)

    def series_of(self, column: str, reading: Reading) -> EvidenceSeries:
        """The samples around the change with the band of the normal rows."""
        low, high = self.band_of(column)
        return EvidenceSeries(
            label=reading.label,
            detail=reading.detail,
            unit=reading.unit,
            times_s=tuple(self.times_s[self.shown].tolist()),
            values=tuple(self.levels[self.shown, self.place[column]].tolist()),
            normal_low=low,
            normal_high=high,
            onset_s=reading.onset_s,
            before=reading.before,
            after=reading.after,
        )

    def reading_of(self, column: str, evidence: Evidence | None = None) -> Reading:
        """One column before and after, as the ranking measured it or else by medians."""
        name = Column.parse(column)
        before, after = self.levels_of(column)
        if evidence is not None and evidence.before is not None:
            before, after = evidence.before, evidence.after
        reading = Reading(
            channel="metric",
            label=name.metric or column,
            detail=name.owner,
            before=before,
            after=after,
            unit=PLAIN,
            text=unusual(evidence) if evidence is not None else "",
            harm=harm(name.metric, before, after),
            onset_s=evidence.onset_s if evidence is not None else None,
            far=spreads(evidence) if evidence is not None else None,
        )
        return replace(reading, series=self.series_of(column, reading))


def _median(values: FloatArray) -> float | None:
    seen = values[np.isfinite(values)]
    return float(np.median(seen)) if len(seen) else None
