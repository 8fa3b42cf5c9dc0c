"""From an answer and its incident to what the pages show: pure, no clock, no file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ops.reports import rca_next, rca_rivals, rca_words, words
from ops.reports.parts import Calibration, ClockBase, Command
from ops.reports.rca_calls import callees, calls_of, entry_of, way
from ops.reports.rca_checked import checked
from ops.reports.rca_graph import draw_graph
from ops.reports.rca_model import Compared, RankReport, SuspectReport
from ops.reports.rca_onsets import first_moves, onset_order
from ops.reports.rca_record import Record
from ops.reports.rca_suspects import suspect_reports
from ops.reports.rca_users import users
from rca.felt import users_notice
from rca.incident import Incident
from rca.localisation import Localisation, Suspect
from rca.presence import PRESENCE_MIN
from rca.state import ChangeEvent

UNIX_MIN_S = 1e8  # a clock beyond it counts from 1970; others from the start of something
METRICS_SHOWN = 20
INSTANCES_SHOWN = 10
Pair = tuple[str, str]


def rank_report(
    found: Localisation,
    incident: Incident,
    *,
    source: str,
    top: int = 5,
    calibration: Calibration | None = None,
    commands: Sequence[Command] = (),
) -> RankReport:
    """Everything that terminal, Markdown and HTML say about one ranking.

    Args:
        incident: the one that `found` answers, spans and logs included.
        source: what was read, as a person would give it again.
        top: suspects to show; the accused are shown in any case.
        calibration: how often a confidence like this one was right.
    """
    record, calls = Record.of(incident, found.split), calls_of(incident)
    entry = entry_of(incident, calls)
    moves = first_moves(found)
    at_s = {name: move.onset_s for name, move in moves.items() if move.onset_s is not None}
    first = [s for s in found.services if s.name in found.accused] or list(found.services[:1])
    field = rca_rivals.Field(
        first=first,
        callees=callees(calls),
        entry=entry,
        step_s=incident.step_s,
        at_s=at_s,
        num_used=sum(channel != "change" for channel in found.used),
    )
    suspects = suspect_reports(found, record, field, top)
    nodes, arcs, onsets_note = onset_order(found, incident, calls, moves)
    told, users_note = users(record, entry)
    noticed = users_notice(found.felt)
    if noticed is False:
        users_note = "Users notice nothing of it: what changed can wait until morning."
    victims = [s for s in found.services if s.channels and s.name not in found.accused]
    victims.sort(key=lambda s: (at_s.get(s.name, math.inf), s.rank))
    return replace(
        _plain_facts(found, incident, record, suspects, field),
        source=source,
        calibration=calibration,
        users=told,
        noticed=noticed,
        users_note=users_note,
        victims=tuple(s.name for s in victims),
        moved_note=_moved_note(found, victims, field),
        graph=draw_graph(
            found, calls, first=[s.name for s in first if s.channels], entry=entry, moves=moves
        ),
        onsets=nodes,
        onset_arcs=arcs,
        onsets_note=onsets_note,
        checked=checked(found, incident, record, len(calls)),
        commands=tuple(commands),
    )


def _plain_facts(
    found: Localisation,
    incident: Incident,
    record: Record,
    suspects: Sequence[SuspectReport],
    field: rca_rivals.Field,
) -> RankReport:
    """What follows from the answer and the table alone, the graph aside."""
    clock, names = clock_of(incident), {s.name for s in found.services}
    named = [s for s in suspects if s.accused]
    root = rca_rivals.waited_for([s.name for s in named], field.callees)
    named.sort(key=lambda s: s.name != root)
    since_s = _since_s(found, named)
    missing = rca_next.missing_parts(incident, _skipped(found))
    return RankReport(
        incident_id=found.incident_id,
        source="",
        clock=clock,
        headline=_headline(found, named, root),
        abstained=found.abstained,
        reason=found.reason,
        confidence=found.confidence,
        presence=found.presence,
        presence_min=PRESENCE_MIN,
        compared=_compared(found, record),
        since_s=since_s,
        num_services=len(found.services),
        num_metrics=sum(not c.is_symptom for c in incident.columns),
        accused=tuple(s.name for s in named),
        suspects=tuple(suspects),
        next_steps=rca_next.next_steps(
            named, [s for s in suspects if not s.accused], incident, clock, since_s=since_s
        ),
        settles=rca_next.settles(missing, suspects[:2], fault_rows=int(record.fault.sum())),
        metrics=tuple((m.rank, m.name, m.service) for m in found.metrics[:METRICS_SHOWN]),
        instances=tuple(s.name for s in found.instances if s.name not in names)[:INSTANCES_SHOWN],
        missing=missing,
        notes=found.notes,
        changes=tuple(
            (c.at_s, f"{c.kind} {c.service} {_revision(c)}", c.service in found.accused)
            for c in sorted(incident.changes)
        ),
    )


def _since_s(found: Localisation, named: Sequence[SuspectReport]) -> float | None:
    """Earliest onset of the accused; spans and logs tell none, so there the split stands in."""
    onsets = [s.onset_s for s in named if s.onset_s is not None]
    if found.split is not None and (not onsets or any(_by_traces(s) for s in named)):
        onsets.append(found.split.fault_start_s)
    return min(onsets, default=None)


def clock_of(incident: Incident) -> ClockBase:
    """Unix time where the stamps are that large, else the record's own clock from zero."""
    unix = bool(len(incident.times_s)) and float(incident.times_s[0]) >= UNIX_MIN_S
    return ClockBase(epoch_s=0.0, simulated=not unix)


