"""An answer that names nobody says what was checked, how near it came and what would help."""

from __future__ import annotations

import numpy as np

from rca.abstention import abstained_because, checks_of, wanted_data
from rca.channels.surprise import Surprise
from rca.incident import Column, Incident
from rca.localise import localise
from rca.presence import PRESENCE_MIN


def incident(*, rows=80, fault=60, seed=0, calls=()):
    columns = tuple(Column(s, m) for s in ("ads", "cart", "pay") for m in ("cpu", "mem"))
    values = np.random.default_rng(seed).normal(1.0, 0.03, (rows, len(columns)))
    return Incident(incident_id="made", times_s=10.0 * np.arange(rows), values=values, step_s=10.0,
                    columns=columns, fault_at_s=10.0 * fault, calls=calls)  # fmt: skip


def test_every_channel_is_told_with_its_strongest_candidate_and_the_way_to_the_threshold():
    found = localise(incident())
    assert found.abstained
    told = {c.channel: c for c in found.checked}
    assert {"metric", "edges", "sequences", "change"} <= told.keys()
    assert told["metric"].strongest == found.services[0].name
    assert told["metric"].presence == found.presence < PRESENCE_MIN
    assert told["edges"].skipped and told["edges"].strongest == ""
    assert f"metric {found.presence:.2f} ({found.services[0].name})" in found.reason
    assert f"{PRESENCE_MIN:g} is needed" in found.reason


def test_what_is_missing_and_would_settle_it_is_named_once():
    found = localise(incident())
    assert found.wanted == (
        "announced changes (deploys, scaling, settings)",
        "spans of the trouble and of fault-free time",
        "log lines of the trouble and of fault-free time",
        "who calls whom",
    )
    assert all(part in found.reason for part in found.wanted)
    assert "who calls whom" not in localise(incident(calls=(("cart", "pay"),))).wanted


def test_too_few_rows_come_first():
    found = localise(incident(rows=13, fault=10))
    assert found.wanted[:2] == (
        "more rows since it began than 3", "more rows before it began than 10",
    )  # fmt: skip


def test_an_accusation_keeps_its_evidence_as_the_reason_and_still_tells_the_checks():
    broken = incident()
    broken.values[60:, 4] *= 5.0
    found = localise(broken)
    assert found.accused == ("pay",) and found.reason.startswith("pay: ")
    assert found.checked[0].channel == "metric" and found.checked[0].presence >= PRESENCE_MIN


def test_the_nearest_channel_comes_first_and_a_tie_is_broken_by_name():
    checks = checks_of(
        [Surprise(name="metric", score={"b": 1.0, "a": 1.0}), Surprise(name="errors", skipped="no"),
         Surprise(name="edges", score={"c": 2.0}, null=1.0)], 0.25,
    )  # fmt: skip
    assert [(c.channel, c.strongest) for c in checks] == [
        ("edges", "c"), ("metric", "a"), ("errors", ""),
    ]  # fmt: skip
    assert checks[0].presence > checks[1].presence == 0.25
    said = abstained_because(checks[2:], wanted_data(incident(), checks, (60, 20)))
    assert "no channel had data" in said and "log lines" in said
