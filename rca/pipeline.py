"""One diagnosis from frame to ranked causes. Pure: same arguments, same result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rca.align import Aligned, align, cut_windows
from rca.change import measure_changes
from rca.channels import changes as change_channel
from rca.channels import events as event_channel
from rca.channels import gaps as gap_channel
from rca.channels import hosts, load, resources, topology
from rca.channels.case import Case, Finding, make_case
from rca.channels.red import RedTree, build_red
from rca.detect import change_points
from rca.fuse import Candidate, FuseConfig, fuse, ranked, service_of
from rca.state import (
    ChangeEvent,
    ClusterEvent,
    Entity,
    EntityKind,
    MetricFrame,
    RankedCause,
    RcaResult,
    Symptom,
    Topology,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseConfig:
    """Bounds of a diagnosis."""

    fuse: FuseConfig = field(default_factory=FuseConfig)
    num_causes_max: int = 8
    onset_search_s: float = 300.0  # how much earlier than reported the trouble may have begun
    onset_votes_min: float = 0.4  # share of the votes that one moment needs to be believed
    bad_ratio_min: float = 0.002  # below: nobody suffers


def diagnose(
    frame: MetricFrame,
    *,
    symptom: Symptom,
    topology: Topology,
    changes: Sequence[ChangeEvent],
    events: Sequence[ClusterEvent],
    now_s: float,
    seed: int,
    config: DiagnoseConfig | None = None,
) -> RcaResult:
    """Rank the causes of `symptom` from what is known at `now_s`.

    Raises:
        FrameError: the frame's parts do not fit together.
    """
    config = config or DiagnoseConfig()
    aligned = align(frame, now_s=now_s)
    if not aligned.roles or len(aligned.times_s) == 0:
        return _abstain(symptom, "the frame holds no known series", ("all metrics",))
    onset_s = estimate_onset(aligned, symptom, config)
    windows = cut_windows(aligned.times_s, onset_s)
    if windows is None and onset_s < symptom.began_at_s:
        windows = cut_windows(aligned.times_s, symptom.began_at_s)
    if windows is None:
        return _abstain(symptom, _too_short(aligned, symptom), ())
    case = make_case(
        aligned,
        windows,
        measure_changes(aligned, windows),
        topology=topology,
        symptom=symptom,
        now_s=now_s,
    )
    return _conclude(case, changes, events, config)


def estimate_onset(aligned: Aligned, symptom: Symptom, config: DiagnoseConfig) -> float:
    """The reported onset, or an earlier moment at which most entities change together.

    A fault that is noticed late has already moved the rows before the alarm.
    """
    times = aligned.times_s
    rows = np.flatnonzero(times >= symptom.began_at_s - config.onset_search_s)
    if len(rows) < 8:
        return symptom.began_at_s
    began, strength = change_points(times[rows], aligned.levels[rows])
    votes: dict[Entity, tuple[float, float]] = {}
    for column in np.flatnonzero(strength > 6.0):
        entity = aligned.roles[column].entity
        if entity.region != symptom.region:
            continue
        if strength[column] > votes.get(entity, (0.0, 0.0))[0]:
            votes[entity] = (float(strength[column]), float(began[column]))
    if len(votes) < 3:
        return symptom.began_at_s
    weight = np.minimum([v[0] for v in votes.values()], 20.0)
    moment = np.array([v[1] for v in votes.values()])
    width_s = 2.0 * aligned.step_s
    near = np.abs(moment[:, None] - moment[None, :]) <= width_s
    support = near @ weight
    best = float(moment[np.lexsort((moment, -support))[0]])
    enough = float(support.max()) >= config.onset_votes_min * float(weight.sum())
    if enough and best < symptom.began_at_s - 2.0 * aligned.step_s:
        return best
    return symptom.began_at_s


def _conclude(
    case: Case,
    changes: Sequence[ChangeEvent],
    events: Sequence[ClusterEvent],
    config: DiagnoseConfig,
) -> RcaResult:
    tree = build_red(case)
    blamed = topology.blame(case, tree)
    gaps = gap_channel.find_gaps(case)
    found = collect_findings(case, tree, blamed, gaps, changes, events)
    candidates = fuse(case, found, on_path=blamed.on_path, share=blamed.share, config=config.fuse)
    causes = ranked(candidates, config.fuse, paths={}, num_causes_max=config.num_causes_max)
    abstained, reason = _judge(case, candidates, causes, gaps, config)
    return RcaResult(
        began_at_s=case.onset_s,
        causes=causes,
        abstained=abstained,
        reason=reason,
        checked=_checked(case, changes, events),
        missing=gaps.missing,
        would_settle=_would_settle(case, candidates),
    )


def collect_findings(
    case: Case,
    tree: RedTree,
    blamed: topology.Blame,
    gaps: gap_channel.Gaps,
    changes: Sequence[ChangeEvent],
    events: Sequence[ClusterEvent],
) -> list[Finding]:
    """Ask every channel; the later ones build on what the earlier ones found."""
    found = topology.findings(case, blamed)
    found += resources.resource_findings(case)
    found += hosts.vanished_findings(case, [f.entity for f in gaps.findings])
    found += event_channel.event_findings(case, events)
    speed = load.speed_findings(case)
    found += speed
    slowed = max((f.strength for f in speed), default=0.0)
    found += load.load_findings(case, tree, slowed)
    found += hosts.host_findings(case, found)
    found += change_channel.change_findings(case, changes, misbehaviour(case, blamed, found))
    found += gaps.findings
    return found


def misbehaviour(
    case: Case, blamed: topology.Blame, findings: Sequence[Finding]
) -> dict[Entity, float]:
    """How far each service's own numbers are off, 0..1: itself, its pods and its calls."""
    out: dict[Entity, float] = {}
    sums: dict[Entity, float] = {}
    for entity, share in blamed.share.items():
        service = service_of(case, entity)
        if service:
            owner = Entity(EntityKind.SERVICE, entity.region, service)
            sums[owner] = min(1.0, sums.get(owner, 0.0) + share)
    out.update(sums)
    for finding in findings:
        service = service_of(case, finding.entity)
        if service and finding.channel != topology.CHANNEL:
            owner = Entity(EntityKind.SERVICE, finding.entity.region, service)
            whole = 1.0 if finding.entity.kind is EntityKind.SERVICE else 0.5
            out[owner] = max(out.get(owner, 0.0), whole * finding.strength)
    return out


