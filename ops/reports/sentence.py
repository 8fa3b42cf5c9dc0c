"""Sentences built from data: entity kind x resource class x strongest evidence, nothing else.

The same sentences go to every format; no renderer words a fact by itself.
"""

from __future__ import annotations

from dataclasses import replace

from ops.reports import words
from ops.reports.model import IncidentReport, RunReport
from ops.reports.parts import (
    Calibration,
    Candidate,
    Cause,
    Change,
    ClockBase,
    Finding,
    Lane,
)
from rca.state import Entity, EntityKind, ResourceClass

_SUBJECTS = {
    EntityKind.SERVICE: "{name} in {region}",
    EntityKind.POD: "{name} in {region}",
    EntityKind.NODE: "Node {name} in {region}",
    EntityKind.LINK: "The link {caller} → {callee} in {region}",
    EntityKind.WORKLOAD: "Traffic in {region}",
    EntityKind.REGISTRY: "The image registry of {region}",
    EntityKind.TELEMETRY: "Scrape job {name} in {region}",
}
_NOUNS = {
    EntityKind.NODE: "node {name} in {region}",
    EntityKind.LINK: "link {caller} → {callee} in {region}",
    EntityKind.WORKLOAD: "traffic in {region}",
    EntityKind.REGISTRY: "image registry of {region}",
    EntityKind.TELEMETRY: "scrape job {name} in {region}",
}
# What happened, and the same once it is over where that differs.
_VERBS = {
    ResourceClass.CPU: ("ran short of CPU",),
    ResourceClass.MEMORY: ("ran short of memory",),
    ResourceClass.GPU_CLOCK: ("slowed down",),
    ResourceClass.GPU_MEMORY: ("ran short of GPU memory",),
    ResourceClass.GPU_DEVICE: ("has a failing GPU", "had a failing GPU"),
    ResourceClass.NETWORK: ("has a slow or lossy network", "had a slow or lossy network"),
    ResourceClass.POOL: ("ran out of connections",),
    ResourceClass.CODE: ("began to fail or to answer late by itself",),
    ResourceClass.CONFIG_CHANGE: ("went wrong with its configuration",),
    ResourceClass.LOAD: (
        "gets more requests than it can serve", "got more requests than it could serve"
    ),
    ResourceClass.START_UP: (
        "has too few ready pods while new ones start",
        "had too few ready pods while new ones started",
    ),
    ResourceClass.LOSS: ("was lost",),
    ResourceClass.TELEMETRY: ("sends no metrics", "sent no metrics"),
    ResourceClass.UNKNOWN: (
        "moved first; what is wrong with it is not known",
        "moved first; what was wrong with it is not known",
    ),
}  # fmt: skip
_IMAGES = (
    "delivers images slowly, so that pods start late",
    "delivered images slowly, so that pods started late",
)
# Where the general verb would be wrong for a kind of entity.
_VERBS_OF_KIND = {
    (EntityKind.LINK, ResourceClass.NETWORK): ("became slow or lossy",),
    (EntityKind.WORKLOAD, ResourceClass.LOAD): (
        "rose above what the region can serve",
        "rose above what the region could serve",
    ),
    (EntityKind.REGISTRY, ResourceClass.START_UP): _IMAGES,
    (EntityKind.REGISTRY, ResourceClass.NETWORK): _IMAGES,
    (EntityKind.SERVICE, ResourceClass.LOSS): ("lost pods",),
    (EntityKind.POD, ResourceClass.START_UP): ("starts slowly", "started slowly"),
}
# By the unit of the strongest number: a share of calls that fail, or a time.
_CODE_VERBS = {
    "ratio": ("answers with errors", "answered with errors"),
    "s": ("answers late", "answered late"),
}
RESOURCE_NOUNS = {
    ResourceClass.CPU: "CPU",
    ResourceClass.MEMORY: "memory",
    ResourceClass.GPU_CLOCK: "GPU clock",
    ResourceClass.GPU_MEMORY: "GPU memory",
    ResourceClass.GPU_DEVICE: "GPU device",
    ResourceClass.NETWORK: "network",
    ResourceClass.POOL: "connection pool",
    ResourceClass.CODE: "own code",
    ResourceClass.CONFIG_CHANGE: "configuration",
    ResourceClass.LOAD: "load",
    ResourceClass.START_UP: "start-up",
    ResourceClass.LOSS: "loss",
    ResourceClass.TELEMETRY: "telemetry",
    ResourceClass.UNKNOWN: "resource not known",
}
_NOT_CALIBRATED = "not calibrated"
_STAYS_RATIO = 0.05  # a smaller relative change reads "stays at"


