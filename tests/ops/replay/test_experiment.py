"""Two worlds of one plan: durations that fit a trace, interrupts that leave something."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.adapters.journal import read_journal
from ops.replay.experiment import FAULT_MIN_S, Plan, fit_duration, run_experiment
from ops.replay.export import summary
from ops.replay.facts import Source, make_report
from ops.replay.options import ReplayOptions
from ops.replay.scenario import ChangeSpec, FaultSpec
from ops.replay.scenario_problems import Problems
from ops.replay.scenario_rules import check_rules
from ops.reports import render_markdown, sentence

FAULT = FaultSpec(kind="cpu-hog", start_s=150.0, length_s=60.0, target="service:north/shelf")


def test_a_longer_trace_moves_nothing(sim):
    scenario = sim.scenario(faults=(FAULT,), warmup_s=60.0)
    fitted, notes = fit_duration(scenario, 1000.0)
    assert fitted == replace(scenario, duration_s=1020.0)
    assert len(notes) == 1


def test_a_shorter_trace_keeps_the_fault_at_its_place_in_the_run(sim):
    scenario = sim.scenario(
        faults=(FAULT,),
        changes=(ChangeSpec(kind="deploy", at_s=240.0, region="north", service="shelf"),),
        warmup_s=150.0,
    )
    fitted, notes = fit_duration(scenario, 110.0)
    fault = fitted.faults[0]
    assert fitted.duration_s == 120.0
    assert fault.start_s == pytest.approx(60.0)
    assert fault.length_s == FAULT_MIN_S
    assert fitted.changes[0].at_s == pytest.approx(96.0)
    assert "0.4 of their time" in notes[1]
    problems = Problems()
    check_rules(fitted, problems)
    assert problems.lines == []


def make(sim, **changes):
    scenario = sim.scenario(duration_s=80.0, warmup_s=20.0, **changes)
    return Plan(
        scenario=scenario,
        traffic=sim.Steady(scenario),
        seed=3,
        load=0.0,
        rate_rps=3.0,
        capacity_rps=None,
    )


def stop_after(share):
    def progress(done):
        if done >= share:
            raise KeyboardInterrupt

    return progress


def told(experiment):
    source = Source(scenario="tiny", options=ReplayOptions(), seed=3, worlds=("with", "without"))
    return make_report(experiment, source, journal_sha256="", path="report.html")


@pytest.mark.slow
def test_an_interrupt_leaves_the_part_that_was_simulated(sim, tmp_path):
    journal = tmp_path / "journal.jsonl"
    done = run_experiment(make(sim), journal=journal, progress=stop_after(0.4))
    assert not done.complete
    assert done.without is None
    assert 40.0 < done.told.end_s < 80.0
    figures = summary(done, report="r")
    assert figures["requests"]["arrived"] > 100
    assert figures["bad_minutes"]["without"] is None
    read_journal(journal)  # whole lines only
    report = told(done)
    assert sentence.run_headline(report).startswith("Stopped early")
    assert "Stopped early" in render_markdown(report)


@pytest.mark.slow
def test_an_interrupt_of_the_second_world_keeps_the_first_whole(sim, tmp_path):
    done = run_experiment(make(sim), journal=tmp_path / "j", progress=stop_after(0.75))
    assert done.acted is not None
    assert done.acted.complete
    assert done.without is None
    assert not done.complete


@pytest.mark.slow
def test_a_loop_that_says_nothing_leaves_the_world_as_it_is_without(sim, tmp_path):
    done = run_experiment(make(sim), journal=tmp_path / "j", check=True)
    assert done.acted is not None
    assert done.without is not None
    assert done.acted.decisions == []
    assert done.acted.ledger == done.without.ledger
    assert done.acted.minutes == done.without.minutes
    assert sentence.run_headline(told(done)).startswith("No incident")
