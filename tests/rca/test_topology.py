"""Pods, machines and the call graph of recorded incidents whose names mean nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rca.datasets import find_cases, read_case
from rca.incident import Column, Incident
from rca.localise import localise

ROWS, FAULT, STEP_S = 60, 40, 60.0
METRICS = ("cpu", "mem", "latency-90", "load")
PODS = {f"{s}-{n}": s for s in ("qa", "qb", "qc", "qd") for n in range(3)}
NODES = {pod: f"m{int(pod[-1])}" for pod in PODS}


def fleet(*, seed=0, owners=tuple(PODS), **kwargs):
    rng = np.random.default_rng(seed)
    columns = tuple(Column(o, m) for o in owners for m in METRICS)
    values = rng.normal(10.0, 0.4, (ROWS, len(columns)))
    times_s = STEP_S * np.arange(ROWS)
    return Incident(incident_id="made", times_s=times_s, values=values, columns=columns,
                    step_s=STEP_S, fault_at_s=STEP_S * FAULT, **kwargs)  # fmt: skip


def hit(incident, owner, factor, *metrics):
    for n, column in enumerate(incident.columns):
        if column.owner == owner and column.metric in (metrics or METRICS):
            incident.values[FAULT:, n] *= factor


def names(found):
    return [s.name for s in found]


@pytest.mark.parametrize("seed", range(3))
def test_pods_of_one_machine_that_move_together_vote_for_the_machine(seed):
    incident = fleet(seed=seed, instances=PODS, nodes=NODES)
    for pod, node in NODES.items():
        if node == "m1":
            hit(incident, pod, 2.0)
    instances = names(localise(incident, granger=None).instances)
    assert instances[0] == "m1"
    assert set(instances[1:5]) == {pod for pod, node in NODES.items() if node == "m1"}


@pytest.mark.parametrize("seed", range(3))
def test_one_pod_of_a_service_is_named_and_its_machine_is_not(seed):
    incident = fleet(seed=seed, instances=PODS, nodes=NODES)
    hit(incident, "qb-1", 2.0)
    found = localise(incident, granger=None)
    assert found.services[0].name == "qb"
    instances = names(found.instances)
    assert instances[0] == "qb-1"
    assert instances.index("m1") > 3


@pytest.mark.parametrize("seed", range(3))
def test_all_pods_of_a_service_off_is_the_service_and_no_machine(seed):
    incident = fleet(seed=seed, instances=PODS, nodes=NODES)
    for n in range(3):
        hit(incident, f"qb-{n}", 2.0)
    found = localise(incident, granger=None)
    assert found.services[0].name == "qb"
    assert set(names(found.instances)[:3]) == {"qb-0", "qb-1", "qb-2"}


def test_where_everything_moves_no_machine_is_singled_out():
    incident = fleet(instances=PODS, nodes=NODES)
    for pod in PODS:
        hit(incident, pod, 2.0)
    instances = names(localise(incident, granger=None).instances)
    assert instances[0] in PODS


CHAIN = (("ua", "ub"), ("ub", "uc"), ("uc", "ud"))
SERVICES = ("ua", "ub", "uc", "ud", "ue", "uf")


@pytest.mark.parametrize("seed", range(4))
def test_the_deepest_slow_service_of_a_chain_is_named(seed):
    incident = fleet(seed=seed, owners=SERVICES, calls=CHAIN, entry="ua")
    for owner, factor in (("ua", 3.4), ("ub", 3.3), ("uc", 3.2), ("ud", 3.0)):
        hit(incident, owner, factor, "latency-90")
    assert localise(incident, granger=None).services[0].name == "ud"


def test_who_has_no_path_to_the_users_is_believed_less():
    incident = fleet(owners=SERVICES, calls=(*CHAIN, ("ue", "uf")), entry="ub")
    hit(incident, "uf", 1.9, "cpu", "mem")
    hit(incident, "ud", 1.8, "cpu", "mem")
    assert localise(incident, granger=None).services[0].name == "ud"
    assert localise(replace(incident, entry=""), granger=None).services[0].name == "uf"
    above = replace(incident, calls=(*CHAIN, ("uf", "ua")))  # callers of the users' service count
    assert localise(above, granger=None).services[0].name == "uf"


@pytest.mark.parametrize(("extra", "entry"), [
    ({"target": "ub_latency-90"}, "ub"), ({"target": "uc"}, "uc"), ({"sli": ["ua_load"]}, "ua"),
    ({"sli": ["ua_load", "ub_load"]}, ""), ({"entry": "ud", "target": "ua"}, "ud"),
    ({"target": "nobody"}, ""), ({"sli": []}, ""), ({"target": None}, ""),
])  # fmt: skip
def test_the_service_that_users_see_is_read_from_target_or_sli(tmp_path, extra, entry):
    folder = tmp_path / "some" / "one"
    folder.mkdir(parents=True)
    incident = fleet(owners=SERVICES)
    header = ",".join(["time", *map(str, incident.columns), "sli_ok"])
    rows = np.column_stack([incident.times_s, incident.values, np.ones(ROWS)])
    np.savetxt(folder / "metrics.csv", rows, delimiter=",", header=header, comments="", fmt="%.6g")
    (folder / "case.json").write_text(json.dumps({"inject_time": 2400, **extra}))
    assert read_case(find_cases(tmp_path)[0])[0].entry == entry
