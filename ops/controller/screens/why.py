"""`kubectl midwatch why`: one Incident on one screen, most needed first."""

from __future__ import annotations

from ops.controller.resources.fields import ConditionStatus
from ops.controller.resources.incident import ActionStatus, actions_best_first
from ops.controller.screens import told
from ops.controller.screens.current import now
from ops.controller.screens.look import (
    WORKER,
    WORKLOADS,
    Kubectl,
    look_commands,
    operator_commands,
    worker_commands,
)
from ops.controller.screens.stored import StoredFleet, StoredIncident, condition
from ops.proposals import is_unjudged
from ops.reports import words
from ops.reports.rca_terminal import CAUSE, PLAIN, QUIET, STRONG, Line
from ops.reports.terminal import labelled, wrapped
from ops.reports.words import plain
from rca.state import CONTRADICTION

EVIDENCE_SHOWN, RULED_OUT_SHOWN, KEYS_SHOWN, MISSING_SHOWN = 2, 3, 4, 4
COMMANDS, NO_WRAP = ("run", "undo", "request", "patch", "look", "report"), 100_000
Rows = list[tuple[str, str]]


def why_lines(
    incident: StoredIncident,
    *,
    fleet: StoredFleet | None = None,
    now_s: float,
    width: int = 80,
    whole: bool = False,
    options: str = "",
    leader: str = "",
    workload: str = WORKLOADS[0],
) -> list[Line]:
    """The answer.

    Args:
        workload: what runs the pods of the suspect, where that is a service.
        leader: why no operator leads, empty where one does or nobody may know.
        fleet: its Fleet; None where it is gone or may not be read.
        width: columns of a line, at least 40.
        whole: everything that is recorded, not the first of each.
        options: of the plugin, behind the commands that are proposed, e.g. " --context eu".
    """
    status = incident.status
    top = f"{incident.namespace}/{incident.name}"
    lines = [Line(text, STRONG) for text in labelled("!", leader, width, 2)] if leader else []
    lines += [Line(text, QUIET) for text in wrapped(plain(top), width)]
    state = told.state(incident, now_s=now_s) + told.named_after(incident)
    lines += [Line(text, QUIET) for text in wrapped(state, width)]
    style = CAUSE if status.cause else STRONG
    lines += [Line(text, style) for text in wrapped(plain(told.headline(incident)), width)]
    kubectl = Kubectl(namespace=incident.namespace, options=options, workload=workload)
    if not incident.seen:
        text = "If this stays so, see whether it runs:"
        lines += [Line(t) for t in wrapped(text, width)]
        return lines + [Line(f"  {command}") for command in operator_commands(kubectl)]
    if sure := told.confidence(incident):
        lines += [Line(text) for text in wrapped(plain(sure), width)]
    silent = told.silence(incident, fleet)
    rows = _evidence(incident, silent, whole=whole)
    rows += _suffering(incident, fleet, watched=not leader, now_s=now_s)
    rows += _next(incident, fleet, silent, kubectl, now_s=now_s, whole=whole, watched=not leader)
    rows += _look(incident, silent, kubectl, whole=whole)
    rows += _ruled_out(incident, whole=whole)
    rows += _about(incident, options)
    for label, text in rows:
        # A command is one line, however long: it is there to be copied.
        columns = NO_WRAP if label.strip() in COMMANDS else width
        shown = plain(text) if label.strip() in COMMANDS else plain(words.arrows(text))
        lines += [Line(t, PLAIN) for t in labelled(label, shown, columns)]
    return lines


def _evidence(incident: StoredIncident, silent: str, *, whole: bool) -> Rows:
    status = incident.status
    rows: Rows = [] if status.cause else told.no_cause(incident, silent)
    if status.cause and status.causes:
        found = status.causes[0].evidence
        measured = [item for item in found if item.channel != CONTRADICTION]
        shown = measured[: None if whole else EVIDENCE_SHOWN]
        rows += [("evidence" if n == 0 else "", item.text) for n, item in enumerate(shown)]
        rows += [("against", item.text) for item in found if item.channel == CONTRADICTION]
        if status.reason and not shown:
            rows.append(("evidence", status.reason))
    said = " ".join(text for _, text in rows)
    if any(text not in said for text in status.missing):
        shown_missing = status.missing[: None if whole else MISSING_SHOWN]
        rows.append(("missing", "; ".join(shown_missing) + _more(
            len(status.missing) - len(shown_missing))))  # fmt: skip
    return rows