def _fill(template: str, entity: Entity) -> str:
    caller, _, callee = entity.name.partition("->")
    return template.format(
        name=entity.name or entity.kind, region=entity.region, caller=caller, callee=callee
    )


def entity_noun(entity: Entity) -> str:
    """The entity inside a sentence: "node a in eu-west"."""
    return _fill(_NOUNS.get(entity.kind, "{name} in {region}"), entity)


def entity_subject(entity: Entity) -> str:
    """The entity at the start of a sentence: "Node a in eu-west"."""
    return _fill(_SUBJECTS[entity.kind], entity)


def finding_clause(finding: Finding) -> str:
    """ "its GPU clock fell 1.41 → 0.705 GHz"."""
    subject = f"its {finding.label}" if finding.own else finding.label
    before, after = finding.before, finding.after
    if before is None and after is None:
        return subject
    if before is None or after is None:
        return f"{subject} {words.change(before, after, finding.unit)}"
    if abs(after - before) <= _STAYS_RATIO * abs(before):
        return f"{subject} stays at {words.quantity(after, finding.unit)}"
    verb = "rose" if after > before else "fell"
    return f"{subject} {verb} {words.change(before, after, finding.unit)}"


def finding_figure(finding: Finding) -> str:
    """ "0.21 → 2.4 s"; empty where the evidence is an event and no number."""
    if finding.before is None and finding.after is None:
        return ""
    return words.change(finding.before, finding.after, finding.unit)


def headline(incident: IncidentReport) -> str:
    """What happened to whom and why, in one sentence with its full stop; past once it is over."""
    cause, over = incident.cause, incident.resolved_at_s is not None
    if cause is None:
        lane = incident.first_lane()
        who = f"{lane.region} {lane.slo_class} miss its SLO" if lane else "the fleet misbehave"
        return f"Cannot tell what {'made' if over else 'makes'} {who}."
    entity = cause.entity
    verb = verb_of(entity.kind, cause.resource_class, over=over)
    suspects = [item for item in incident.changes if item.suspect]
    if suspects:
        return _headline_of_change(incident, max(suspects, key=lambda c: (c.at_s, c.title)), verb)
    place = f" ({cause.place})" if cause.place else ""
    text = f"{_fill(_SUBJECTS[entity.kind], entity)}{place} {verb}"
    if incident.findings:
        first = incident.findings[0]
        if entity.kind is EntityKind.WORKLOAD and first.unit == "/s":
            step = words.change(first.before, first.after, "requests/s")
            can = "could" if over else "can"
            return (
                f"Traffic in {entity.region} rose {step}, above what {entity.region} {can} serve."
            )
        return f"{text}: {finding_clause(first)}."
    return f"{text}."


def _headline_of_change(incident: IncidentReport, change: Change, verb: str) -> str:
    """The causal story of a suspect change: what it set, else what its service does since."""
    cause, over = incident.cause, incident.resolved_at_s is not None
    if cause is None:
        raise ValueError("a headline of a change needs a named cause; name one or leave it out")
    entity = cause.entity
    if change.service and entity.kind is EntityKind.POD and change.region == entity.region:
        entity = Entity(EntityKind.SERVICE, entity.region, change.service)
    own = change.service == entity.name
    for item in incident.findings:
        if own and item.limit and item.before is not None and item.after is not None:
            act = "raised" if item.after > item.before else "cut"
            step = words.change(item.before, item.after, item.unit)
            who = _fill(_SUBJECTS[entity.kind], entity)
            return f"{words.capital(change.short)} of {who} {act} its {item.label} {step}."
    since = "after"
    if cause.resource_class is ResourceClass.CODE and incident.findings:
        verbs = _CODE_VERBS.get(incident.findings[0].unit)
        verb = verbs[over] if verbs else verb
        since = "since" if verbs and not over else since
    what = change.short if own and change.short else change.title
    return f"{_fill(_SUBJECTS[entity.kind], entity)} {verb} {since} {what}."


