"""One Fleet's turn: what alerts hear, what the status says of what is not written or not seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.clock import monotonic_s, wall_s
from ops.controller.fleet import tick
from ops.controller.fleet import work as fleet_work
from ops.controller.fleet.tick import ClusterSight
from ops.controller.incidents import book
from ops.controller.resources.fleet_object import FleetObject
from ops.errors import KubeError, PrometheusError
from ops.pipeline_state import LoopState
from ops.state import Alert, PodPhase, PodRecord
from tests.ops.controller.fleet_parts import PATH, condition, fleet_body, made_work
from tests.ops.controller.stored_series import StoredSeries
from tests.ops.controller.test_incident_writer import opened

ALERT = Alert(
    group_key="g", fingerprint="f", starts_at_s=1.0, firing=True,
    labels={"alertname": "Slow", "namespace": "shop"},
)  # fmt: skip
REFUSED = {("create", "incidents"): 422}


def test_alerts_whose_incident_is_refused_are_not_said_to_be_written():
    world = made_work()
    world.server.fail = REFUSED
    with pytest.raises(KubeError, match="not written: chat-"):
        world.work.decide((ALERT,))
    world.work.decide(())  # turns without alerts go on


def test_alerts_are_written_without_a_reading():
    world = made_work()
    world.work.decide((ALERT,))
    assert len(world.server.of("incidents")) == 1


def test_nothing_is_sent_where_nothing_is_to_be_written():
    world = made_work()
    world.server.fail = REFUSED
    with pytest.raises(KubeError):
        world.work.decide((ALERT,))
    world.server.calls.clear()
    world.work.decide((), write=False)
    assert world.server.calls == []


def published(world):
    world.work._status._written_at_s = 0.0  # some time ago
    world.work.publish()


def test_the_status_names_what_of_the_record_is_not_written():
    world = made_work()
    world.server.fail = REFUSED
    with pytest.raises(KubeError):
        world.work.decide((ALERT,))
    published(world)
    status, reason, text = condition(world, "Recorded")
    assert (status, reason) == ("False", "NotWritten")
    assert "chat-" in text and "422" in text
    world.server.fail = {}
    world.work.decide(())
    published(world)
    assert condition(world, "Recorded")[0] == "True"


def test_the_status_says_that_an_incident_was_given_up(monkeypatch):
    monkeypatch.setattr(book, "ENDED_MAX", 0)
    world = made_work()
    world.server.fail = REFUSED
    with pytest.raises(KubeError):
        world.work.decide((ALERT,))
    world.work.tick.state = LoopState()  # the loop has dropped it
    world.work.decide(())
    published(world)
    assert condition(world, "Recorded")[:2] == ("False", "GivenUp")


def test_a_server_that_refuses_events_alone_is_told():
    world = made_work()
    world.server.fail = {("create", "events"): 403}
    world.work.decide((ALERT,))
    published(world)
    assert condition(world, "Recorded")[:2] == ("False", "ReportNotWritten")


def test_a_question_without_an_answer_is_told():
    world = made_work()
    world.work.tick.diagnoser.trouble = "503 Busy"
    world.work.decide(())
    published(world)
    assert condition(world, "Diagnosing")[0] == "True"  # nobody waits for one
    world.work.decide((ALERT,))
    published(world)
    assert condition(world, "Diagnosing") == (
        "False", "NoAnswer", "the last question got no answer: 503 Busy",
    )  # fmt: skip


def test_a_status_whose_object_is_gone_is_doubted_and_no_fault():
    world = made_work()
    world.work.decide(())
    del world.server.objects[PATH]
    world.work.publish()
    assert world.work.gone


def pod(name, *, age_s=600.0, service="chat"):
    return PodRecord(
        name=name, region="eu", service=service, node="n", phase=PodPhase.RUNNING, ready=True,
        restarts=0, created_at_s=wall_s() - age_s,
    )  # fmt: skip


def metered(*pods, **more):
    """Pods that are scraped every five seconds, each with the age of its newest sample."""
    now_s = wall_s()
    stored = StoredSeries(clock_s=now_s)
    for name, newest_s in pods:
        times = [now_s - newest_s - 5.0 * k for k in range(20)][::-1]
        stored.add(
            "http_requests_total", [(at_s, float(k)) for k, at_s in enumerate(times)],
            pod=name, service="chat", slo_class="chat", status="200", **more.pop("labels", {}),
        )  # fmt: skip
    return stored


def seen(world):
    world.work.ask()
    world.work.decide(())
    published(world)
    return condition(world, "PodsMeasured")


def test_a_pod_that_falls_silent_is_named():
    stored = metered(("p0", 1.0), ("p1", 60.0))
    sight = ClusterSight(pods=(pod("p0"), pod("p1")))
    status, reason, text = seen(made_work(stored=stored, sight=sight))
    assert (status, reason) == ("False", "PodsSilent")
    assert text.startswith("1 of 2 pods gives no metrics: p1;")


def test_a_pod_that_never_gave_metrics_is_named_where_most_of_its_service_do():
    stored = metered(("p0", 1.0), ("p1", 1.0))
    pods = (pod("p0"), pod("p1"), pod("p2"), pod("young", age_s=5.0), pod("db", service="db"))
    assert "metrics: p2;" in seen(made_work(stored=stored, sight=ClusterSight(pods=pods)))[2]


def test_pods_that_only_metrics_know_are_named_once_that_lasts(monkeypatch):
    stored = metered(("p0", 1.0), ("p2", 1.0), ("other-1", 1.0), ("gone-1", 1.0))
    sight = ClusterSight(
        pods=(pod("p0"), pod("p1"), pod("p2")), absent=lambda names: frozenset(names) - {"gone-1"}
    )
    world = made_work(stored=stored, sight=sight)
    assert seen(world)[1] != "PodsUnknown"  # it may just have started
    later_s = monotonic_s() + 61.0
    monkeypatch.setattr(tick, "monotonic_s", lambda: later_s)
    world.work.decide(())
    published(world)
    status, reason, text = condition(world, "PodsMeasured")
    assert (status, reason) == ("False", "PodsUnknown")
    assert text.startswith("1 pod that metrics name is not in the cluster: other-1; ")
    assert "matchLabels" in text
    assert "1 of 3 pods gives no metrics: p1;" in text


def test_without_fresh_data_no_pod_is_called_silent():
    stored = metered(("p0", 300.0))
    world = made_work(stored=stored, sight=ClusterSight(pods=(pod("p0"),)))
    assert seen(world)[:2] == ("Unknown", "NotMeasured")


def test_labels_of_the_endpoint_are_added_to_series_that_lack_them():
    stored = metered(("p0", 1.0))
    stored.series[0][0].pop("service")
    world = made_work(stored=stored, add_labels={"service": "door", "region": "west"})
    world.work.tick.watch._series._placed = None  # of no pod that the cluster shows
    world.work.ask()
    world.work.decide(())
    (key,) = world.work.tick.state.meter.keys
    assert key == ("west", "chat")
    assert world.work.tick.num_series == 1


def test_an_hour_that_comes_late_is_learnt_all_the_same():
    stored = metered(("p0", 1.0))
    stored.series[0][1][:0] = [
        (stored.clock_s - 3000.0 + 5.0 * k, float(k - 1000)) for k in range(500)
    ]
    world = made_work(stored=stored, sight=ClusterSight(pods=(pod("p0"),)))
    world.work.ask()
    world.work.decide(())
    before = len(world.work.tick.state.meter.times_s)
    assert world.work.wants_history
    world.work.ask_history()
    world.work.decide(())
    assert not world.work.wants_history
    assert len(world.work.tick.state.meter.times_s) > before + 300


def test_an_open_incident_is_written_with_what_users_get_now_and_not_with_what_they_got():
    stored = metered(("p0", 1.0))
    stored.add(
        "http_requests_total",
        [(stored.clock_s - 1.0 - 5.0 * k, float(20 - k)) for k in range(20)][::-1],
        pod="p0", service="chat", slo_class="chat", status="500",
    )  # fmt: skip
    world = made_work(stored=stored, sight=ClusterSight(pods=(pod("p0"),)))
    world.work.ask()
    world.work.decide(())
    (key,) = world.work.tick.state.meter.keys
    case = replace(opened(began_s=stored.clock_s - 30.0), keys=(key,))
    world.work.tick.state = replace(world.work.tick.state, cases=(case,))
    world.work.decide(())
    (written,) = world.server.of("incidents")
    told = written["status"]["current"]
    assert (told["key"], told["badRatio"]) == ("/".join(key), 0.5)
    assert told["requests"] == 24
    world.work.tick.data = replace(world.work.tick.data, reason="Stale")
    assert world.work.tick.current() == {}


def changed(**spec):
    body = fleet_body(**spec)
    body["metadata"]["generation"] = 2
    return FleetObject.of(body)


def past_world():
    """A fleet whose Prometheus holds an hour."""
    stored = metered(("p0", 1.0))
    stored.series[0][1][:0] = [
        (stored.clock_s - 3000.0 + 5.0 * k, float(k - 1000)) for k in range(500)
    ]
    return made_work(stored=stored, sight=ClusterSight(pods=(pod("p0"),)))


def test_an_hour_that_was_asked_for_under_an_older_spec_is_not_learnt():
    world = past_world()
    world.work.ask_history()
    world.work.renew(changed(metrics={"matchLabels": {"service": "another"}}))
    world.work.decide(())
    assert world.work.tick.state.meter.keys == ()
    world.work.ask_history()
    _, matchers, *_ = world.stored.asked[-1]
    assert "another" in {one.value for one in matchers}
    world.work.decide(())
    assert world.work.tick.state.meter.keys == ()
    assert world.work.wants_history


def test_an_hour_that_was_given_up_is_wanted_again_under_another_spec():
    world = past_world()
    world.work.tick.history = None
    world.work.renew(changed(metrics={"matchLabels": {"service": "chat"}}))
    world.work.decide(())
    assert world.work.wants_history
    world.work.ask_history()
    world.work.decide(())
    assert len(world.work.tick.state.meter.times_s) > 300
    world.work.renew(changed(metrics={"matchLabels": {"slo_class": "chat"}}))
    world.work.decide(())
    assert not world.work.wants_history  # it was learnt


def test_a_spec_that_is_mended_wants_an_hour_and_a_broken_one_none():
    world = made_work(mode="Guess")
    world.work.decide(())
    assert not world.work.wants_history
    world.work.renew(changed())
    world.work.decide(())
    assert world.work.wants_history
    world.work.renew(changed(metrics={"endpoint": "unheard-of"}))
    world.work.decide(())
    assert not world.work.wants_history


def fault_of_ours(*_, **__):
    raise ValueError("of ours")


def test_a_fault_of_ours_is_told_and_what_was_read_is_not_shown_as_of_now(monkeypatch):
    world = made_work(stored=metered(("p0", 1.0)), sight=ClusterSight(pods=(pod("p0"),)))
    seen(world)
    assert condition(world, "DataFresh")[0] == "True"
    look = world.work.tick.look
    world.work.tick.look = fault_of_ours
    world.work.next_read_at_s = 0.0
    with pytest.raises(ValueError, match="of ours"):
        world.work.decide(())
    assert world.work.next_read_at_s > monotonic_s() + 1.0  # no question after the other
    published(world)
    status, reason, text = condition(world, "Ready")
    assert (status, reason) == ("False", "StepFailed")
    assert "ValueError: of ours" in text
    for kind in ("DataFresh", "SLOMet", "PodsMeasured"):
        assert condition(world, kind)[0] == "Unknown"
    world.work.tick.look = look
    world.work.decide((), write=False)
    published(world)
    assert condition(world, "Ready")[0] == "False"  # until all of it has worked
    world.work.decide(())
    published(world)
    assert condition(world, "Ready")[0] == condition(world, "DataFresh")[0] == "True"


def test_a_reading_that_cannot_be_used_makes_nothing_fresh_until_the_next():
    world = made_work(stored=metered(("p0", 1.0)), sight=ClusterSight(pods=(pod("p0"),)))
    seen(world)
    watch = world.work.tick.watch
    watch.take = fault_of_ours
    world.work.ask()
    with pytest.raises(ValueError, match="of ours"):
        world.work.decide(())
    world.work.decide(())  # without a reading
    published(world)
    assert condition(world, "Ready")[0] == "True"
    assert condition(world, "DataFresh")[:2] == ("Unknown", "NotRead")
    del watch.take
    seen(world)
    assert condition(world, "DataFresh")[0] == "True"


def test_a_fault_in_the_hour_is_not_tried_for_ever(monkeypatch):
    monkeypatch.setattr(tick, "HISTORY_READS_MAX", 1)
    world = past_world()
    world.work.tick.history.take = fault_of_ours
    world.work.ask_history()
    with pytest.raises(ValueError, match="of ours"):
        world.work.decide(())
    assert not world.work.wants_history


def test_a_spec_that_could_not_be_taken_over_is_taken_over_by_the_next_step(monkeypatch):
    world = made_work()
    world.work.renew(changed(metrics={"matchLabels": {"service": "another"}}))
    monkeypatch.setattr(fleet_work, "watch_frame", fault_of_ours)
    with pytest.raises(ValueError, match="of ours"):
        world.work.decide(())
    monkeypatch.undo()
    before = world.work.tick.watch
    world.work.decide(())
    assert world.work.tick.watch is not before
    assert world.work.tick.spec.metrics.match_labels == {"service": "another"}


def test_a_silent_worker_is_told_to_the_incidents_that_wait_for_it():
    world = made_work(worker_trouble="refused")
    world.work.decide((ALERT,))
    world.work.decide(())
    (incident,) = world.server.of("incidents")
    (said,) = (c for c in incident["status"]["conditions"] if c["type"] == "Diagnosed")
    assert "refused" in said["message"]


def test_rows_wait_for_the_hour_before_where_an_incident_was_open_at_the_start():
    world = made_work(stored=metered(("p0", 1.0)), sight=ClusterSight(pods=(pod("p0"),)))
    world.work.tick.unlearnt_until_s = float("inf")
    world.work.ask()
    world.work.decide(())
    assert world.work.tick.data.reason == "Fresh"
    assert world.work.tick.state.meter.keys == ()
    world.work.ask_history()
    world.work.decide(())
    assert len(world.work.tick.state.meter.keys) == 1


def test_an_incident_that_was_open_at_the_start_makes_rows_wait():
    first = made_work()
    first.work.decide((ALERT,))
    assert first.work.tick.unlearnt_until_s == 0.0
    first.work._restored = first.work.tick.state
    first.work.tick = None
    first.work.renew(first.work.fleet)
    first.work.decide(())
    assert first.work.tick.unlearnt_until_s > 0.0


def test_the_loop_knows_when_anything_was_scraped_last():
    world = made_work(stored=metered(("p0", 40.0)), sight=ClusterSight(pods=(pod("p0"),)))
    world.work.ask()
    world.work.decide(())
    snapshot = world.work.tick.snapshot
    assert snapshot.now_s - snapshot.scraped_at_s == pytest.approx(40.0, abs=2.0)


def test_a_clock_that_contradicts_ours_moves_no_incident_into_the_future():
    stored = metered(("p0", 1.0))
    world = made_work(stored=stored, sight=ClusterSight(pods=(pod("p0"),)))
    seen(world)
    before_s = world.work.tick.now_s()
    stored.clock_s += 3600.0
    world.work.tick.watch._clock.due = True
    seen(world)
    assert world.work.tick.data.reason == "Contradictory"
    assert 0.0 <= world.work.tick.now_s() - before_s < 60.0


def test_a_class_that_gets_an_slo_is_looked_for_anew():
    world = made_work()
    watch = world.work.tick.watch
    for slos, again in (([{"name": "chat", "ttftSeconds": 9.0}], False), ([{"name": "x"}], True)):
        body = fleet_body(slos=slos)
        world.work.renew(FleetObject.of(body))
        world.work.decide(())
        assert (world.work.tick.watch is not watch) is again


def test_an_hour_outlives_an_outage_and_is_given_up_where_it_teaches_nothing(monkeypatch):
    monkeypatch.setattr(tick, "HISTORY_READS_MAX", 3)
    world = past_world()
    world.stored.error = PrometheusError("http://stored: it answered 503; try again soon")
    for _ in range(5):
        world.work.ask_history()
        world.work.decide(())
    assert world.work.wants_history
    world.stored.error, world.stored.warnings = None, ("store eu did not answer",)
    for _ in range(3):
        assert world.work.wants_history
        world.work.ask_history()
        world.work.decide(())
    assert not world.work.wants_history
