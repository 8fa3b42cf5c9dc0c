"""Gaps of a report from the abstentions of a journal that belong to no incident."""

from __future__ import annotations

from collections.abc import Sequence

from ops.gaps import Gap
from ops.reports import sentence, words
from ops.reports.build_evidence import label_of_name
from ops.reports.build_next import NOTHING
from ops.reports.build_story import change_title
from ops.reports.looks import look_at_job
from ops.reports.parts import Change, ClockBase, Step
from ops.reports.parts_gap import GapReport
from ops.reports.queries import Period, ranged, selector
from ops.staleness import EVERY_REGION
from ops.state import Decision, DecisionKind
from rca.state import ChangeEvent, EntityKind, ResourceClass, Series

_MEASURES_MAX = 5
_CHANGES_S = 1800.0
_MAY = "May have hidden"
# Resources whose nouns read well after "cannot see".
_PLAIN = frozenset(
    {
        ResourceClass.CPU,
        ResourceClass.MEMORY,
        ResourceClass.GPU_CLOCK,
        ResourceClass.GPU_MEMORY,
        ResourceClass.GPU_DEVICE,
        ResourceClass.NETWORK,
        ResourceClass.POOL,
    }
)
_PLURALS = {EntityKind.REGISTRY: "registries", EntityKind.TELEMETRY: "scrape jobs"}


def gaps_of(
    decisions: Sequence[Decision], clock: ClockBase, changes: Sequence[ChangeEvent] = ()
) -> tuple[GapReport, ...]:
    """One report per gap, in the order in which they were noticed."""
    return tuple(
        _gap(d, gap, _until_s(decisions, d, gap), clock, changes)
        for d in decisions
        if d.kind is DecisionKind.ABSTAIN and isinstance(gap := d.details.get("gap"), Gap)
    )


def _until_s(decisions: Sequence[Decision], noticed: Decision, gap: Gap) -> float | None:
    for d in decisions:
        same = d.details.get("entity") == gap.job and d.details.get("since_s") == gap.since_s
        if d.kind is DecisionKind.NOTE and d.at_s > noticed.at_s and same:
            return float(d.details["until_s"])
    return None


def _gap(
    decision: Decision,
    gap: Gap,
    until_s: float | None,
    clock: ClockBase,
    changes: Sequence[ChangeEvent],
) -> GapReport:
    job = f"scrape job {gap.job.name}"
    since = words.clock(gap.since_s, clock)
    over = "" if until_s is None else words.clock(until_s, clock)
    headline = (
        f"midwatch could not see {_what(gap)} from {since} to {over}: {job} was silent."
        if over
        else f"midwatch cannot see {_what(gap)} since {since}: {job} is silent."
    )
    return GapReport(
        job=gap.job,
        since_s=gap.since_s,
        noticed_at_s=decision.at_s,
        until_s=until_s,
        headline=headline,
        now=_now(gap, over),
        figures=_figures(gap),
        hidden=_not_seen(gap),
        seen=_seen(gap),
        checked=(
            f"{gap.num_others} other scrape jobs{_of(gap)}",
            *decision.details.get("checked", ()),
        ),
        would_settle=tuple(map(_settles, decision.details.get("would_settle", ()))),
        next_step=_tonight(gap, until_s),
        morning=_morning(gap, until_s, clock),
        changes=_changes(gap, changes),
        done="none. A gap says nothing against what it hides, so nobody is accused and nothing "
        "is changed.",
    )


def _what(gap: Gap) -> str:
    """What a person misses most: users, else resources where these say it, else series."""
    if not _users_seen(gap):
        return f"what users{_of(gap)} get"
    missed = words.count(gap.num_series, "series", "series")
    if gap.resources and set(gap.resources) <= _PLAIN:
        missed = words.listed([sentence.RESOURCE_NOUNS[r] for r in gap.resources])
    return f"{missed} of {_hidden(gap)}"


def _users_seen(gap: Gap) -> bool:
    return 0 < gap.num_lanes == gap.users_seen


def _of(gap: Gap) -> str:
    return "" if gap.job.region == EVERY_REGION else f" of {gap.job.region}"


def _hidden(gap: Gap) -> str:
    """ "31 pods in us-east"."""
    counted = [
        words.count(number, str(kind), _PLURALS.get(kind, ""))
        for kind, number in gap.num_hidden.items()
    ]
    where = "all regions" if gap.job.region == EVERY_REGION else gap.job.region
    return f"{words.listed(counted) or 'its targets'} in {where}"


def _now(gap: Gap, over: str) -> str:
    """Whether users are known to be well, and whether somebody has to do something."""
    if not _users_seen(gap):
        if not over:
            return "Nobody knows whether these users are well. A person must look."
        return f"Nobody knows what they got meanwhile; counted again since {over}."
    if gap.incident_ids:
        users = f"Users{_of(gap)} suffer at the same time: {words.listed(gap.incident_ids)}."
    else:
        users = f"No user{_of(gap)} is known to suffer."
    if over:
        return f"{users} Measured again since {over}."
    return f"{users} Until it is measured again, a fault in what is hidden may go unnamed."


