"""What to check or do next, and what would settle the question: from the kind of evidence alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ops.reports import rca_words, words
from ops.reports.parts import ClockBase, Step
from ops.reports.rca_model import SuspectReport
from rca.incident import Incident
from rca.metric_kinds import Measured, sense
from rca.state import ChangeEvent

# Where to look, by what moved. No row knows a fault: it says how a person checks the measurement.
_LOOK: dict[Measured, str] = {
    Measured.CPU: "See which process or request uses the CPU, and whether the limit throttles it.",
    Measured.MEMORY: "See whether memory still grows, and look for restarts and OOM kills.",
    Measured.GPU: "Look at the clock, memory and error counters of its GPUs.",
    Measured.DISK: "Look at the volume: throughput, latency, space and who writes to it.",
    Measured.NETWORK: "Look at packet loss, retransmissions and connection counts of its pods.",
    Measured.LATENCY: "Open slow traces of it and see where they wait: in it or in a callee.",
    Measured.CLIENT_LATENCY: "The calls that it sends are slow: look at the services it calls.",
    Measured.ERRORS: "Read its log for the errors behind the count.",
    Measured.SUCCESS: "Read its log for the requests that fail.",
    Measured.AVAILABILITY: "See whether its pods are up and ready, and why not.",
    Measured.TRAFFIC: "See who sends more or less to it: users, a caller's retries, a job.",
    Measured.QUEUE: "See what its queue waits for: workers, connections, a callee.",
    Measured.NODE: "Look at the machine and at what else runs there.",
    Measured.OTHER: "Open the metric and see whether it still moves.",
}
_LOOK_TRACES = {
    "self-time": "Profile the operation, or open slow traces of it: the time is its own.",
    "edges": "Look between the two: packet loss, DNS, connection pool, proxy, the machine.",
    "structure": "Read what the operation does now: a call was added, skipped or repeated.",
    "sequences": "Read the requests that lack or have the line, and the code around it.",
    "errors": "Read the requests with the error line, and what the line blames.",
    "change": "Take the change back if nothing speaks against it.",
}
MISSING_MAX = 4
CHANGES_MAX = 3


def next_steps(
    named: Sequence[SuspectReport],
    rivals: Sequence[SuspectReport],
    incident: Incident,
    clock: ClockBase,
    *,
    since_s: float | None,
) -> tuple[Step, ...]:
    """Steps for the accused in the order in which to take them; else what is safe meanwhile."""
    if not named:
        return _wait(rivals, clock)
    first = named[0]
    at = f" {words.clock(since_s, clock)}" if since_s is not None else ""
    steps = [
        Step(title=f"Confirm on {item.name}.", detail=_confirm(item, clock)) for item in named[:2]
    ]
    who = words.listed([item.name for item in named])
    if incident.changes:
        mine = [c for c in incident.changes if c.service in {item.name for item in named}]
        what = (
            f"Announced: {'; '.join(_change(c, clock) for c in mine[-CHANGES_MAX:])}."
            if mine
            else f"None of {words.count(len(incident.changes), 'announced change')} is of {who}."
        )
    else:
        what = "The record holds no announced changes, so midwatch could not look."
    steps.append(Step(title=f"Ask what changed on {who} before{at}.", detail=what))
    steps.append(Step(title="If it is confirmed:", detail=_relieve(first, incident, clock)))
    if rivals and first.rank == 1 and len(named) == 1:
        other = rivals[0]
        steps.append(
            Step(
                title="If it is not:",
                detail=f"look at {other.name} next{f': {other.found}' if other.found else ''}.",
            )
        )
    return tuple(steps)


def _wait(leaders: Sequence[SuspectReport], clock: ClockBase) -> tuple[Step, ...]:
    """Nothing is changed on a guess; the leader is watched."""
    steps = [Step(title="Change nothing on this ranking.", detail="It may be chance.")]
    if leaders and leaders[0].channels:
        steps.append(Step(title=f"Watch {leaders[0].name}.", detail=_confirm(leaders[0], clock)))
    return tuple(steps)


def _confirm(item: SuspectReport, clock: ClockBase) -> str:
    """Which measurement to open and what to look at in it."""
    reading = item.readings[0] if item.readings else None
    if reading is None:
        return "Open its dashboards around the onset."
    if reading.channel != "metric":
        look = _LOOK_TRACES.get(reading.channel, "Open its dashboards around the onset.")
        return f"{rca_words.cut(reading.label, 80)}: {words.small(look)}"
    since = "" if reading.onset_s is None else f" since {words.clock(reading.onset_s, clock)}"
    figures = words.change(reading.before, reading.after, reading.unit)
    look = _LOOK[rca_words.kind_of(reading)]
    return f"{reading.detail} {reading.label} went {figures}{since}. {look}"


def _change(change: ChangeEvent, clock: ClockBase) -> str:
    what = change.summary or change.revision_to
    return f"{words.clock(change.at_s, clock)} {change.kind} {change.service} {what}".rstrip()


def _relieve(item: SuspectReport, incident: Incident, clock: ClockBase) -> str:
    """The bounded action that can be undone."""
    mine = [c for c in sorted(incident.changes) if c.service == item.name]
    if mine:
        what = mine[-1].summary or mine[-1].revision_to
        return (
            f"take back the {mine[-1].kind} of {item.name} at {words.clock(mine[-1].at_s, clock)}"
            f"{f' ({what})' if what else ''}. Undo: apply it again."
        )
    if item.pod:
        return (
            f"take {item.pod} out of service; the other pods of {item.name} did not move. "
            "Undo: put it back."
        )
    return (
        "roll back its last change; without one restart or add a replica, one pod first. "
        "Undo: roll forward."
    )


def missing_parts(incident: Incident, skipped: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(part, what it would tell) of what the record lacks; most telling first."""
    owned = [c for c in incident.columns if not c.is_symptom]
    kinds = {sense(column.metric).kind for column in owned}
    found = []
    if incident.spans is None:
        found.append(("spans", "which operation is slow by itself and which call waits"))
    if incident.logs is None:
        found.append(("log lines", "error lines, and exceptions or early returns"))
    if not incident.changes:
        found.append(("announced changes", "whether a deploy or config change came shortly before"))
    if not incident.calls and incident.spans is None:
        found.append(("calls between services", "whether a callee explains what its callers show"))
    if not kinds & {Measured.LATENCY, Measured.CLIENT_LATENCY, Measured.ERRORS, Measured.SUCCESS}:
        found.append(("latency and errors of services", "network faults and failing requests"))
    if not kinds & {Measured.CPU, Measured.MEMORY}:
        found.append(("CPU and memory of services", "which service runs out of something"))
    if not any(c.is_symptom for c in incident.columns) and not incident.entry:
        found.append(("what users get (sli_ columns or an entry)", "whether users are hurt at all"))
    if "granger" in skipped:
        found.append(("more normal rows", f"what leads what: {skipped['granger']}"))
    return tuple(found)


def settles(
    missing: Sequence[tuple[str, str]],
    leaders: Sequence[SuspectReport],
    *,
    fault_rows: int,
) -> tuple[str, ...]:
    """What would decide between the first candidates, or whether anything happened."""
    found = []
    if 0 < fault_rows < 10:
        found.append(
            f"More rows since the onset: only {words.count(fault_rows, 'row')} could be compared. "
            "Rank again in a few minutes."
        )
    found += [f"{words.capital(part)}: {tells}." for part, tells in missing[:MISSING_MAX]]
    if len(leaders) > 1:
        first, second = leaders[0], leaders[1]
        found.append(
            f"A look at {first.name} and {second.name} side by side: which of them still moves?"
        )
    return tuple(found)
