"""Which proposal is the next one, wherever it is asked."""

from __future__ import annotations

from ops.proposals import as_judged, is_unjudged
from ops.state import Action, ActionKind, Decision, DecisionKind
from rca.state import Entity

STALE = "no fresh data: the newest metrics are 21 s old"
REPLACE, DRAIN = ActionKind.REPLACE_POD, ActionKind.CORDON_DRAIN_NODE


def said(kind, reason, at_s=1.0, target="pod:east/p-1"):
    action = Action(action_id="", kind=kind, target=Entity.parse(target))
    return Decision(
        at_s=at_s, kind=DecisionKind.REFUSE, incident_id="inc-0001", reason=reason, action=action
    )


def first(*decisions):
    return as_judged(decisions)[0].action.kind


def test_the_first_that_is_allowed_comes_first_whenever_it_was_told():
    assert first(said(REPLACE, "dry run"), said(DRAIN, "dry run")) is REPLACE
    assert first(said(REPLACE, "dry run"), said(DRAIN, "dry run", 60.0)) is REPLACE
    assert first(said(REPLACE, "cool-down"), said(DRAIN, "dry run")) is DRAIN
    late = said(REPLACE, "cool-down"), said(DRAIN, "dry run"), said(REPLACE, "dry run", 60.0)
    assert first(*late) is REPLACE


def test_of_what_is_refused_the_newest_moment_comes_first():
    assert first(said(REPLACE, "cool-down"), said(DRAIN, "the last one")) is REPLACE
    assert first(said(REPLACE, "cool-down"), said(DRAIN, "the last one", 60.0)) is DRAIN


def test_an_outage_of_the_data_takes_no_judgement_back():
    (told,) = as_judged([said(REPLACE, "dry run"), said(REPLACE, STALE, 60.0)])
    assert told.reason == "dry run"
    (told,) = as_judged([said(REPLACE, STALE), said(REPLACE, "the last one", 60.0)])
    assert told.reason == "the last one"
    assert is_unjudged(STALE)


def test_what_is_no_proposal_is_left_away():
    looked = Decision(
        at_s=1.0, kind=DecisionKind.REFUSE, incident_id="inc-0001", reason="a person must look"
    )
    assert as_judged([looked]) == []
