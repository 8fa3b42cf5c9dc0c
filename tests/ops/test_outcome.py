"""Whether an action helped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.config import OutcomeConfig
from ops.outcome import Share, before_action, judge, not_in_effect, settled
from ops.state import Action, ActionKind, ActionRecord, Verdict
from rca.state import Entity

CONFIG = OutcomeConfig()


def record(kind, target, *, decided_at_s=0.0, **params):
    action = Action(action_id="a1", kind=kind, target=Entity.parse(target), params=params)
    return ActionRecord(action=action, decided_at_s=decided_at_s)


def shift():
    return record(ActionKind.SHIFT_TRAFFIC, "workload:east", to_region="west", share=0.5)


def verdict_of(fleet, before, after, *, usual=0.0, began_at_s=-1000.0, total=200.0):
    noted = before_action(shift(), fleet.snapshot(), share=Share(bad=before * total, total=total))
    return judge(
        noted,
        fleet.snapshot(),
        after=Share(bad=after * total, total=total),
        usual_ratio=usual,
        began_at_s=began_at_s,
        config=CONFIG,
    ).verdict


@pytest.mark.parametrize(
    ("before", "after", "usual", "verdict"),
    [
        (0.6, 0.0, 0.0, Verdict.EFFECTIVE),
        (0.6, 0.29, 0.0, Verdict.EFFECTIVE),
        (0.6, 0.31, 0.0, Verdict.NO_EFFECT),
        (0.6, 0.6, 0.0, Verdict.NO_EFFECT),
        (0.6, 0.7, 0.0, Verdict.NO_EFFECT),
        (0.6, 0.8, 0.0, Verdict.WORSE),
        (0.1, 0.06, 0.05, Verdict.EFFECTIVE),
        (0.1, 0.09, 0.05, Verdict.NO_EFFECT),
        (0.0, 0.0, 0.0, Verdict.NO_EFFECT),
        (1.0, 1.0, 0.0, Verdict.NO_EFFECT),
    ],
)
def test_shares_decide(fleet, before, after, usual, verdict):
    assert verdict_of(fleet, before, after, usual=usual) is verdict


def test_a_young_fault_may_grow_without_blame(fleet):
    assert verdict_of(fleet, 0.6, 0.8, began_at_s=-20.0) is Verdict.NO_EFFECT
    assert verdict_of(fleet, 0.4, 0.95, began_at_s=-20.0) is Verdict.WORSE


def test_few_requests_prove_no_harm(fleet):
    assert verdict_of(fleet, 0.5, 0.75, total=8.0) is Verdict.NO_EFFECT


def test_without_any_request_nothing_is_claimed(fleet):
    noted = before_action(shift(), fleet.snapshot(), share=Share(bad=5.0, total=10.0))
    judged = judge(noted, fleet.snapshot(), after=Share(bad=0.0, total=0.0), usual_ratio=0.0,
                   began_at_s=-1000.0, config=CONFIG)  # fmt: skip
    assert judged.verdict is Verdict.BLOCKED
    assert "no request was counted" in judged.verdict_reason
    assert judged.bad_ratio_after is None


def in_effect(fleet, rec, change):
    noted = before_action(rec, fleet.snapshot(), share=Share(bad=1.0, total=2.0))
    before = not_in_effect(noted, fleet.snapshot())
    change()
    return before, not_in_effect(noted, fleet.snapshot())


def test_each_action_is_seen_to_take_effect(fleet):
    door = ("east", "door")

    def put(store, key, **fields):
        return lambda: store.__setitem__(key, replace(store[key], **fields))

    cases = [
        (record(ActionKind.SCALE_OUT, "service:east/door", add=1.0),
         put(fleet.services, door, ready_replicas=3), "no new instance"),
        (record(ActionKind.ROLLBACK, "service:east/door", to_revision="r0"),
         put(fleet.services, door, revision="r0"), "still runs revision r1"),
        (record(ActionKind.CORDON_DRAIN_NODE, "node:east/east-n0"),
         put(fleet.nodes, "east-n0", unschedulable=True), "still takes pods"),
        (record(ActionKind.RESTART_POD, "pod:east/east-door-0"),
         lambda: fleet.restart("east-door-0"), "was not restarted"),
        (record(ActionKind.REPLACE_POD, "pod:east/east-door-1"),
         lambda: fleet.pods.pop("east-door-1"), "is still there"),
    ]  # fmt: skip
    for rec, change, text in cases:
        before, after = in_effect(fleet, rec, change)
        assert text in before
        assert after == ""


def test_a_shift_shows_in_the_weights(fleet):
    fleet.weights = {"east": {"east": 1.0}}
    before, after = in_effect(
        fleet, shift(), lambda: fleet.weights.update(east={"east": 0.5, "west": 0.5})
    )
    assert "no traffic of east goes to west" in before
    assert after == ""


def test_a_late_action_is_waited_for_but_not_for_ever(fleet):
    scale = record(ActionKind.SCALE_OUT, "service:east/door", add=1.0)
    scale = before_action(scale, fleet.snapshot(), share=Share(bad=1.0, total=2.0))
    settle_s = CONFIG.settle_s[ActionKind.SCALE_OUT]
    fleet.now_s = settle_s - 1.0
    assert not settled(scale, fleet.snapshot(), CONFIG)
    fleet.now_s = settle_s + 1.0
    assert not settled(scale, fleet.snapshot(), CONFIG), "the instance is not there yet"
    fleet.services["east", "door"] = replace(fleet.services["east", "door"], ready_replicas=3)
    assert settled(scale, fleet.snapshot(), CONFIG)
    fleet.services["east", "door"] = replace(fleet.services["east", "door"], ready_replicas=2)
    fleet.now_s = settle_s * CONFIG.wait_factor_max
    assert settled(scale, fleet.snapshot(), CONFIG)
    judged = judge(scale, fleet.snapshot(), after=Share(bad=0.0, total=9.0), usual_ratio=0.0,
                   began_at_s=-99.0, config=CONFIG)  # fmt: skip
    assert judged.verdict is Verdict.BLOCKED
