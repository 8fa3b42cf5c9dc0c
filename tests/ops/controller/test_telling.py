"""Decisions as the log and a Fleet's last decision tell them."""

from __future__ import annotations

from dataclasses import replace

from ops.controller.fleet.telling import newest, told
from ops.state import Action, ActionKind, Decision, DecisionKind
from rca.state import Entity

REPLACE = Action(
    action_id="", kind=ActionKind.REPLACE_POD, target=Entity.parse("pod:eu/llm-2"),
    reason="its clock fell",
)  # fmt: skip
DRAIN = replace(REPLACE, kind=ActionKind.CORDON_DRAIN_NODE)


def said(reason, action=None, kind=DecisionKind.REFUSE, incident="inc-0001"):
    return Decision(at_s=1.0, kind=kind, incident_id=incident, reason=reason, action=action)


def test_what_only_the_dry_run_keeps_back_is_no_refusal():
    assert told(said("dry run", REPLACE)) == (
        "propose", "would act: replace-pod pod:eu/llm-2: its clock fell",
    )  # fmt: skip
    assert told(said("cool-down", REPLACE)) == ("refuse", "replace-pod pod:eu/llm-2: cool-down")
    assert told(said("named", kind=DecisionKind.DIAGNOSE)) == ("diagnose", "named")


def test_of_several_proposals_the_best_is_the_last_decision():
    found = said("named", kind=DecisionKind.DIAGNOSE)
    first, second = said("dry run", REPLACE), said("dry run", DRAIN)
    assert newest([found, first, second]) is first
    assert newest([found, replace(first, reason="cool-down"), second]) is second
    assert newest([first, second, found]) is found
    other = said("dry run", DRAIN, incident="inc-0002")
    assert newest([first, other]) is other
