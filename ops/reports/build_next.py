"""What a person does tonight and looks at in the morning: one step each, which never disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ops.proposals import as_judged, is_allowed, is_unjudged
from ops.reports import sentence, words
from ops.reports.build_done import undo_note
from ops.reports.build_steps import LASTING, WELL, in_force, standing
from ops.reports.build_story import done_title
from ops.reports.looks import look, look_back
from ops.reports.parts import ClockBase, Command, Step
from ops.reports.place import Place, has_restarted, place_of
from ops.reports.queries import Period, query_of
from ops.reports.reach import ByName, Reach
from ops.reports.undo import no_undo, undo_command
from ops.state import (
    ActionKind,
    ActionRecord,
    Decision,
    Incident,
    IncidentPhase,
    Verdict,
)
from rca.state import EntityKind, MetricFrame, RankedCause, ResourceClass

NOTHING = "Nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What both steps are made of.

    Attributes:
        restarted: a container of the accused pod was, during the incident.
        usual: the cause's own measurements are back in their normal band; None = not known.
        period: when it happened; place: where an accused pod ran.
        query: shows the cause over the period; empty = nothing of it is measured.
        reach: how what runs a service is found.
    """

    incident: Incident
    decisions: Sequence[Decision]
    cause: RankedCause | None
    usual: bool | None
    period: Period
    place: Place
    query: str = ""
    restarted: bool = False
    reach: Reach = field(default_factory=ByName)


def scene_of(
    incident: Incident,
    decisions: Sequence[Decision],
    cause: RankedCause | None,
    *,
    usual: bool | None,
    frame: MetricFrame | None,
    end_s: float,
    clock: ClockBase,
    reach: Reach | None = None,
) -> Scene:
    """What an incident's steps are made of; without a cause the likeliest candidate is shown.

    Args:
        frame: what was measured; end_s: end of the record.
        reach: how what runs a service is found; None = by its name.
    """
    shown = cause or _likeliest(incident)
    mended_s = end_s if incident.mitigated_at_s is None else incident.mitigated_at_s
    period = Period(from_s=incident.began_at_s, to_s=mended_s, clock=clock)
    restarts = [r for r in incident.actions if r.action.kind is ActionKind.RESTART_POD]
    counted = shown is not None and has_restarted(
        shown.entity, frame, from_s=min(period.from_s, incident.detected_at_s), to_s=end_s
    )
    return Scene(
        incident=incident,
        decisions=decisions,
        cause=cause,
        usual=usual,
        period=period,
        place=place_of(shown, frame),
        query=query_of(shown, frame, period) if shown else "",
        restarted=bool(restarts) or counted,
        reach=reach or ByName(),
    )


def tonight_of(scene: Scene) -> Step:
    """What to do now, with the way back from what is in force."""
    incident = scene.incident
    undo, notes = _undo(scene)
    if incident.phase in WELL:
        watch = incident.phase is IncidentPhase.MITIGATED
        goes_on = ["midwatch goes on watching."] if watch else []
        return Step(title=NOTHING, detail=" ".join([*goes_on, *notes]), commands=undo)
    step = _step_of_abstention(scene) if scene.cause is None else _step_while_hurt(scene)
    detail = " ".join([step.detail, *notes]).strip()
    return Step(title=step.title, detail=detail, commands=(*step.commands, *undo))


def morning_of(scene: Scene) -> Step | None:
    """What to look at when users are well; None where a person must find the cause now."""
    incident, cause = scene.incident, scene.cause
    if cause is None:
        likeliest = _likeliest(incident)
        if incident.phase not in WELL or likeliest is None:
            return None
        noun = sentence.entity_noun(likeliest.entity)
        return Step(
            title=f"Look at {noun} first; it is likeliest.",
            detail=_settle(incident),
            commands=_back(scene, likeliest),
        )
    acting = standing(incident, scene.decisions)
    extra = [r for r in acting if r.action.kind is ActionKind.SCALE_OUT]
    title, rest = _find_out(scene, cause), ""
    if extra:
        when = "" if scene.usual else " when the demand is usual again"
        rest = f" {title}"
        title = f"Take back {words.listed([in_force(r) for r in extra])}{when}."
    commands = [
        Command(label=label, text=text)
        for r in extra
        for label, text in (("Run", undo_command(r.action)), ("Undo", r.action.command))
        if text
    ]
    return Step(title=title, detail=rest.strip(), commands=(*commands, *_back(scene, cause)))


def without_repeats(later: Step | None, tonight: Step) -> Step | None:
    """What to look at later, without what tonight's step shows already."""
    if later is None:
        return None
    shown = [one for one in tonight.commands if one.label == "Look"]
    return replace(later, commands=tuple(one for one in later.commands if one not in shown))


