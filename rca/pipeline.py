"""One diagnosis from frame to ranked causes. Pure: same arguments, same result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rca.align import Aligned, align, cut_windows
from rca.change import measure_changes
from rca.channels.blame import Blame, blame
from rca.channels.case import Case, Finding, make_case
from rca.channels.collect import collect_findings, own_findings, reasons
from rca.channels.contradiction import contradictions
from rca.channels.gaps import find_gaps
from rca.channels.mesh import build_red
from rca.channels.red import RedTree
from rca.channels.silence import find_silence
from rca.detect import change_points
from rca.forecasters import Forecaster, GrangerResult
from rca.fuse import FuseConfig, fuse, ranked
from rca.granger_linear import GrangerConfig, LinearForecaster, screen
from rca.graph import add_links, causal_graph, path_to_users
from rca.kinds import squash
from rca.rank import walk
from rca.state import (
    ChangeEvent,
    ClusterEvent,
    Entity,
    EntityKind,
    MetricFrame,
    RcaResult,
    ResourceClass,
    Shown,
    Symptom,
    Topology,
)
from rca.verdict import arcs, checked, judge, ruled_out, would_settle

INNOVATION_WEIGHT = 0.15  # of a Granger innovation in the walk's prior
LINK_WEIGHT = 0.5  # of a Granger link beside a call


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseConfig:
    """Bounds of a diagnosis."""

    fuse: FuseConfig = field(default_factory=FuseConfig)
    num_causes_max: int = 8
    onset_search_s: float = 300.0  # how much earlier than reported the trouble may have begun
    onset_votes_min: float = 0.4  # share of the votes that one moment needs to be believed
    bad_ratio_min: float = 0.002  # below: nobody suffers
    granger: GrangerConfig = field(default_factory=GrangerConfig)


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
    forecaster: Forecaster | None = None,
    shown: Sequence[Shown] = (),
) -> RcaResult:
    """Rank the causes of `symptom` from what is known at `now_s`.

    Args:
        forecaster: which series lead which; ridge regression unless given. The neural one
            (`rca.granger`) comes from the caller, so that nothing here needs torch.
        shown: the cluster's own view at `now_s`, where one is known: it may contradict a loss.

    Raises:
        FrameError: the frame's parts do not fit together.
    """
    config = config or DiagnoseConfig()
    aligned = align(frame, now_s=now_s, region=symptom.region)
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
        events=events,
        announced=changes,
    )
    forecaster = forecaster or LinearForecaster(config=config.granger)
    rng = np.random.default_rng([seed, 7])
    return _conclude(case, changes, events, shown, config, forecaster, rng)


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
    shown: Sequence[Shown],
    config: DiagnoseConfig,
    forecaster: Forecaster,
    rng: np.random.Generator,
) -> RcaResult:
    tree = build_red(case)
    gaps = find_gaps(case)
    silence = find_silence(case, tree, events, [f.entity for f in gaps.findings])
    own = own_findings(case)
    blamed = blame(case, tree, silence, reasons(own))
    found = collect_findings(case, tree, blamed, gaps, silence, own, changes, events)
    first = fuse(case, found, on_path=blamed.on_path, share=blamed.share, config=config.fuse)
    links, innovation, leads = _granger(case, forecaster, rng)
    prior = {c.entity: min(1.0, c.score) for c in first}
    for entity, value in innovation.items():
        prior[entity] = min(1.0, prior.get(entity, 0.0) + INNOVATION_WEIGHT * value)
    found += _walked(case, tree, blamed, prior, links)
    candidates = fuse(case, found, on_path=blamed.on_path, share=blamed.share, config=config.fuse)
    lost = [c.entity for c in candidates if c.resource is ResourceClass.LOSS]
    top = candidates[: config.num_causes_max]
    causes = ranked(
        candidates,
        config.fuse,
        paths={c.entity: path_to_users(case, tree, c.entity, blamed.entries) for c in top},
        num_causes_max=config.num_causes_max,
        against=contradictions(case, tree, lost, shown, events),
    )
    abstained, reason = judge(case, causes, gaps, config.fuse, bad_ratio_min=config.bad_ratio_min)
    return RcaResult(
        began_at_s=case.onset_s,
        causes=causes,
        abstained=abstained,
        reason=reason,
        checked=checked(case, changes, events, leads=leads),
        missing=gaps.missing,
        would_settle=would_settle(case, causes),
        ruled_out=ruled_out(case, tree, blamed, changes, causes),
        arcs=arcs(causes, links),
    )


def _granger(
    case: Case, forecaster: Forecaster, rng: np.random.Generator
) -> tuple[dict[tuple[Entity, Entity], float], dict[Entity, float], str]:
    """Links (cause, effect) and exogenous change per entity, each 0..1; which model said so."""
    aligned = case.aligned
    region = case.symptom.region
    usable = [
        c
        for c, role in enumerate(aligned.roles)
        if role.entity.region == region
        and role.part != "count"
        and role.entity.kind is not EntityKind.TELEMETRY
    ]
    columns = screen(
        case.changes.score,
        usable,
        name=lambda c: f"{aligned.roles[c].entity} {aligned.roles[c].role} {aligned.series[c]}",
        num_max=forecaster.num_series_max,
    )
    result = forecaster.fit(
        aligned.levels[:, columns],
        normal_end=case.windows.normal_end,
        fault_start=case.windows.fault_start,
        step_s=aligned.step_s,
        rng=rng,
    )
    links: dict[tuple[Entity, Entity], float] = {}
    innovation: dict[Entity, float] = {}
    entities = [aligned.roles[c].entity for c in columns]
    for place, value in enumerate(squash(np.log1p(np.abs(result.exogenous)))):
        innovation[entities[place]] = max(innovation.get(entities[place], 0.0), float(value))
    for effect, cause in np.argwhere(result.granger > 0.0):
        pair = (entities[cause], entities[effect])
        if pair[0] != pair[1]:
            strength = min(1.0, float(result.granger[effect, cause]))
            links[pair] = max(links.get(pair, 0.0), strength)
    return links, innovation, _model(result)


def _model(result: GrangerResult) -> str:
    """Which model it was, or why none."""
    if result.skipped:
        return f"skipped, {result.skipped}"
    return f"{result.model} Granger of {len(result.exogenous)} series"


def _walked(
    case: Case,
    tree: RedTree,
    blamed: Blame,
    prior: dict[Entity, float],
    links: dict[tuple[Entity, Entity], float],
) -> list[Finding]:
    """How often a random walk from the users along causes ends on each suspect."""
    graph = causal_graph(case, tree, prior.keys())
    add_links(graph, {pair: LINK_WEIGHT * strength for pair, strength in links.items()})
    restart = {Entity(EntityKind.SERVICE, case.symptom.region, e): 1.0 for e in blamed.entries}
    visits = walk(graph, restart=restart, prior=prior)
    return [
        Finding(
            entity=entity,
            channel="graph",
            strength=round(visits[entity], 9),
            resource=ResourceClass.UNKNOWN,
            text=f"walk from the symptom along causes: {visits[entity]:.2f} of the most visited",
            specificity=0.0,
        )
        for entity in sorted(visits)
        if visits[entity] > 0.05 and prior.get(entity, 0.0) > 0.05
    ]


def _too_short(aligned: Aligned, symptom: Symptom) -> str:
    before = int(np.searchsorted(aligned.times_s, symptom.began_at_s))
    since = len(aligned.times_s) - before
    return f"{before} normal rows and {since} rows since the onset; 14 and 2 are needed"


def _abstain(symptom: Symptom, reason: str, missing: tuple[str, ...]) -> RcaResult:
    return RcaResult(
        began_at_s=symptom.began_at_s, causes=(), abstained=True, reason=reason, missing=missing
    )
