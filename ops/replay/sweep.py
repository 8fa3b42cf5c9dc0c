"""Sweep: kinds x seeds x loads against the simulated fleet, resumable, beside peers and an oracle.

Each case has up to four worlds that share every draw: without us, with the loop, with the
oracle, and with a reflex that restarts the worst looking pod; they branch where they differ.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ops.catalogue import Catalogue
from ops.errors import NoTargetError
from ops.replay.capacity import capacity_rps
from ops.replay.draw_case import SEVERITY, Case, draw_case, draw_healthy
from ops.replay.faults import Truth
from ops.replay.fleet import Fleet
from ops.replay.futures import WITH, WITHOUT, Futures
from ops.replay.run import Loop, World, WorldRecord, run_world
from ops.replay.scenario import Scenario
from ops.replay.score import AFTER_S, bad_minutes, first_symptom_s
from ops.replay.traffic import Traffic
from ops.replay.verdicts import verdict
from ops.reports.build_lanes import page_at_s
from ops.state import DecisionKind, Incident, Snapshot
from ops.topology import discover
from rca.baselines import PEERS
from rca.state import Symptom

Row = dict[str, Any]
PEER_AFTER_S = 60.0  # where the loop saw nothing, peers are asked so long after the start
HEALTHY_HOURS = 12.0


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work; its key names it in the result file."""

    kind: str
    seed: int
    load: tuple[float, float]
    hours: float = 0.0
    worlds: bool = True  # simulate the reference worlds too
    severity: tuple[float, float] = SEVERITY

    @property
    def key(self) -> str:
        """Identity within one sweep."""
        low, high = self.load
        key = f"{self.kind}/{self.seed}/{low:g}:{high:g}/{self.hours:g}/{int(self.worlds)}"
        least, most = self.severity
        return key if self.severity == SEVERITY else f"{key}/{least:g}:{most:g}"


@dataclass(slots=True)
class _Peers:
    """Asks the peers once, on what the loop saw at its first verdict after the fault began."""

    fleet: Fleet
    seed: int
    ranks: dict[str, int] = field(default_factory=dict)

    @property
    def truth(self) -> Truth | None:
        """Truth of the fault, None before it began."""
        return self.fleet.faults[0].truth if self.fleet.faults else None

    def on_incident(self, snapshot: Snapshot, incident: Incident) -> None:
        """Hook of the loop."""
        self.ask(snapshot, incident.symptom)

    def ask(self, snapshot: Snapshot, symptom: Symptom) -> None:
        """Rank with every peer; keeps the place of the first right entity, 0 = not ranked."""
        truth = self.truth
        if truth is None or self.ranks or snapshot.now_s < truth.began_at_s:
            return
        topology = discover(snapshot.frame, snapshot.pods)
        for name, peer in PEERS.items():
            ranked = peer(
                snapshot.frame, symptom=symptom, topology=topology, now_s=snapshot.now_s,
                seed=self.seed,
            )  # fmt: skip
            right = {truth.entity} | truth.alternatives
            self.ranks[name] = next((k for k, e in enumerate(ranked, 1) if e in right), 0)


class _Watched(Loop):
    """The loop, and the peers at a fixed moment where the loop stays silent."""

    peers: _Peers

    def tick(self, fleet: Fleet, now_s: float) -> None:
        """Step, then ask the peers if it is time."""
        super().tick(fleet, now_s)
        truth = self.peers.truth
        if truth is None or self.peers.ranks or now_s < truth.began_at_s + PEER_AFTER_S:
            return
        symptom = Symptom(
            region=truth.entity.region, slo_class="", began_at_s=truth.began_at_s,
            detected_at_s=now_s, bad_ratio=0.0, reason="missing",
        )  # fmt: skip
        self.peers.ask(fleet.snapshot(), symptom)


def run_task(base: Scenario, task: Task) -> Row:
    """Simulate one task and score it; a fault that finds no target is told, not simulated."""
    catalogue = Catalogue.load()
    capacity = capacity_rps(base, Traffic.open(base, seed=task.seed))
    if task.kind == "healthy":
        return _run_healthy(draw_healthy(base, task.seed, task.hours), task, capacity, catalogue)
    case = draw_case(base, task.kind, task.seed, task.load, task.severity)
    try:
        return _run_fault(case, task, capacity, catalogue)
    except NoTargetError as error:  # such as a pool's fault where no call is pooled
        return {"key": task.key, "kind": task.kind, "seed": task.seed, "skipped": str(error)}


