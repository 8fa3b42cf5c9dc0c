"""What ties each group of users to a cause, also where midwatch itself did the harm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.reports import render_html, render_markdown, render_terminal
from ops.reports.build_harm import linked
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    Symptom,
)
from rca.state import Entity

SHIFT = Action(
    action_id="a1",
    kind=ActionKind.SHIFT_TRAFFIC,
    target=Entity.parse("workload:eu-west"),
    params={"to_region": "us-east", "share": 0.5},
)
UNDO = replace(SHIFT, action_id="a2", kind=ActionKind.UNDO, params={"action_id": "a1"})


def incident(name, region, began_at_s, *actions):
    return Incident(
        incident_id=name,
        phase=IncidentPhase.RESOLVED,
        symptom=Symptom(
            region=region, slo_class="interactive", began_at_s=began_at_s,
            detected_at_s=began_at_s, bad_ratio=0.3, reason="latency",
        ),
        began_at_s=began_at_s,
        detected_at_s=began_at_s,
        actions=actions,
    )  # fmt: skip


def run_of(sample_run, *, back_s=None, decided_s=2700.0):
    """A shift out of eu-west decided before users of us-east were hurt at 2735 s."""
    run = sample_run("two")
    first, second = run.incidents
    bad = replace(first.lanes[2], bad_with=tuple(0.5 if m == 46 else 0.0 for m in range(70)))
    first = replace(first, lanes=(*first.lanes[:2], bad, first.lanes[3]))
    told = {
        "inc-0007": incident(
            "inc-0007", "eu-west", 2135.0, ActionRecord(action=SHIFT, decided_at_s=decided_s)
        ),
        "inc-0008": incident("inc-0008", "us-east", 2735.0),
    }
    back = [
        Decision(at_s=back_s, kind=DecisionKind.ACT, incident_id="inc-0007", reason="r",
                 action=UNDO)
    ] if back_s else []  # fmt: skip
    return replace(run, incidents=linked((first, second), told, back))


def test_harm_of_an_own_shift_is_told_and_linked_both_ways(sample_run):
    run = run_of(sample_run)
    first, second = run.incidents
    assert [r.incident_id for r in first.related] == ["inc-0008"]
    assert [r.incident_id for r in second.related] == ["inc-0007"]
    assert first.lanes[2].tie == "hurt by midwatch's own shift of users, see inc-0008"
    page = render_html(run)
    texts = [render_markdown(run), "\n".join(render_terminal(run, i) for i in run.incidents)]
    for text in map(str.split, (page.replace("&#39;", "'"), *texts)):
        told = " ".join(text)
        assert "midwatch's own shift of users hurt us-east meanwhile." in told
        assert "midwatch caused this: it sent users of eu-west here for another incident." in told
    assert 'See <a href="#incident-2">inc-0008</a>' in page
    assert 'See <a href="#incident-1">inc-0007</a>' in page


@pytest.mark.parametrize("more", [{"back_s": 2720.0}, {"decided_s": 2740.0}])
def test_a_shift_that_did_not_run_then_is_not_blamed(more, sample_run):
    first, second = run_of(sample_run, **more).incidents
    assert first.related == second.related == ()
    assert first.lanes[2].tie == "not explained by this cause, see inc-0008"


def test_every_group_that_suffers_is_tied_and_no_other(sample_run):
    first = run_of(sample_run).incidents[0]
    assert [lane.tie for lane in first.lanes[:2]] == ["explained by the cause"] * 2
    assert first.lanes[3].tie == ""
    nameless = linked(
        (replace(first, cause=None),), {"inc-0007": incident("inc-0007", "eu-west", 2135.0)}, ()
    )
    assert nameless[0].lanes[0].tie == "no cause is named"
    alone = linked((first,), {"inc-0007": incident("inc-0007", "eu-west", 2135.0)}, ())
    assert alone[0].lanes[2].tie == "not explained by the cause"
