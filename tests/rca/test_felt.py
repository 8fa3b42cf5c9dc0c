"""Whether users notice is read from their symptoms alone."""

from __future__ import annotations

import numpy as np
import pytest

from rca.channels.surprise import Split
from rca.felt import felt_of, unfelt_note, users_notice
from rca.incident import Column, Incident
from rca.localise import localise

ROWS, FAULT, STEP_S = 120, 90, 5.0


def incident(*, success=0.0, wait=0.0, cpu=0.0, symptoms=True):
    """Users' success and waits beside the CPU of one service, moved by so much since the fault."""
    rng = np.random.default_rng(2)
    since = np.arange(ROWS) >= FAULT
    columns = {
        "sli_success": 1.0 - 0.004 * rng.random(ROWS) - success * since,
        "sli_ttft": 0.4 * (1.0 + 0.03 * rng.normal(size=ROWS) + wait * since),
        "a_cpu": 0.2 * (1.0 + 0.03 * rng.normal(size=ROWS) + cpu * since),
        "b_cpu": 0.2 * (1.0 + 0.03 * rng.normal(size=ROWS)),
    }
    used = [n for n in columns if symptoms or not n.startswith("sli")]
    return Incident(
        incident_id="x", times_s=STEP_S * np.arange(ROWS), step_s=STEP_S,
        values=np.column_stack([columns[n] for n in used]),
        columns=tuple(Column.parse(n) for n in used), fault_at_s=FAULT * STEP_S,
        entry="a", instances={"a": "a", "b": "b"},
    )  # fmt: skip


def felt(one):
    return felt_of(one, Split.at(FAULT * STEP_S))


@pytest.mark.parametrize("moved", [{"success": 0.05}, {"wait": 1.0}, {"success": 0.3, "wait": 3.0}])
def test_users_notice_failures_and_waits(moved):
    assert users_notice(felt(incident(**moved)))


@pytest.mark.parametrize("moved", [{}, {"cpu": 20.0}, {"wait": 0.02}])
def test_users_do_not_notice_what_only_a_service_shows(moved):
    assert users_notice(felt(incident(**moved))) is False


def test_an_improvement_is_no_incident_of_its_size():
    assert felt(incident(wait=-0.6)) < felt(incident(wait=0.6))


def test_without_symptoms_nothing_is_concluded():
    assert felt(incident(symptoms=False)) is None
    assert users_notice(None) is None
    assert unfelt_note(None) == ()


def test_symptoms_that_were_not_collected_on_both_sides_say_nothing():
    one = incident(wait=1.0)
    one.values[:FAULT, :2] = np.nan
    assert felt(one) is None


def test_the_answer_ranks_all_the_same_and_says_that_it_can_wait():
    found = localise(incident(cpu=20.0))
    assert found.services[0].name == "a"
    assert any("users notice nothing" in note for note in found.notes)
    assert not any("users notice" in note for note in localise(incident(cpu=20.0, wait=2.0)).notes)
