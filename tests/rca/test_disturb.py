"""Disturbances: repeatable, from the case's own name, without touching the original."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rca.disturb import Disturbance, disturb
from rca.incident import Column, Incident


def made(*, name="one", rows=60, step_s=60.0):
    columns = tuple(Column(s, m) for s in ("a", "b", "c", "d") for m in ("cpu", "mem"))
    values = np.arange(rows * len(columns), dtype=float).reshape(rows, -1) + 1.0
    return Incident(incident_id=name, times_s=step_s * np.arange(rows), values=values,
                    columns=columns, step_s=step_s, fault_at_s=step_s * (rows - 6))  # fmt: skip


ALL = Disturbance(drop_cells=0.3, late_services=0.5, dirty=True, shuffle_columns=True,
                  rescale_units=True, shift_s=60.0)  # fmt: skip


def test_the_same_case_is_disturbed_the_same_way_and_the_original_stays():
    incident = made()
    before = incident.values.copy()
    first, second = disturb(incident, ALL), disturb(incident, ALL)
    np.testing.assert_array_equal(first.values, second.values)
    assert first.columns == second.columns
    np.testing.assert_array_equal(incident.values, before)
    other = disturb(replace(incident, incident_id="two"), ALL)
    assert not np.array_equal(np.isnan(other.values), np.isnan(first.values))


def test_nothing_asked_changes_nothing():
    incident = made()
    assert disturb(incident, Disturbance()) is incident


def test_a_third_of_the_cells_go_missing():
    assert np.isnan(disturb(made(rows=400), Disturbance(drop_cells=0.3)).values).mean() == (
        pytest.approx(0.3, abs=0.03)
    )


@pytest.mark.parametrize(("step_s", "lag"), [(1.0, 30), (60.0, 2)])
def test_a_late_service_lags_by_rows_that_fit_its_step(step_s, lag):
    incident = made(rows=100, step_s=step_s)
    late = disturb(incident, Disturbance(late_services=0.999))
    np.testing.assert_array_equal(late.values[lag:], incident.values[:-lag])
    assert np.isnan(late.values[:lag]).all()


def test_a_shifted_time_leaves_rows_on_both_sides():
    incident = made(rows=12)
    late = disturb(incident, Disturbance(shift_s=1e6)).fault_at_s
    early = disturb(incident, Disturbance(shift_s=-1e6)).fault_at_s
    assert late == incident.times_s[-2] and early == incident.times_s[3]
    assert disturb(incident, Disturbance(hide_fault_time=True)).fault_at_s is None


def test_a_chance_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match=r"drop_cells is 1\.5"):
        Disturbance(drop_cells=1.5)