def verb_of(kind: EntityKind, resource: ResourceClass, *, over: bool = False) -> str:
    """What happened to an entity: "ran short of CPU"; over = it has ended."""
    verbs = _VERBS_OF_KIND.get((kind, resource), _VERBS[resource])
    return verbs[-1] if over else verbs[0]


def state_line(incident: IncidentReport, base: ClockBase) -> str:
    """ "Mitigated 02:09:00, 2 min 45 s after first SLO miss"."""
    missed = incident.first_lane() is not None or incident.first_miss_s != incident.detected_at_s
    # An alert may open an incident of which no minute was bad, or none was measured.
    start_s, what = (
        (incident.first_miss_s, "the first SLO miss")
        if missed
        else (incident.began_at_s, "it began")
    )
    gap = incident.phase_at_s - start_s
    side = "after" if gap >= 0 else "before"
    return (
        f"{incident.phase.value} {words.clock(incident.phase_at_s, base)}, "
        f"{words.span(gap)} {side} {what}"
    )


def confidence_text(value: float) -> str:
    """ "0.82": two decimals, rounded neither up to certainty nor down to nothing."""
    if 0.0 < value < 0.005:
        return "under 0.01"
    return f"{min(value, 0.99):.2f}"


def calibration_text(calibration: Calibration | None) -> str:
    """What a confidence means: "in 44 of 53 similar simulated faults the named cause was ..."."""
    if calibration is None or calibration.cases == 0:
        return f"{_NOT_CALIBRATED}: read it as an order, not a chance"
    low, _ = words.wilson(calibration.hits, calibration.cases)
    return (
        f"in {calibration.hits} of {calibration.cases} similar simulated faults the named cause "
        f"was right; the true rate may be as low as {100 * low:.0f} %"
    )


def calibration_short(calibration: Calibration | None) -> str:
    """The meaning in a few words, for 80 columns."""
    if calibration is None or calibration.cases == 0:
        return f"{_NOT_CALIBRATED}: an order, not a chance"
    return f"right in {calibration.hits} of {calibration.cases} similar simulated faults"


def cause_noun(cause: Cause | Candidate) -> str:
    """ "session-db in eu-west, load"; what is wrong is left out where it is not known."""
    if cause.resource_class is ResourceClass.UNKNOWN:
        return entity_noun(cause.entity)
    return f"{entity_noun(cause.entity)}, {RESOURCE_NOUNS[cause.resource_class]}"


def next_candidate(incident: IncidentReport) -> str:
    """ "session-db in eu-west, load, 0.09", or "none"."""
    for item in incident.candidates:
        if item.confidence is not None:
            return f"{cause_noun(item)}, {confidence_text(item.confidence)}"
    return "none"


def lane_name(lane: Lane) -> str:
    """ "eu-west interactive"."""
    return f"{lane.region} {lane.slo_class}"


def why_not(candidate: Candidate) -> str:
    """Why a candidate was not named; never empty."""
    if candidate.ruled_out:
        return words.capital(candidate.ruled_out)
    value = candidate.confidence
    return "Less evidence" if value is None else f"Less evidence: {confidence_text(value)}"


def run_headline(run: RunReport) -> str:
    """One sentence for the whole run."""
    if not run.complete:
        whole = replace(run, complete=True)
        return f"Stopped early, the rest is not known. {run_headline(whole)}"
    if not run.loop:
        bad = run.minutes_with()
        return (
            f"Without midwatch: {words.count(bad, 'bad minute')} in {words.span(run.duration_s)}."
        )
    gaps = f"; {words.count(len(run.gaps), 'gap')} in the measurements" if run.gaps else ""
    if not run.incidents:
        bad = run.minutes_with()
        tail = "" if not bad else f"; {words.count(bad, 'bad minute')} without an incident"
        return f"No incident in {words.span(run.duration_s)}{tail}{gaps}."
    named = sum(item.cause is not None for item in run.incidents)
    open_ones = len(run.incidents) - named
    parts = [words.count(named, "cause named", "causes named")] if named else []
    parts += [f"{open_ones} cannot be told"] if open_ones else []
    total = words.count(len(run.incidents), "incident")
    return f"{total} in {words.span(run.duration_s)}: {words.listed(parts)}{gaps}."
