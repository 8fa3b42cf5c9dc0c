"""An incident whose every name and sentence is the same hostile text."""

from __future__ import annotations

from dataclasses import replace

from ops.pipeline_state import Case
from ops.state import Action, ActionKind, Decision, DecisionKind, Incident, IncidentPhase
from rca.state import (
    Entity,
    EntityKind,
    Evidence,
    RankedCause,
    RcaResult,
    ResourceClass,
    Series,
    Symptom,
)

T0 = 1_795_000_000.0


def hostile_result(text):
    evidence = tuple(
        Evidence(channel=text, text=text, strength=float(k), series=Series(text, ((text, text),)))
        for k in range(20)
    )
    causes = tuple(
        RankedCause(rank=k, entity=Entity(EntityKind.POD, text, f"{k}{text}"),
                    resource_class=ResourceClass.CPU, score=1.0, confidence=0.5, evidence=evidence)
        for k in range(20)
    )  # fmt: skip
    return RcaResult(
        began_at_s=T0, causes=causes, abstained=False, reason=text, missing=(text,) * 99,
        ruled_out=((Entity(EntityKind.POD, text, text), text),) * 99, would_settle=(text,) * 99,
    )  # fmt: skip


def hostile_incident(text):
    symptom = Symptom(
        region=text, slo_class=text, began_at_s=T0, detected_at_s=T0 + 10, bad_ratio=0.3,
        reason="latency",
    )  # fmt: skip
    incident = Incident(
        incident_id="inc-0001", phase=IncidentPhase.DIAGNOSED, symptom=symptom, began_at_s=T0,
        detected_at_s=T0 + 10, diagnosed_at_s=T0 + 20, result=hostile_result(text),
    )  # fmt: skip
    return Case(incident=incident, keys=tuple((text, f"{k}") for k in range(500)))


def hostile_refusals(case, text):
    restart = Action(action_id="", kind=ActionKind.RESTART_POD, reason=text, undo=text,
                     target=Entity(EntityKind.POD, text, text), command=text)  # fmt: skip
    return tuple(
        Decision(
            at_s=T0 + 22, kind=DecisionKind.REFUSE, incident_id="inc-0001", reason=f"{k}{text}",
            action=replace(restart, target=Entity(EntityKind.POD, text, f"{k}{text}")),
            incident=case.incident,
        )
        for k in range(40)
    )  # fmt: skip