def _run_fault(case: Case, task: Task, capacity: float, catalogue: Catalogue) -> Row:
    scenario = case.scenario

    def world_of(catalogue: Catalogue | None) -> World:
        return World(
            scenario, Traffic.open(scenario, seed=case.seed), seed=case.seed,
            rate_rps=capacity * case.load, controller=None, catalogue=catalogue,
        )  # fmt: skip

    def score(world: World) -> Row:
        return _scores(world.record(), scenario)

    world = world_of(catalogue)
    futures = Futures(world, lambda: world_of(None), score, capacity)
    peers = _Peers(world.fleet, case.seed)
    loop = _Watched(on_incident=peers.on_incident, on_step=futures.on_step if task.worlds else None)
    loop.peers = peers
    world.controller = loop
    fault = scenario.faults[0]
    world.run(until_s=fault.start_s)
    if task.worlds:
        futures.at_fault()
    world.run()
    acted = world.record()
    found = acted.truths[0]
    scores = futures.finish() if task.worlds else {WITH: score(world)}
    row = verdict(acted, found)
    row.update(
        key=task.key,
        kind=case.kind,
        seed=case.seed,
        load=round(case.load, 4),
        severity=round(fault.severity, 3),
        hide_direct=case.hide_direct,
        innocent_closer=case.innocent_closer,
        truth=str(found.entity),
        began_at_s=round(fault.start_s, 3),
        first_symptom_s=first_symptom_s(acted.judged, after_s=fault.start_s),
        page_at_s=scores[WITHOUT]["page_at_s"] if task.worlds else None,
        peers=peers.ranks,
        lost={name: of["lost"] for name, of in scores.items()},
    )
    return row


def _scores(record: WorldRecord, scenario: Scenario) -> Row:
    """What a world cost its users, and when the slow rule would have paged them."""
    fault = scenario.faults[0]
    lost = bad_minutes(
        record.minutes, scenario.slos, start_s=fault.start_s,
        end_s=fault.start_s + fault.length_s + AFTER_S,
    )  # fmt: skip
    rows = [(m.region, m.slo_class, m.minute, m.requests, m.bad) for m in record.minutes]
    pages = [
        page_at_s(rows, scenario.slos, region=region.name, from_s=fault.start_s)
        for region in scenario.regions
    ]
    return {
        "lost": round(lost, 4),
        "page_at_s": min((p for p in pages if p is not None), default=None),
    }


def _run_healthy(case: Case, task: Task, capacity: float, catalogue: Catalogue) -> Row:
    loop = Loop()
    world = run_world(
        case.scenario, Traffic.open(case.scenario, seed=case.seed), seed=case.seed,
        rate_rps=capacity * case.load, controller=loop, catalogue=catalogue,
    )  # fmt: skip
    accused = [d for d in world.decisions if d.kind is DecisionKind.DIAGNOSE]
    return {
        "key": task.key, "kind": "healthy", "seed": case.seed, "load": round(case.load, 4),
        "days": world.end_s / 86400.0, "accusations": len(accused),
        "opened": sum(d.kind is DecisionKind.OPEN for d in world.decisions),
        "bad_minutes": bad_minutes(
            world.minutes, case.scenario.slos, start_s=0.0, end_s=world.end_s
        ),
        "named": [f"{d.at_s:.0f} s: {d.reason}"[:160] for d in accused],
    }  # fmt: skip


def sweep(
    base: Scenario,
    tasks: Sequence[Task],
    *,
    out: Path,
    jobs: int,
    resume: bool,
    progress: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Run tasks on `jobs` processes; every finished row is on disk before the next begins.

    Args:
        resume: keep rows that the result file already holds.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "runs.jsonl"
    done = read_rows(path) if resume else {}
    path.write_bytes(b"".join(_line(r) for r in done.values()))
    todo = [t for t in tasks if t.key not in done]
    capacity_rps(base, Traffic.open(base, seed=0))  # once, before the processes ask for it
    with path.open("ab") as file:
        for row in _run_all(base, todo, jobs):
            file.write(_line(row))
            file.flush()
            done[row["key"]] = row
            if progress is not None:
                progress(row)
    return [done[t.key] for t in tasks if t.key in done]


def _line(row: Row) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def read_rows(path: Path) -> dict[str, Row]:
    """Rows of a result file by key; a torn last line is dropped."""
    rows: dict[str, Row] = {}
    if not path.exists():
        return rows
    for line in path.read_bytes().splitlines():
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # the line that was being written when the sweep was stopped
        rows[row["key"]] = row
    return rows


def _rare_collections() -> None:
    """A simulation makes many short-lived objects and little cyclic garbage: collect rarely."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def _run_all(base: Scenario, todo: Sequence[Task], jobs: int) -> Iterable[Row]:
    if jobs <= 1:
        yield from (run_task(base, task) for task in todo)
        return
    with ProcessPoolExecutor(max_workers=jobs, initializer=_rare_collections) as pool:
        futures = [pool.submit(run_task, base, task) for task in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