def _undo(scene: Scene) -> tuple[tuple[Command, ...], list[str]]:
    """Commands that take back what acts, and sentences on what they do or why there is none."""
    acting = standing(scene.incident, scene.decisions)
    commands, notes = [], []
    well = scene.incident.phase in WELL
    for record in acting:
        why_not, command = no_undo(record.action), undo_command(record.action)
        if why_not:
            notes.append(why_not)
        if record.action.kind not in LASTING:
            continue
        note = undo_note(record, scene.usual)
        later = record.action.kind is ActionKind.SCALE_OUT and well
        until = " until the morning" if later else ""
        if later:
            note = ""
        notes.append(
            f"{words.capital(in_force(record))} stays{until}{_ends(record)}."
            + (f" Taking it back {note}." if note else "")
        )
        if later and command:
            continue  # taking it back is a step of the morning
        if command:
            commands.append(Command(label="Undo", text=command))
        else:
            notes.append(f"Undo: {record.action.undo}.")
    if not acting:
        notes.append("Nothing that midwatch did is in force, so there is nothing to undo.")
    return tuple(commands), list(dict.fromkeys(notes))


def _ends(record: ActionRecord) -> str:
    by_itself = (ActionKind.SHIFT_TRAFFIC, ActionKind.LIMIT_ADMISSION)
    return " and ends by itself" if record.action.kind in by_itself else ""


def _step_while_hurt(scene: Scene) -> Step:
    cause, incident = scene.cause, scene.incident
    if cause is None:
        raise ValueError("a step for hurt users needs a cause; take that of an abstention")
    done = [r for r in incident.actions if r.action.kind is not ActionKind.UNDO]
    pending = [r for r in done if r.verdict is Verdict.PENDING]
    if any(r.verdict is Verdict.EFFECTIVE for r in done):
        detail = "Users are better and not well yet."
    elif pending:
        return Step(
            title=f"Wait for the check of what was done: {done_title(pending[-1].action)}.",
            detail="Its outcome is not known yet.",
            commands=look(cause, reach=scene.reach),
        )
    else:
        refused = _refused(scene.decisions)
        if refused is not None:
            return refused
        tried = "Nothing that was done helped" if done else "No action fits this cause"
        detail = f"{tried}; a person must decide."
    noun = sentence.entity_noun(cause.entity)
    return Step(title=f"Look at {noun}.", detail=detail, commands=look(cause, reach=scene.reach))


def _refused(decisions: Sequence[Decision]) -> Step | None:
    """The best action that was proposed and not taken, left to a person with its command."""
    told = next(iter(as_judged(decisions)), None)
    action = told.action if told is not None else None
    if told is None or action is None or not action.command:
        return None
    detail, undo = f"It did not: {told.reason}.", undo_command(action)
    if is_allowed(told):
        detail = "Midwatch only recommends here, it has changed nothing."
    elif is_unjudged(told.reason):
        detail += " Nothing is known against it."
    commands = [Command(label="Run", text=action.command)]
    if undo:
        commands.append(Command(label="Undo", text=undo))
    elif action.undo:
        detail += f" Undo: {action.undo}."
    return Step(
        title=f"Decide by hand: midwatch would have {done_title(action)}.",
        detail=detail,
        commands=tuple(commands),
    )


def _step_of_abstention(scene: Scene) -> Step:
    likeliest = _likeliest(scene.incident)
    detail = _settle(scene.incident)
    if likeliest is None:
        return Step(title="Look at what users of this region get.", detail=detail)
    noun = sentence.entity_noun(likeliest.entity)
    return Step(
        title=f"Check {noun} first; it is likeliest.",
        detail=detail,
        commands=look(likeliest, reach=scene.reach),
    )


def _likeliest(incident: Incident) -> RankedCause | None:
    result = incident.result
    return result.causes[0] if result and result.causes else None


def _settle(incident: Incident) -> str:
    settle = incident.result.would_settle if incident.result else ()
    return f"{settle[0]} would settle it." if settle else ""


def _find_out(scene: Scene, cause: RankedCause) -> str:
    """What is left to find out once users are well."""
    rollbacks = [
        r.action
        for r in standing(scene.incident, scene.decisions)
        if r.action.kind is ActionKind.ROLLBACK and r.verdict is Verdict.EFFECTIVE
    ]
    if rollbacks:
        service = rollbacks[-1].target.name
        return f"Find out what is wrong with the change of {service} before it is rolled out again."
    if cause.entity.kind is EntityKind.WORKLOAD:
        return "Find out who sent the traffic: the entry's access logs by client."
    noun = sentence.entity_noun(cause.entity)
    if cause.resource_class is ResourceClass.UNKNOWN:
        return f"Find out what was wrong with {noun}; it may come back."
    if scene.place.node:
        noun += f" ({scene.place})"
    verb = sentence.verb_of(cause.entity.kind, cause.resource_class, over=True)
    return f"Find out why {noun} {verb}; it may come back."


def _back(scene: Scene, cause: RankedCause) -> tuple[Command, ...]:
    kinds = {
        r.action.kind
        for r in standing(scene.incident, scene.decisions)
        if r.verdict is Verdict.EFFECTIVE or r.action.kind is ActionKind.REPLACE_POD
    }
    return look_back(
        cause,
        place=scene.place,
        period=scene.period,
        query=scene.query,
        gone=ActionKind.REPLACE_POD in kinds or ActionKind.CORDON_DRAIN_NODE in kinds,
        changed=ActionKind.ROLLBACK in kinds,
        restarted=scene.restarted,
        reach=scene.reach,
    )
