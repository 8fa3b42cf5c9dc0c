"""Conditions of a Fleet from what is seen of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.controller.fleet.classes import classes_seen
from ops.controller.fleet.status import (
    DataSight,
    FleetSight,
    decision_status,
    fleet_status,
    worth_writing,
)
from ops.controller.resources.fields import parse, to_object
from ops.controller.resources.fleet import FleetSpec, FleetStatus, Mode, SloSpec
from ops.slo import SloMeter, advance

SIGHT = FleetSight(generation=3, spec=FleetSpec(), data=DataSight(reason="Fresh"))


def conditions(sight=SIGHT, previous=None, now_s=1e9, **changes):
    status = fleet_status(replace(sight, **changes), previous or FleetStatus(), now_s=now_s)
    return {c.type: (c.status.value, c.reason) for c in status.conditions}


def messages(sight=SIGHT, **changes):
    status = fleet_status(replace(sight, **changes), FleetStatus(), now_s=1e9)
    return {c.type: c.message for c in status.conditions}


@pytest.fixture
def metered(fleet):
    """A meter over ten minutes; `slow` of east's requests miss their limit."""

    def make(slow=0.0):
        for _ in range(120):
            snapshot = fleet.advance(slow={"east": slow})
        return advance(SloMeter(), snapshot.frame, snapshot.slos, history_s=3660.0)

    return make


def test_a_fleet_without_data_is_watched_and_nobody_says_that_it_is_well():
    found = conditions(data=DataSight(reason="Missing", detail="no series"))
    assert found["Ready"] == ("True", "Watching")
    assert found["DataFresh"] == ("False", "Missing")
    assert found["SLOMet"] == ("Unknown", "NotMeasured")


def test_a_fault_of_ours_is_told_behind_one_of_the_spec():
    assert conditions(step_fault="ValueError: x", stale="pods")["Ready"] == ("False", "StepFailed")
    assert "ValueError: x" in messages(step_fault="ValueError: x")["Ready"]
    assert conditions(step_fault="ValueError: x", fault="y")["Ready"] == ("False", "InvalidSpec")


def test_a_fault_of_the_spec_is_told_in_its_own_words():
    text = "spec.metrics.endpoint 'x' is not in the operator's configuration, which allows: a, b"
    assert conditions(fault=text, fault_reason="UnknownEndpoint")["Ready"] == (
        "False", "UnknownEndpoint",
    )  # fmt: skip
    assert messages(fault=text)["Ready"] == text


def test_a_cluster_that_is_not_seen_is_no_empty_cluster():
    found = conditions(stale="pods never listed")
    assert found["Ready"] == ("False", "ClusterNotSeen")


def test_a_selector_that_takes_no_pod_watches_nothing():
    text = "spec.selector app=caht matches no pod of namespace shop: app is chat there"
    assert conditions(unmatched=text)["Ready"] == ("False", "NoPods")
    assert messages(unmatched=text)["Ready"] == text
    assert conditions(unmatched=text, stale="pods 50 s old")["Ready"][1] == "ClusterNotSeen"


@pytest.mark.parametrize(
    ("slos", "expected", "says"),
    [
        (["chat", "batch"], ("True", "AllSeen"), ""),
        (["chat"], ("True", "AllSeen"), "only failures count for batch, which has no SLO"),
        ([], ("True", "NoSLO"), "batch, chat"),
        (["chta", "batch"], ("False", "UnknownClass"), "class chta is counted, but of chat"),
        (["chta"], ("False", "UnknownClass"), "but of batch, chat, which have no SLO: mend"),
        (["chat", "batch", "nightly"], ("Unknown", "NotSeen"), "nightly"),
    ],
)
def test_a_class_that_no_metric_speaks_of_is_named_with_those_that_are(slos, expected, says):
    meter = SloMeter(keys=(("east", "chat"), ("east", "batch"), ("west", "chat")))
    told = classes_seen(slos, meter)
    assert (told.status.value, told.reason) == expected
    assert says in told.message


