"""What midwatch did, when its effect was judged, and what of it can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from ops.reports import words
from ops.reports.build_findings import told
from ops.reports.build_story import done_title, taken_back
from ops.reports.parts import DoneAction
from ops.reports.undo import undo_command
from ops.state import ActionKind, ActionRecord, Decision, Incident, Verdict


def done_of(
    incident: Incident, decisions: Sequence[Decision], *, usual: bool | None = None
) -> tuple[DoneAction, ...]:
    """Actions with their verdicts; one that was taken back needs no undo any more.

    Args:
        usual: the cause's own measurements are back in their normal band; None = not known.
    """
    back = taken_back(decisions)
    together = {r.action.action_id for pair in _at_once(incident, back) for r in pair}
    done = []
    for record in incident.actions:
        action = record.action
        if action.kind is ActionKind.UNDO:
            continue  # told with what it took back
        taken_back_s = back.get(action.action_id)
        needless = action.undo.startswith("none needed") or record.verdict is Verdict.BLOCKED
        keep = taken_back_s is None and not needless
        command = undo_command(action) if keep else ""
        done.append(
            DoneAction(
                at_s=record.decided_at_s,
                title=done_title(action),
                verdict=record.verdict,
                verdict_text=_verdict(record),
                verdict_reason=_reason(record, incident, action.action_id in together),
                checked_at_s=record.checked_at_s,
                taken_back_s=taken_back_s,
                undo=action.undo if keep and not command else "",
                undo_command=command,
                undo_note=undo_note(record, usual) if keep else "",
            )
        )
    return tuple(done)


def done_note(incident: Incident, decisions: Sequence[Decision]) -> str:
    """That actions ran at once, with the figure from before all of them; empty = none did."""
    pairs = _at_once(incident, taken_back(decisions))
    if not pairs:
        return ""
    names = {r.action.action_id: r for pair in pairs for r in pair}
    both = "Both" if len(names) == 2 else f"These {len(names)}"
    text = f"{both} ran at the same time: which of them helped cannot be told."
    own = [r for r in names.values() if r.action.kind is not ActionKind.SHIFT_TRAFFIC]
    first = min(own or names.values(), key=lambda r: (r.decided_at_s, r.action.action_id))
    if first.bad_ratio_before is None:
        return text
    share = words.percent(first.bad_ratio_before)
    return f"{text} Of {_whose(first, incident)} that ended just before, {share} were bad."


def undo_note(record: ActionRecord, usual: bool | None) -> str:
    """What taking an action back does to the users; empty where it is not known to matter."""
    if record.verdict is not Verdict.EFFECTIVE and usual is not False:
        return ""
    sure = record.action.kind is ActionKind.ROLLBACK and record.verdict is Verdict.EFFECTIVE
    if usual and not sure:
        return ""
    return "brings the fault back" if sure else "may bring the fault back"


def _at_once(incident: Incident, back: dict[str, float]) -> list[tuple[ActionRecord, ActionRecord]]:
    """Pairs of actions of which each acted before the other was judged."""
    records = [
        r
        for r in incident.actions
        if r.action.kind is not ActionKind.UNDO
        and r.verdict not in (Verdict.BLOCKED, Verdict.PENDING)
    ]

    def end_s(record: ActionRecord) -> float:
        checked_s = record.decided_at_s if record.checked_at_s is None else record.checked_at_s
        return min(checked_s, back.get(record.action.action_id, checked_s))

    return [
        (a, b)
        for a, b in combinations(records, 2)
        if a.decided_at_s < end_s(b) and b.decided_at_s < end_s(a)
    ]


def _verdict(record: ActionRecord) -> str:
    return "No effect seen" if record.verdict is Verdict.NO_EFFECT else record.verdict.value


def _whose(record: ActionRecord, incident: Incident) -> str:
    """The requests that judge an action: those of the region that suffers, and where users went."""
    regions = [incident.symptom.region]
    action = record.action
    other = action.target.region if "for_region" in action.params else ""
    if action.kind is ActionKind.SHIFT_TRAFFIC:
        other = str(action.params["to_region"])
    if other and other not in regions:
        regions.append(other)
    return f"the requests of {words.listed(regions)}"


def _reason(record: ActionRecord, incident: Incident, together: bool) -> str:
    """The shares of bad requests with whose they are; the reason as it stands where none are."""
    before, after = record.bad_ratio_before, record.bad_ratio_after
    if before is None or after is None or record.verdict in (Verdict.BLOCKED, Verdict.PENDING):
        return told(record.verdict_reason.strip("; "))
    whose = _whose(record, incident)
    text = (
        f"of {whose} that ended just before the check, {words.percent(after)} were bad"
        if together
        else f"of {whose} that ended just before it, {words.percent(before)} were bad; just "
        f"before the check, {words.percent(after)}"
    )
    if record.verdict is Verdict.NO_EFFECT and after < before:
        text += "; the share fell by less than half, too little to count as an effect"
    elif record.verdict is Verdict.NO_EFFECT and before == 0.0:
        text += "; there was nothing to mend"
    return text