def _judge(
    case: Case,
    candidates: Sequence[Candidate],
    causes: Sequence[RankedCause],
    gaps: gap_channel.Gaps,
    config: DiagnoseConfig,
) -> tuple[bool, str]:
    if case.symptom.bad_ratio < config.bad_ratio_min:
        named = f"; not measured: {gaps.missing[0]}" if gaps.missing else ""
        return True, f"no user suffers{named}"
    if not candidates:
        return True, "no series changed beyond its usual range"
    first = causes[0]
    if first.entity.kind is EntityKind.TELEMETRY:
        return True, f"measurements are missing: {gaps.missing[0]}"
    if len(candidates) > 1 and candidates[0].score == candidates[1].score:
        return True, f"{first.entity} and {causes[1].entity} score the same"
    if first.confidence < config.fuse.confidence_min:
        return True, f"the evidence is weak: {first.entity} leads with {first.confidence:.2f}"
    return False, first.evidence[0].text


def _checked(
    case: Case, changes: Sequence[ChangeEvent], events: Sequence[ClusterEvent]
) -> tuple[str, ...]:
    rows = case.windows.normal_end
    return (
        f"change scores of {len(case.roles)} series against {rows} normal rows",
        "own time and errors per service, gaps per link, siblings and nodes",
        "resources of pods and nodes",
        "demand and speed at equal load",
        f"{len(changes)} announced changes, {len(events)} cluster events",
    )


def _would_settle(case: Case, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Metrics that entities of the leading kinds lack and others of their kind have."""
    out: list[str] = []
    for candidate in candidates[:2]:
        mine = {r.role for r in case.roles if r.entity == candidate.entity}
        peers = {
            r.role
            for r in case.roles
            if r.entity.kind is candidate.entity.kind and r.entity != candidate.entity
            if r.hardware
        }
        out += [f"{name} of {candidate.entity}" for name in sorted(peers - mine)[:2]]
    return tuple(out)


def _too_short(aligned: Aligned, symptom: Symptom) -> str:
    before = int(np.searchsorted(aligned.times_s, symptom.began_at_s))
    since = len(aligned.times_s) - before
    return f"{before} normal rows and {since} rows since the onset; 14 and 2 are needed"


def _abstain(symptom: Symptom, reason: str, missing: tuple[str, ...]) -> RcaResult:
    return RcaResult(
        began_at_s=symptom.began_at_s, causes=(), abstained=True, reason=reason, missing=missing
    )