def test_without_measurements_no_class_is_called_unknown(metered):
    spec = FleetSpec(slos=[SloSpec(name="chta")])
    assert conditions(spec=spec, meter=metered())["ClassesSeen"] == ("False", "UnknownClass")
    assert conditions(spec=spec)["ClassesSeen"] == ("Unknown", "NotMeasured")
    stale = DataSight(reason="Stale", detail="old")
    assert conditions(spec=spec, meter=metered(), data=stale)["ClassesSeen"][0] == "Unknown"


@pytest.mark.parametrize(
    ("mode", "frozen", "reason"),
    [
        (Mode.OBSERVE, False, "Observe"),
        (Mode.RECOMMEND, False, "Recommend"),
        (Mode.ACT, False, "NotAvailable"),
        (Mode.RECOMMEND, True, "Frozen"),
    ],
)
def test_acting_is_false_in_this_release_and_says_why(mode, frozen, reason):
    spec = FleetSpec(mode=mode, frozen=frozen)
    assert conditions(spec=spec)["Acting"] == ("False", reason)
    if mode is Mode.ACT:
        assert "not available in this release" in messages(spec=spec)["Acting"]


def test_a_missing_right_is_named():
    found = conditions(missing_rights=("list pods in all namespaces",))
    assert found["Authorized"] == ("False", "RightMissing")
    assert "list pods" in messages(missing_rights=("list pods in all namespaces",))["Authorized"]


def test_a_worker_that_is_away_is_named():
    assert conditions(worker_trouble="refused")["Diagnosing"] == ("False", "WorkerSilent")


def test_the_slo_is_met_missed_or_not_known(metered):
    assert conditions(meter=metered())["SLOMet"] == ("True", "WithinBudget")
    assert conditions(meter=metered(slow=0.5))["SLOMet"] == ("False", "BudgetBurns")
    assert conditions(open_incidents=1)["SLOMet"] == ("False", "IncidentOpen")


def test_old_numbers_call_no_slo_met(metered):
    stale = DataSight(reason="Stale", detail="old")
    assert conditions(meter=metered(), data=stale)["SLOMet"] == ("Unknown", "NotMeasured")


def test_old_numbers_burn_no_budget_either(metered):
    sight = replace(SIGHT, meter=metered(slow=0.5))
    assert fleet_status(sight, FleetStatus(), now_s=1e9).burn_rates
    stale = replace(sight, data=DataSight(reason="Missing", detail="no series"))
    assert conditions(stale)["SLOMet"] == ("Unknown", "NotMeasured")
    assert fleet_status(stale, FleetStatus(), now_s=1e9).burn_rates == []


def test_a_transition_keeps_its_time_while_the_status_stays():
    first = fleet_status(SIGHT, FleetStatus(), now_s=1e9)
    later = fleet_status(replace(SIGHT, generation=4), first, now_s=1e9 + 60)
    assert [c.last_transition_time for c in later.conditions] == [
        c.last_transition_time for c in first.conditions
    ]
    assert {c.observed_generation for c in later.conditions} == {4}


def test_numbers_alone_are_written_now_and_then_and_news_at_once(metered):
    old = fleet_status(replace(SIGHT, meter=metered()), FleetStatus(), now_s=1e9)
    moved = fleet_status(replace(SIGHT, meter=metered(slow=0.001)), old, now_s=1e9)
    moved = replace(moved, burn_rates=[replace(r, rate=r.rate + 0.1) for r in moved.burn_rates])
    again = fleet_status(replace(SIGHT, meter=metered()), old, now_s=1e9 + 60.0)
    assert not worth_writing(again, old, age_s=60.0)
    assert worth_writing(again, old, age_s=121.0)  # what is older, nobody watches any more
    assert not worth_writing(moved, old, age_s=5.0)
    assert worth_writing(moved, old, age_s=31.0)
    news = replace(old, open_incidents=1)
    assert worth_writing(news, old, age_s=1.5)
    assert not worth_writing(news, old, age_s=0.5)


def test_what_is_written_is_what_is_read_back(metered):
    sight = replace(
        SIGHT,
        meter=metered(slow=0.5),
        last_decision=decision_status("open", "r" * 900, incident="chat-1", at_s=1e9),
    )
    status = fleet_status(sight, FleetStatus(), now_s=1e9)
    assert parse(FleetStatus, to_object(status), path="x") == status
    assert {rate.window for rate in status.burn_rates} == {"5m", "1h"}
