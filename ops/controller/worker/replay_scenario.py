"""A Replay of an embedded scenario: the simulated fleet with the loop, and without it.

Runs in a process of its own (`ops.controller.worker.replay`): it takes minutes of CPU, and a
diagnosis must not wait for it. Here, and only here, the truth of the faults is known, so the
checks compare with it.
"""

from __future__ import annotations

import hashlib
import tempfile
from base64 import b64encode
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path

from ops.controller.worker.page_size import fitted_page, short_markdown
from ops.controller.worker_link.wire import CheckResult, ReplayAnswer, ReplayCheck, ReplayRequest
from ops.errors import ScenarioError
from ops.ranking import ranking_sha256
from ops.replay.draw_case import TAIL_S, WARMUP_S
from ops.replay.experiment import Experiment, make_plan, run_experiment
from ops.replay.facts import Source, make_report
from ops.replay.faults import CATALOGUE
from ops.replay.options import ReplayOptions
from ops.replay.run import WorldRecord, incidents_of
from ops.replay.scenario import FaultSpec, Scenario
from ops.replay.scenarios import embedded_names, load_embedded
from ops.replay.score import AFTER_S
from ops.replay.verdicts import verdict
from ops.reports import RunReport, words
from ops.reports.sentence import run_headline
from ops.state import Incident
from rca.forecasters import NoForecaster
from rca.granger_choice import choose
from rca.granger_kind import GrangerChoice
from rca.pipeline import diagnose
from rca.state import RcaResult

NO_FAULT = "none"  # kind that asks for a healthy run
AT_S_MAX = 3600.0
WORLDS = ("with", "without")


def run_scenario(request: ReplayRequest, *, granger: str) -> ReplayAnswer:
    """Simulate, check, render.

    Raises:
        ScenarioError: no such scenario or fault.
        OpsError, ServingError: the scenario cannot be run.
    """
    scenario = _with_faults(_embedded(request.scenario), request)
    source = Source(
        scenario=request.scenario,
        options=ReplayOptions(granger=granger),
        seed=request.seed,
        worlds=WORLDS,
    )
    forecaster = choose(GrangerChoice(granger)) or NoForecaster()
    with tempfile.TemporaryDirectory(prefix="midwatch-replay-") as folder:
        journal = Path(folder) / "journal.jsonl"
        done = run_experiment(
            make_plan(scenario, seed=request.seed),
            journal=journal,
            worlds=WORLDS,
            diagnoser=partial(diagnose, forecaster=forecaster),
        )
        digest = hashlib.sha256(journal.read_bytes()).hexdigest()
    report = _report(done, source, request, digest)
    page, raw, _ = fitted_page(report)
    first = _first_result(done)
    return ReplayAnswer(
        verdict=_verdict(done, report),
        checks=tuple(_check(check, done, first, request) for check in request.checks),
        ranking_sha256=ranking_sha256(first) if first is not None else "",
        confidence=first.causes[0].confidence if first and first.causes else None,
        html_gzip=b64encode(raw).decode("ascii"),
        sha256=hashlib.sha256(page).hexdigest(),
        markdown=short_markdown(report),
    )


def _embedded(name: str) -> Scenario:
    if name not in embedded_names():
        raise ScenarioError(
            f"spec.scenario is {name!r}; embedded are {', '.join(sorted(embedded_names()))}"
        )
    return load_embedded(name)


def _with_faults(scenario: Scenario, request: ReplayRequest) -> Scenario:
    """The scenario with the asked faults instead of its own; its own where none is asked for."""
    if not request.faults:
        return scenario
    faults = []
    for asked in request.faults:
        if asked.kind == NO_FAULT:
            continue
        if asked.kind not in CATALOGUE:
            raise ScenarioError(
                f"spec.faults: kind {asked.kind!r} is not known; known are "
                f"{', '.join(sorted(CATALOGUE))}, and {NO_FAULT} for a healthy run"
            )
        at_s = WARMUP_S if asked.at_s is None else asked.at_s
        if at_s > AT_S_MAX:
            raise ScenarioError(f"spec.faults: atSeconds is {at_s:g}, at most {AT_S_MAX:g}")
        faults.append(FaultSpec(kind=asked.kind, start_s=at_s, ramp_s=CATALOGUE[asked.kind].ramp_s))
    ends = [fault.start_s + fault.length_s for fault in faults]
    needed_s = max(ends, default=0.0) + AFTER_S + TAIL_S
    return replace(
        scenario,
        faults=tuple(faults),
        duration_s=max(scenario.duration_s, ceil(needed_s / 60.0) * 60.0),
    )


def _report(done: Experiment, source: Source, request: ReplayRequest, digest: str) -> RunReport:
    report = make_report(done, source, journal_sha256=digest, path="")
    if not request.faults:
        return report
    # No command line plays these faults: the Replay object is how to run it again.
    told = [f"{f.kind} at {words.span(f.start_s)}" for f in done.plan.scenario.faults]
    rows = (
        ("Faults", ", ".join(told) or "none"),
        ("Replay", f"{request.namespace}/{request.name}"),
    )
    return replace(report, commands=(), replay_note="", versions=(*report.versions, *rows))


def _first_result(done: Experiment) -> RcaResult | None:
    """The ranking of the first incident that was diagnosed, else of the first one."""
    found = _incidents(done)
    named = [i for i in found if i.diagnosed_at_s is not None]
    return next((i.result for i in [*named, *found] if i.result is not None), None)


def _incidents(done: Experiment) -> list[Incident]:
    return incidents_of(done.acted.decisions) if done.acted is not None else []


def _verdict(done: Experiment, report: RunReport) -> str:
    rows = _truths(done.acted)
    told = [
        f"{row['kind']}: "
        + (f"named {row['named']}, {row['named_class']}" if row["rank"] == 1 and row["named"]
           else f"wrong first place, {row['named']}" if row["named"] else "not named")
        for row in rows
    ]  # fmt: skip
    return " ".join([run_headline(report), *(f"{text}." for text in told)])


def _truths(world: WorldRecord | None) -> list[dict[str, object]]:
    if world is None:
        return []
    return [{"named_class": "", **verdict(world, truth), "kind": truth.kind}
            for truth in world.truths]  # fmt: skip


def _check(
    check: ReplayCheck, done: Experiment, first: RcaResult | None, request: ReplayRequest
) -> CheckResult:
    match check:
        case ReplayCheck.NO_INCIDENT:
            found = _incidents(done)
            text = words.count(len(found), "incident") if found else "no incident"
            return CheckResult(check=check, passed=not found, message=text)
        case ReplayCheck.CAUSE_NAMED:
            rows = _truths(done.acted)
            right = [row for row in rows if row["rank"] == 1 and not row["abstained"]]
            text = f"{len(right)} of {words.count(len(rows), 'fault')} named right, first place"
            return CheckResult(check=check, passed=bool(rows) and len(right) == len(rows),
                               message=text)  # fmt: skip
        case ReplayCheck.SAME_RANKING:
            sha256 = ranking_sha256(first) if first is not None else ""
            if not request.ranking_sha256:
                text = "no ranking to compare with: this check is for an incident's bundle"
                return CheckResult(check=check, passed=False, message=text)
            same = sha256 == request.ranking_sha256
            return CheckResult(check=check, passed=same, message=f"ranking {sha256[:12]}")
