"""Presence: what lasts and is one owner's counts, what everybody shares or is short does not."""

from __future__ import annotations

import numpy as np
import pytest

import rca.presence
from rca.channels.metric_table import candidate_columns, measure_metrics
from rca.channels.surprise import Split, Surprise
from rca.incident import Column, Incident
from rca.knobs import LocaliseConfig
from rca.presence import PRESENCE_MIN, accused, metric_presence, presence_of

ROWS, FAULT = 400, 300
SERVICES = tuple("abcdefg")


def noise(*, seed=0, metrics=("latency",), window=15):
    """Logarithmic noise of a rate over `window` rows, as slow as real scrapes."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0.0, 1.0, (ROWS + window, len(SERVICES) * len(metrics)))
    sums = np.cumsum(raw, axis=0)
    return np.exp(0.3 * (sums[window:] - sums[:-window]) / np.sqrt(window))


def presence(values, *, metrics=("latency",), fault=FAULT):
    columns = tuple(Column(s, m) for m in metrics for s in SERVICES)
    times_s = np.arange(float(len(values)))
    incident = Incident(incident_id="made", times_s=times_s, values=values, columns=columns,
                        step_s=1.0, fault_at_s=float(fault))  # fmt: skip
    found, split, config = candidate_columns(incident), Split.at(float(fault)), LocaliseConfig()
    levels = values[:, found.place]
    table = measure_metrics(found, times_s, levels, split, config)
    return metric_presence(table, times_s, levels, split, config)


def test_quiet_time_stays_below_and_a_lasting_change_of_one_service_above():
    quiet = [presence(noise(seed=n)) for n in range(40)]
    assert np.mean([p >= PRESENCE_MIN for p in quiet]) <= 0.1
    for seed in range(5):
        values = noise(seed=seed)
        values[FAULT:, 2] *= 4.0
        assert presence(values) > PRESENCE_MIN


def test_a_spike_of_a_few_rows_is_no_incident_though_it_moves_the_mean():
    values = noise(seed=6)
    before = presence(values)
    values[FAULT + 40 : FAULT + 48, 2] *= 60.0
    assert values[FAULT:, 2].mean() > 4.0 * values[:FAULT, 2].mean()
    assert presence(values) == pytest.approx(before, abs=0.3)
    assert presence(values) < PRESENCE_MIN


def test_a_load_that_everybody_shares_accuses_nobody():
    values = noise(seed=2)
    before = presence(values)
    values[FAULT:] *= 3.0
    assert presence(values) == pytest.approx(before, abs=0.35)
    assert presence(values) < PRESENCE_MIN


def test_units_do_not_matter():
    values = noise(seed=3)
    values[FAULT:, 1] *= 2.0
    assert presence(values * 1e6) == pytest.approx(presence(values))


def test_a_wide_table_is_taken_in_parts_with_the_same_result(monkeypatch):
    metrics = ("latency", "cpu", "mem")
    values = noise(seed=4, metrics=metrics)
    values[::7, 3] = np.nan
    whole = presence(values, metrics=metrics)
    monkeypatch.setattr(rca.presence, "CHUNK_COLUMNS", 4)
    assert presence(values, metrics=metrics) == whole > 0.0


def test_without_enough_normal_rows_nothing_is_said():
    assert presence(noise()[:6], fault=2) == 0.0
    assert presence(np.full((ROWS, len(SERVICES)), np.nan)) == 0.0


def test_a_channel_counts_by_its_own_null_and_an_announced_change_not_at_all():
    loud = Surprise(name="edges", score={"a": 6.0, "b": 1.0}, null=1.5)
    change = Surprise(name="change", score={"a": 9.0})
    skipped = Surprise(name="errors", skipped="no logs")
    assert presence_of([loud, change, skipped], 0.2) == pytest.approx(4.0 / 3.0)
    assert presence_of([change], 0.2) == 0.2


def test_below_the_threshold_nobody_is_accused_and_rivals_are_named_above():
    ranked = [("a", 1.0), ("b", 0.9), ("c", 0.2)]
    assert accused(ranked, PRESENCE_MIN - 0.01) == ()
    assert accused(ranked, PRESENCE_MIN) == ("a", "b")
