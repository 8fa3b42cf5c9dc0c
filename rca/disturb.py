"""Recorded incidents made worse on purpose: what a real scrape does to a clean table.

Every draw comes from the incident's own name, so that a case is disturbed the same way whatever
else is evaluated. The incident given is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rca.incident import Incident

NORMAL_ROWS_MIN = 3
FAULT_ROWS_MIN = 2
LAG_S = 30.0  # of a late service, two rows at least
LAG_ROWS_MIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What to do to an incident; the default leaves it alone.

    Attributes:
        hide_fault_time: nobody says when it began.
        shift_s: how much too late (negative: too early) the fault time is given.
        drop_cells: chance of each cell to be missing.
        late_services: chance of each owner to lag behind.
        dirty: a tenth of the series dead, one counter reset, two stamps doubled and merged.
        shuffle_columns: another order.
        rescale_units: each kind of metric in another unit.
    """

    hide_fault_time: bool = False
    shift_s: float = 0.0
    drop_cells: float = 0.0
    late_services: float = 0.0
    dirty: bool = False
    shuffle_columns: bool = False
    rescale_units: bool = False

    def __post_init__(self) -> None:
        for name in ("drop_cells", "late_services"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a chance in [0, 1)")


def disturb(incident: Incident, how: Disturbance) -> Incident:
    """A disturbed copy."""
    if how == Disturbance():
        return incident
    rng = np.random.default_rng([7, *incident.incident_id.encode()])
    values = incident.values.copy()
    columns = incident.columns
    if how.late_services:
        lag = max(LAG_ROWS_MIN, round(LAG_S / incident.step_s))
        for owner in sorted({c.owner for c in columns}):
            if rng.random() < how.late_services:
                mine = [n for n, c in enumerate(columns) if c.owner == owner]
                values[lag:, mine] = values[:-lag, mine]
                values[:lag, mine] = np.nan
    if how.dirty:
        values = _dirty(values, rng)
    if how.drop_cells:
        values[rng.random(values.shape) < how.drop_cells] = np.nan
    if how.rescale_units:
        unit = {m: 10.0 ** int(rng.integers(-6, 7)) for m in sorted({c.metric for c in columns})}
        values *= [unit[c.metric] for c in columns]
    if how.shuffle_columns:
        order = rng.permutation(len(columns))
        values, columns = values[:, order], tuple(columns[n] for n in order)
    return replace(incident, values=values, columns=columns, fault_at_s=_given(incident, how))


def _dirty(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows, num = values.shape
    values[:, rng.choice(num, max(num // 10, 1), replace=False)] = np.nan
    reset = int(rng.integers(num))
    row = int(rng.integers(rows // 4, max(rows // 2, rows // 4 + 1)))
    values[row:, reset] = values[row:, reset] - np.nan_to_num(values[row, reset])
    for row in rng.integers(0, rows - 1, 2).tolist():
        values[row] = values[row + 1]
    return values


def _given(incident: Incident, how: Disturbance) -> float | None:
    if how.hide_fault_time or incident.fault_at_s is None:
        return None
    if not how.shift_s:
        return incident.fault_at_s
    low = incident.times_s[min(NORMAL_ROWS_MIN, len(incident.times_s) - 1)]
    high = incident.times_s[-min(FAULT_ROWS_MIN, len(incident.times_s))]
    return float(np.clip(incident.fault_at_s + how.shift_s, low, max(low, high)))