def _suffering(
    incident: StoredIncident, fleet: StoredFleet | None, *, watched: bool, now_s: float
) -> Rows:
    status = incident.status
    rows: Rows = []
    if status.symptom:
        # It was measured once, when the incident was opened: nobody should take it for now.
        if told.is_over(incident):
            rows.append(("suffers", f"Users are well again. It was: {status.symptom}."))
        else:
            rows.append(("at first", f"{status.symptom}."))
    if len(status.keys) > 1:
        shown = status.keys[:KEYS_SHOWN]
        rows.append(("", f"In all: {', '.join(shown)}{_more(len(status.keys) - len(shown))}."))
    if incident.open and (status.current is not None or not told.is_over(incident)):
        rows.append(("now", now(incident, fleet, watched=watched, now_s=now_s)))
    if status.alerts:
        first = incident.spec.alert.name if incident.spec.alert else ""
        opened = f", the first {first}" if first else ""
        rows.append(("alerts", f"{words.count(status.alerts, 'alert')} counted on it{opened}."))
    return rows


def _ruled_out(incident: StoredIncident, *, whole: bool) -> Rows:
    items = incident.status.ruled_out
    shown = items[: None if whole else RULED_OUT_SHOWN]
    rows = [
        ("ruled out" if n == 0 else "", f"{told.noun(item.entity)}: {item.reason}")
        for n, item in enumerate(shown)
    ]
    if len(shown) < len(items):
        rows.append(("", f"{len(items) - len(shown)} more: --all"))
    return rows


def _next(
    incident: StoredIncident,
    fleet: StoredFleet | None,
    silent: str,
    kubectl: Kubectl,
    *,
    now_s: float,
    whole: bool,
    watched: bool,
) -> Rows:
    rows: Rows = []
    if fleet is not None and fleet.spec.frozen:
        because = f": {fleet.spec.freeze_reason}" if fleet.spec.freeze_reason else ""
        rows.append(("frozen", f"Nothing new is proposed for {fleet.name}{because}."))
    over = told.is_over(incident)
    if over:
        rows.append(("next", "Nothing: users are well again."))
    actions = actions_best_first(incident.status.actions)
    shown = actions if whole else actions[: 0 if over else 1]
    for action in shown:
        rows += _action(action, kubectl, now_s=now_s, whole=whole, watched=watched)
    if len(actions) > len(shown):
        rows.append(("", f"{len(actions) - len(shown)} more: --all"))
    if actions or over:
        return rows
    if silent:
        text = (
            "See why the worker does not answer, restart it; look for the cause yourself. The "
            "commands are for a worker of the shipped manifests."
        )
        return [*rows, ("next", text), ("  run", kubectl.system(f"rollout restart {WORKER}"))]
    if told.is_waiting(incident):
        return [*rows, ("next", "Wait for the diagnosis; nothing is recommended before it.")]
    mitigated = condition(incident.status.conditions, "Mitigated")
    said = mitigated.message if mitigated and mitigated.message else "no action fits"
    look = "" if "a person must" in said else " A person must look."
    return [*rows, ("next", f"Nothing is recommended: {said.removesuffix('.')}.{look}")]


def _look(incident: StoredIncident, silent: str, kubectl: Kubectl, *, whole: bool) -> Rows:
    """What changes nothing and tells most of the suspect; once it is over only on request."""
    if told.is_over(incident) and not whole:
        return []
    suspect = told.suspect(incident)
    commands = worker_commands(kubectl) if silent else []
    return [("look", command) for command in [*commands, *look_commands(suspect, kubectl)]]


def _action(
    action: ActionStatus, kubectl: Kubectl, *, now_s: float, whole: bool, watched: bool
) -> Rows:
    reason = f" {words.capital(action.reason)}." if action.reason else ""
    unjudged = is_unjudged(action.guard)
    label = "next" if action.allowed else "not yet" if unjudged else "not this"
    rows: Rows = [(label, f"{words.capital(told.action_title(action))}.{reason}")]
    rows.append(("  guard", told.guard(action, now_s=now_s, watched=watched)))
    if not (action.allowed or whole):
        return rows  # nobody should copy at night what the guard does not allow
    rows += [("  run", kubectl.reached(action.command))] if action.command else []
    rows.append(("  undo", kubectl.reached(action.undo) or "No way back is known."))
    rows += [("  request", action.request)] if action.request else []
    rows += [("  patch", action.patch)] if action.patch else []
    then = " (answered then)" if unjudged else ""
    rows += [("  server", f"{action.dry_run}{then}")] if action.dry_run else []
    return rows


def _about(incident: StoredIncident, options: str) -> Rows:
    """Where more is."""
    status, place = incident.status, f"{incident.name} -n {incident.namespace}{options}"
    if status.report is not None and status.report.config_map:
        rows: Rows = [("report", f"kubectl midwatch report {place}")]
    else:
        rows = [("report", "None is written yet.")]
    recorded = condition(status.conditions, "Recorded")
    if recorded is not None and recorded.status is ConditionStatus.FALSE:
        rows.append(("bundle", f"None: {recorded.message or recorded.reason}."))
    elif status.report is not None and status.report.bundle:
        rows.append(("bundle", f"{status.report.bundle} on the worker's volume"))
    return rows


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