def _skipped(found: Localisation) -> Mapping[str, str]:
    granger = {} if found.granger.used else {"granger": found.granger.why}
    return {**found.skipped, **granger}


def _revision(change: ChangeEvent) -> str:
    ends = [part for part in (change.revision_from, change.revision_to) if part]
    return change.summary or " → ".join(ends)


def _headline(found: Localisation, named: Sequence[SuspectReport], root: str) -> str:
    if not found.services:
        return "Nothing to rank: no column belongs to a service"
    if found.split is None:
        return "No cause found: nothing can be compared"
    if not named:
        return "No cause found: nothing stands out"
    who = words.listed([item.name for item in named])
    if root:
        others = [item.name for item in named if item.name != root]
        verb = "waits" if len(others) == 1 else "wait"
        found_here = next(item.found for item in named if item.name == root)
        return f"{root}, which {words.listed(others)} {verb} for: {found_here or 'at fault'}"
    if len(named) > 1:
        which = "one or both" if len(named) == 2 else "one or more"
        return f"{who}: {which} of them at fault"
    item = named[0]
    where = f", pod {item.pod}" if item.pod else ""
    return f"{who}{where}: {item.found}" if item.found else f"{who}{where} is at fault"


def _moved_note(found: Localisation, victims: Sequence[Suspect], field: rca_rivals.Field) -> str:
    """How far it spread, and how much of that waits for the accused."""
    total = len(found.services)
    if not found.accused:
        if not victims:
            return f"None of {total} services left its usual range."
        return f"{len(victims)} of {total} services left their usual range, none far enough."
    if not victims:
        return f"No other of {total} services moved more than usual."
    waiting = [
        s.name for s in victims if any(way(field.callees, s.name, name) for name in found.accused)
    ]
    names = rca_words.shortened([s.name for s in victims], 4)
    text = f"{len(victims)} of the other {total - len(found.accused)} services moved: {names}."
    if waiting:
        text += f" {len(waiting)} of them {'call' if len(waiting) > 1 else 'calls'} it, "
        text += "directly or through others."
    return text


def _compared(found: Localisation, record: Record) -> Compared:
    split, times = found.split, record.times_s
    return Compared(
        start_s=float(times[0]) if len(times) else 0.0,
        end_s=float(times[-1]) if len(times) else 0.0,
        step_s=record.incident.step_s,
        normal_end_s=None if split is None else split.normal_end_s,
        fault_start_s=None if split is None else split.fault_start_s,
        normal_rows=int(record.normal.sum()),
        fault_rows=int(record.fault.sum()),
        given_s=record.incident.fault_at_s,
        found_s=found.change_at_s,
    )


def _by_traces(item: SuspectReport) -> bool:
    return bool(item.channels) and item.channels[0] != "metric"
