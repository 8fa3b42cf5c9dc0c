"""The report of an experiment: its records as the plain data that `ops.reports` builds from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ops.catalogue import Catalogue
from ops.replay.experiment import Experiment
from ops.replay.hardware import engine_text
from ops.replay.options import ReplayOptions
from ops.replay.provenance import commit, versions
from ops.replay.run import WorldRecord, incidents_of
from ops.replay.traffic import START_HOUR
from ops.reports import ClockBase, Command, RequestLedger, RunReport, words
from ops.reports.build import RunFacts, build_report
from ops.reports.build_lanes import MinuteRow
from ops.reports.calibration import load_calibration
from rca.verdict import LEADS

GRANGER = "Granger"  # row of the report's foot
MIDNIGHT_S = 1773705600.0  # 17 Mar 2026 00:00 UTC: an arbitrary day for the simulated clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How to run the same replay again: what the user named and what he set."""

    scenario: str  # embedded name or path
    options: ReplayOptions
    seed: int
    worlds: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """For run.json and the manifests of bundles."""
        return {
            "kind": "simulated",
            "scenario": self.scenario,
            "scenario_sha256": _file_sha256(self.scenario),
            "trace_sha256": _file_sha256(self.options.trace),
            "options": self.options.plain(),
            "seed": self.seed,
        }

    def command(self, *more: str) -> str:
        """The command line that runs it."""
        parts = ["midwatch replay", self.scenario, *self.options.words(), f"--seed {self.seed}"]
        return " ".join([*parts, *more])


def _file_sha256(name: str) -> str:
    path = Path(name)
    if not name or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_report(done: Experiment, source: Source, *, journal_sha256: str, path: str) -> RunReport:
    """The report of an experiment."""
    plan, scenario, acted = done.plan, done.plan.scenario, done.acted
    bins, counted = load_calibration()
    facts = RunFacts(
        fleet=scenario.name,
        clock=ClockBase(epoch_s=MIDNIGHT_S + START_HOUR * 3600.0),
        duration_s=done.told.end_s,
        seed=plan.seed,
        load=plan.load or None,
        slos=scenario.slos,
        minutes=None if acted is None else _rows(acted),
        minutes_without=None if done.without is None else _rows(done.without),
        decisions=() if acted is None else tuple(acted.decisions),
        frames={key: snapshot.frame for key, snapshot in done.endings.items()},
        changes=done.changes,
        ledger=_ledger(done.told),
        calibration=bins,
        calibration_source=counted,
        commands=(
            Command(label="Replay", text=source.command()),
            Command(label="Without", text=source.command("--only without")),
        ),
        replay_note=f"Expected: journal sha256 {journal_sha256}." if journal_sha256 else "",
        versions=_foot(done, source, len(bins), counted),
        watched=(
            f"{done.num_series:,} series",
            words.count(len(done.changes), "change"),
            words.count(done.num_events, "Kubernetes event"),
        )
        if acted is not None
        else (),
        report_path=path,
    )
    return replace(build_report(facts, Catalogue.load()), complete=done.complete)


def _foot(
    done: Experiment, source: Source, num_bins: int, counted: str
) -> tuple[tuple[str, str], ...]:
    made, scenario = versions(), done.plan.scenario
    instances = sum(
        scenario.engine.instances if r.instances is None else r.instances for r in scenario.regions
    )
    trace = scenario.traffic.trace
    told = "generated with the published figures of BurstGPT" if trace == "generated" else trace
    rows = [
        ("Made by", f"midwatch {made['midwatch']}, commit {commit()[:12]}, Python "
         f"{made['python']}, NumPy {made['numpy']}"),
        ("World", f"simulated fleet, scenario {source.scenario}, {len(scenario.regions)} regions, "
         f"{instances} instances, each {engine_text(scenario.engine)}"),
        ("Requests from", f"{Path(told).name if trace != 'generated' else told}, "
         f"{done.plan.rate_rps:.3g} requests/s"),
    ]  # fmt: skip
    rows += _granger(done)
    rows += [("Note", note) for note in done.plan.notes]
    if num_bins:
        rows.append(("Confidence from", counted))
    return tuple(rows)


def _granger(done: Experiment) -> list[tuple[str, str]]:
    """Which model said what leads what, as each verdict has it."""
    if done.acted is None:
        return []
    results = [i.result for i in incidents_of(done.acted.decisions) if i.result is not None]
    told = sorted({text.removeprefix(LEADS) for result in results for text in result.checked
                   if text.startswith(LEADS)})  # fmt: skip
    return [(GRANGER, text) for text in told]


def _rows(world: WorldRecord) -> list[MinuteRow]:
    return [(m.region, m.slo_class, m.minute, m.requests, m.bad) for m in world.minutes]


def _ledger(world: WorldRecord) -> RequestLedger:
    ledger = world.ledger
    return RequestLedger(
        arrived=ledger.arrived,
        ok=ledger.ok,
        failed=ledger.failed,
        timed_out=ledger.timed_out,
        rejected=ledger.rejected.total(),
        cancelled=ledger.cancelled,
        in_flight=ledger.in_flight,
        attempts=ledger.attempts,
        retries=ledger.retries,
    )