def _figures(gap: Gap) -> tuple[tuple[str, str], ...]:
    left = gap.num_known - gap.num_series
    bad = words.percent(gap.bad_ratio)
    return (
        (words.change(gap.num_known, left, ""), f"series{_of(gap)} that bring values."),
        (bad, f"share of bad requests{_of(gap)} when the gap was noticed."),
    )


def _not_seen(gap: Gap) -> tuple[str, ...]:
    names = [label_of_name(name) for name in gap.measures]
    shown = names if len(names) <= _MEASURES_MAX else names[: _MEASURES_MAX - 1]
    rest = len(names) - len(shown)
    listed = words.listed([*shown, *([f"{rest} more measurements"] if rest else [])])
    found = [f"{words.capital(listed)}."] if listed else []
    known = [sentence.RESOURCE_NOUNS[r] for r in gap.resources if r in _PLAIN]
    trouble = f"Trouble with {words.listed(known)}" if known else "Trouble"
    found.append(f"{trouble} of {_hidden(gap)} would show only in other measurements.")
    return tuple(found)


def _seen(gap: Gap) -> tuple[str, ...]:
    found = []
    if gap.num_lanes:
        which = f"{gap.users_seen} of {gap.num_lanes}"
        source = words.listed([sentence.entity_noun(e) for e in gap.users_from])
        told = f", from {source}" if source and gap.users_seen else ""
        found.append(f"What users{_of(gap)} get: {which} SLO classes are counted{told}.")
    found.append(f"{gap.num_answering} of {gap.num_others} other scrape jobs{_of(gap)} answer.")
    pods = gap.num_hidden.get(EntityKind.POD, 0)
    if pods:
        found.append(f"{gap.pods_ready} of the {pods} hidden pods are ready, says the cluster.")
    return tuple(found)


def _settles(reading: object) -> str:
    if not isinstance(reading, Series):
        return f"{reading}."
    return f"{selector(reading)}: 1 = answers, 0 = its targets do not answer, none = not asked."


def _tonight(gap: Gap, until_s: float | None) -> Step:
    safe = "Looking changes nothing, so there is nothing to undo."
    if until_s is not None:
        return Step(title=NOTHING, detail="Nothing was done, so there is nothing to undo.")
    job = sentence.entity_noun(gap.job)
    return Step(
        title=f"Check {job}: do its targets answer, and does anybody ask them?",
        detail=safe,
        commands=look_at_job(gap.job, selector(gap.reading)),
    )


def _morning(gap: Gap, until_s: float | None, clock: ClockBase) -> Step | None:
    """What to look at when it is over; None while the job is silent and must be looked at now."""
    if until_s is None:
        return None
    period = Period(from_s=gap.since_s, to_s=until_s, clock=clock)
    length = words.span(until_s - gap.since_s)
    return Step(
        title=f"Find out why {sentence.entity_noun(gap.job)} was silent for {length}.",
        commands=look_at_job(gap.job, ranged(selector(gap.reading), period)),
    )


def _changes(gap: Gap, changes: Sequence[ChangeEvent]) -> tuple[Change, ...]:
    """The changes of the 30 minutes before it, each with whether it may have hidden the metrics."""
    return tuple(
        Change(
            at_s=c.at_s,
            title=change_title(c),
            region=c.region,
            suspect=why.startswith(_MAY),
            why=f"{words.span(gap.since_s - c.at_s)} before the gap. {why}",
            service=c.service,
        )
        for c in changes
        if 0.0 <= gap.since_s - c.at_s <= _CHANGES_S
        for why in (_may_hide(gap, c),)
    )


def _may_hide(gap: Gap, change: ChangeEvent) -> str:
    services = gap.num_hidden.get(EntityKind.SERVICE, 0)
    if gap.job.region not in (EVERY_REGION, change.region):
        return f"Cannot have hidden metrics of {gap.job.region}: other region"
    if change.service == gap.job.name:
        return f"{_MAY} the metrics: it changed {change.service} itself"
    if services > 1:
        return (
            f"Cannot have hidden metrics of {services} services at once: "
            f"it changed {change.service} alone"
        )
    return f"{_MAY} the metrics: same region"


def state_line(gap: GapReport, clock: ClockBase) -> str:
    """ "Abstained from naming a cause 13:12:31, 51 s after the last scrape"."""
    lag = words.span(gap.noticed_at_s - gap.since_s)
    noticed = words.clock(gap.noticed_at_s, clock)
    return f"Abstained from naming a cause {noticed}, {lag} after the last scrape"
