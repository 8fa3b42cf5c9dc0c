"""Faults that move no mean: series that end, freeze or wake, and what must not be taken for one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rca.incident import Column, Incident
from rca.law import standstill
from rca.localise import localise
from rca.reporting import METRIC, with_reporting

ROWS, FAULT, STEP_S = 90, 60, 30.0
OWNERS = ("ka", "lo", "mi", "nu", "pe", "ru")
METRICS = ("cpu", "mem", "latency-90", "load")


def quiet(*, seed=0, rows=ROWS, step_s=STEP_S, fault=FAULT):
    rng = np.random.default_rng(seed)
    columns = tuple(Column(o, m) for o in OWNERS for m in METRICS)
    values = rng.normal(10.0, 0.5, (rows, len(columns)))
    return Incident(incident_id="made", times_s=step_s * np.arange(rows), values=values,
                    columns=columns, step_s=step_s, fault_at_s=step_s * fault)  # fmt: skip


def of(incident, owner):
    return [n for n, c in enumerate(incident.columns) if c.owner == owner]


def named(incident, **kwargs):
    found = localise(incident, granger=None, **kwargs)
    return found, [s.name for s in found.services]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("rows", "fault", "step_s"), [(90, 60, 30.0), (10, 8, 300.0), (400, 250, 1.0)]
)
def test_a_service_whose_series_end_at_the_fault_is_named(rows, fault, step_s, seed):
    incident = quiet(rows=rows, fault=fault, step_s=step_s, seed=seed)
    incident.values[fault:, of(incident, "mi")] = np.nan
    found, order = named(incident)
    assert order[0] == "mi"
    assert "mi sends no samples in" in found.services[0].evidence[0].text
    assert found.instances[0].name == "mi"
    assert not found.abstained


@pytest.mark.parametrize("seed", range(4))
def test_a_late_scrape_or_the_end_of_the_recording_accuses_nobody(seed):
    late = quiet(seed=seed)
    late.values[-2:, of(late, "mi")] = np.nan  # two rows of 30 s are on their way
    assert not any(c.metric == METRIC for c in _extra(late))
    ended = quiet(seed=seed)
    ended.values[-8:] = np.nan  # the collector stopped, nobody else
    assert not _extra(ended)
    one_missing = quiet(seed=seed)
    one_missing.values[FAULT + 4, of(one_missing, "mi")] = np.nan
    assert not _extra(one_missing)
    began_later = quiet(seed=seed)
    began_later.values[:20, of(began_later, "mi")] = np.nan
    assert not _extra(began_later)


def _extra(incident):
    grown, levels = with_reporting(incident, incident.times_s, incident.values)
    assert levels.shape == (len(incident.times_s), len(grown.columns))
    return grown.columns[len(incident.columns) :]


def test_who_is_often_silent_is_not_accused_of_being_silent():
    incident = quiet()
    for start in range(3, ROWS, 12):
        incident.values[start : start + 5, of(incident, "mi")] = np.nan
    incident.values[FAULT:, of(incident, "pe")] *= 1.5
    _, order = named(incident)
    assert order[0] == "pe"


def test_a_dead_series_says_nothing_and_a_service_without_data_is_in_the_middle():
    incident = quiet()
    incident.values[FAULT:, of(incident, "pe")] *= 1.5
    incident.values[:, of(incident, "mi")[0]] = np.nan
    incident.values[:, of(incident, "ka")] = np.nan
    found, order = named(incident)
    assert order[0] == "pe"
    assert 1 < order.index("ka") < len(order) - 1
    assert found.accused == ("pe",)


def test_what_is_dead_of_a_service_does_not_dilute_what_is_left():
    incident = quiet()
    incident.values[FAULT:, of(incident, "pe")] *= 1.5
    whole = named(incident)[0].services[0].score
    incident.values[:, of(incident, "pe")[2:]] = np.nan
    left = named(incident)[0].services[0]
    assert left.name == "pe" and left.score == pytest.approx(whole, rel=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_busy_series_that_freeze_name_their_service(seed):
    incident = quiet(seed=seed)
    mine = of(incident, "mi")
    incident.values[FAULT:, mine] = np.median(incident.values[:FAULT, mine], axis=0)
    found, order = named(incident)
    assert order[0] == "mi"
    assert "stands still at" in found.services[0].evidence[0].text


@pytest.mark.parametrize("seed", range(3))
def test_a_constant_that_starts_to_tremble_names_its_service(seed):
    incident = quiet(seed=seed)
    column = of(incident, "mi")[3]
    incident.values[:FAULT, column] = 7.0
    incident.values[FAULT:, column] = 7.0 + np.random.default_rng(seed).normal(
        0.0, 2.0, ROWS - FAULT
    )
    found, order = named(incident)
    assert order[0] == "mi"
    assert "constant before" in found.metrics[0].evidence.text


@pytest.mark.parametrize("seed", range(3))
def test_a_series_that_trembles_about_its_old_mean_names_its_service(seed):
    incident = quiet(seed=seed)
    column = of(incident, "mi")[2]
    incident.values[FAULT:, column] += 15.0 * (incident.values[FAULT:, column] - 10.0)
    incident.values[FAULT:, column] += 10.0 - incident.values[FAULT:, column].mean()
    assert named(incident)[1][0] == "mi"


def test_only_a_stillness_beyond_the_longest_before_counts():
    rng = np.random.default_rng(1)
    busy, slow, old, short = (rng.normal(0.0, 1.0, 80) for _ in range(4))
    busy[50:] = busy[49]
    slow = np.repeat(rng.normal(0.0, 1.0, 4), 20)  # collected every 20 rows
    old[20:] = 3.0  # stood still long before the fault
    short[78:] = short[77]
    found = standstill(np.stack([busy, slow, old, short], axis=1), 50)
    assert found[0] == pytest.approx(31.0 / 2.0) or found[0] > 15.0
    assert found[1:].tolist() == [0.0, 0.0, 0.0]
    assert standstill(busy[:, None], 79).tolist() == [0.0]  # too few rows since


def test_a_record_of_only_one_owner_still_has_an_answer():
    incident = quiet()
    mine = of(incident, "mi")
    lone = replace(incident, values=incident.values[:, mine],
                   columns=tuple(incident.columns[n] for n in mine))  # fmt: skip
    lone.values[FAULT:] = np.nan
    assert named(lone)[1] == ["mi"]
