"""Ranking of recorded incidents: blind spots of simple scores, wrong times, dirty tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rca.channels.surprise import Surprise
from rca.incident import Column, Incident
from rca.knobs import GRID, LocaliseConfig, central, settings
from rca.localise import localise
from rca.state import ChangeEvent, ChangeKind

ROWS, FAULT, STEP_S = 160, 120, 10.0
SERVICES = ("ads", "cart", "mail", "pay", "shop", "user")
LEVELS = {"cpu": 0.2, "mem": 2e8, "latency-90": 0.04, "success": 0.999, "load": 30.0}


def quiet(*, seed=0, rows=ROWS, services=SERVICES, levels=None):
    """A deployment at rest: five metrics of each service, noise of 3 %."""
    rng = np.random.default_rng(seed)
    levels = levels or LEVELS
    columns = tuple(Column(s, m) for s in services for m in levels)
    noise = rng.normal(1.0, 0.03, (rows, len(columns)))
    values = np.array([levels[c.metric] for c in columns]) * noise
    for n, column in enumerate(columns):
        if column.metric == "success":
            values[:, n] = np.minimum(0.999 + rng.normal(0.0, 2e-4, rows), 1.0)
    return Incident(
        incident_id="made", times_s=1000.0 + STEP_S * np.arange(rows), values=values,
        columns=columns, step_s=STEP_S, fault_at_s=1000.0 + STEP_S * FAULT,
    )  # fmt: skip


def place(incident, service, metric):
    return incident.columns.index(Column(service, metric))


def broken(*, factor=3.0, service="pay", metric="cpu", start=FAULT, end=None, **kwargs):
    incident = quiet(**kwargs)
    incident.values[start:end, place(incident, service, metric)] *= factor
    return incident


def order(found):
    return [s.name for s in found.services]


@pytest.mark.parametrize(("metric", "factor"), [
    ("cpu", 3.0), ("mem", 1.6), ("latency-90", 4.0), ("success", 0.8), ("load", 0.3),
])  # fmt: skip
def test_a_change_of_any_kind_names_its_service_and_metric(metric, factor):
    found = localise(broken(metric=metric, factor=factor))
    assert order(found)[0] == "pay"
    assert found.metrics[0].name == f"pay_{metric}"
    assert found.accused == ("pay",) and not found.abstained
    assert len(found.services) == len(SERVICES) and len(found.metrics) == len(SERVICES) * 5


def test_a_gauge_stuck_at_zero_that_moves_is_an_event():
    incident = quiet()
    extra = np.zeros((ROWS, 1))
    extra[FAULT:] = 5.0
    incident = replace(
        incident, values=np.hstack([incident.values, extra]),
        columns=(*incident.columns, Column("mail", "restarts")),
    )  # fmt: skip
    found = localise(incident)
    assert order(found)[0] == "mail"
    assert "constant before" in found.metrics[0].evidence.text


def test_quiet_time_accuses_nobody_but_is_still_ranked():
    accusations = 0
    for seed in range(20):
        found = localise(quiet(seed=seed))
        accusations += not found.abstained
        assert len(found.services) == len(SERVICES)
        assert found.reason
    assert accusations <= 1


def test_a_fall_of_latency_counts_less_than_a_rise():
    incident = broken(metric="latency-90", factor=1.5)
    incident.values[FAULT:, place(incident, "ads", "latency-90")] *= 0.5
    assert order(localise(incident))[0] == "pay"


@pytest.mark.parametrize("off_s", [-60.0, 60.0])
def test_a_fault_time_that_is_a_minute_wrong_changes_nothing(off_s):
    incident = broken()
    found = localise(replace(incident, fault_at_s=incident.fault_at_s + off_s))
    assert order(found)[0] == "pay"
    assert found.split.fault_start_s == pytest.approx(incident.fault_at_s, abs=STEP_S)
    assert any("given time" in note for note in found.notes)


def test_the_fault_time_is_found_when_nobody_gives_it():
    incident = broken()
    found = localise(replace(incident, fault_at_s=None))
    assert found.change_at_s == pytest.approx(incident.fault_at_s, abs=2 * STEP_S)
    assert order(found)[0] == "pay"


def test_order_names_and_units_do_not_matter():
    incident = broken(factor=1.7)
    plain = localise(incident)
    shuffle = np.random.default_rng(3).permutation(len(incident.columns))
    shuffled = replace(
        incident, values=incident.values[:, shuffle],
        columns=tuple(incident.columns[n] for n in shuffle),
    )  # fmt: skip
    assert localise(shuffled) == plain
    rescaled = replace(incident, values=incident.values * [
        1e-6 if c.metric == "mem" else 1e3 if c.metric == "latency-90" else 1.0
        for c in incident.columns
    ])  # fmt: skip
    assert order(localise(rescaled)) == order(plain)
    assert [m.name for m in localise(rescaled).metrics] == [m.name for m in plain.metrics]
    renamed = replace(
        incident, columns=tuple(Column(f"z{c.owner}", c.metric) for c in incident.columns)
    )
    assert [s.score for s in localise(renamed).services] == [s.score for s in plain.services]
    assert order(localise(renamed)) == [f"z{name}" for name in order(plain)]


def test_missing_cells_dead_series_a_reset_and_doubled_stamps_are_survived():
    incident = broken()
    rng = np.random.default_rng(5)
    values = np.where(rng.random(incident.values.shape) < 0.3, np.nan, incident.values)
    values[:, place(incident, "ads", "cpu")] = np.nan
    values[:, place(incident, "mail", "mem")] = 0.0
    grown = np.cumsum(np.abs(rng.normal(5.0, 1.0, ROWS)))
    grown[70:] -= grown[70]
    incident = replace(
        incident, values=np.hstack([values, grown[:, None]]),
        columns=(*incident.columns, Column("cart", "requests-total")),
    )  # fmt: skip
    assert order(localise(incident))[0] == "pay"


def test_late_services_do_not_hide_the_cause():
    incident = broken()
    for service in ("pay", "user"):
        for metric in LEVELS:
            n = place(incident, service, metric)
            incident.values[2:, n] = incident.values[:-2, n]
    assert order(localise(incident))[0] == "pay"


def test_two_causes_at_once_are_both_named():
    incident = broken(factor=4.0)
    incident.values[FAULT:, place(incident, "cart", "cpu")] *= 4.0
    assert set(localise(incident).accused) == {"pay", "cart"}


def test_pods_are_ranked_and_machines_are_no_candidates():
    base = quiet(services=("cart.0", "cart.1", "pay.0", "vm-1"))
    base.values[FAULT:, place(base, "cart.1", "cpu")] *= 4.0
    base.values[FAULT:, place(base, "vm-1", "cpu")] *= 9.0
    instances = {"cart.0": "cart", "cart.1": "cart", "pay.0": "pay"}
    found = localise(replace(base, instances=instances))
    assert order(found) == ["cart", "pay"]
    assert found.instances[0].name == "cart.1"


def test_a_memory_leak_that_burns_cpu_is_named_memory():
    incident = broken(metric="mem", factor=5.0)
    incident.values[FAULT:, place(incident, "pay", "cpu")] *= 60.0
    assert localise(incident).metrics[0].name == "pay_mem"


def test_a_fresh_change_decides_between_equals_but_accuses_nobody_alone():
    incident = broken(factor=2.0)
    incident.values[FAULT:, place(incident, "cart", "cpu")] *= 2.0
    change = ChangeEvent(at_s=incident.fault_at_s - 20.0, kind=ChangeKind.DEPLOY, region="",
                         service="pay", revision_from="1", revision_to="2")  # fmt: skip
    found = localise(replace(incident, changes=(change,)))
    assert order(found)[0] == "pay" and "change" in found.services[0].channels
    calm = localise(replace(quiet(), changes=(change,)))
    assert "change" not in calm.services[0].channels


def test_a_channel_passed_in_is_heard_and_can_be_left_out():
    def chats(incident, split):
        assert split.fault_start_s == incident.fault_at_s
        return [Surprise(name="chats", score={"user": 50.0}, null=1.0)]

    incident = broken(factor=1.3)
    assert order(localise(incident, channels=(chats,)))[0] == "user"
    assert order(localise(incident, channels=(chats,), without=("chats",)))[0] == "pay"


def test_too_few_rows_are_said_not_guessed():
    incident = quiet(rows=4)
    found = localise(replace(incident, fault_at_s=None))
    assert found.abstained and "4 rows" in found.reason
    assert order(found) == sorted(SERVICES)


def test_the_same_input_gives_the_same_answer():
    assert localise(broken()) == localise(broken())


def test_shipped_settings_are_on_the_grid():
    config = LocaliseConfig()
    assert len(GRID) <= 8
    assert config in settings() and len(settings()) == 81
    with pytest.raises(ValueError, match="saturation is 0"):
        LocaliseConfig(saturation=0)


def test_of_settings_that_are_as_good_the_middle_is_taken():
    good = [replace(LocaliseConfig(), saturation=s) for s in (2.0, 4.0, 8.0)]
    assert central(good) == LocaliseConfig()
    lonely = replace(LocaliseConfig(), level_floor=0.02, wrong_way=1.0)
    assert central([lonely]) == lonely


def test_a_metric_under_more_names_is_no_more_evidence():
    incident = broken(metric="latency-90", factor=1.5)
    plain = localise(incident, granger=None)
    n = place(incident, "ads", "latency-90")
    copies = np.repeat(incident.values[:, [n]], 3, axis=1)
    names = tuple(Column("ads", f"latency-{p}") for p in (50, 95, 99))
    more = replace(incident, values=np.hstack([incident.values, copies]),
                   columns=(*incident.columns, *names))  # fmt: skip
    found = localise(more, granger=None)
    assert order(found) == order(plain)
    score = {s.name: s.score for s in plain.services}
    assert {s.name: s.score for s in found.services} == pytest.approx(score, rel=1e-6)


def test_who_serves_the_users_is_not_accused_of_what_it_passes_on():
    incident = broken(metric="latency-90", factor=4.0)
    incident.values[FAULT:, place(incident, "shop", "latency-90")] *= 4.4
    assert order(localise(incident))[0] == "shop"
    assert order(localise(replace(incident, entry="shop")))[0] == "pay"
