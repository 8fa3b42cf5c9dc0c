"""2,000 resources that nobody should write: refused by the server, or by a condition."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from ops.controller.resources.fields import parse
from ops.controller.resources.kinds import KINDS
from ops.errors import ResourceError
from tests.cluster.fuzzing import fuzzed
from tests.cluster.installing import body, path_of
from tests.cluster.own_processes import Operator
from tests.cluster.processes import eventually
from tests.cluster.stack import Prometheus, scrape_config

NUM, WAVE, SEED = 2000, 250, 20261130
BY_PLURAL = {kind.plural: kind for kind in KINDS}
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure(f"f: {NUM} fuzzed resources refused with path and reason"),
]


@pytest.fixture
def operator(installed, tmp_path):
    prometheus = Prometheus(tmp_path / "prometheus", scrape_config({}))
    prometheus.write(scrape_config({"prometheus": [prometheus.url.removeprefix("http://")]}))
    prometheus.start()
    one = Operator(installed, tmp_path, metrics_url=prometheus.url).start()
    try:
        eventually(lambda: one.probe("/readyz")[0] == 200, what="a ready operator")
        yield one
    finally:
        one.stop()
        prometheus.stop()


def send(admin, namespace, one):
    """Status and decoded answer of one raw body."""
    answer = admin.pool.request(
        "POST",
        # Without warnings, a header each: there would be more of them than a client reads.
        f"{path_of(one.plural, namespace)}?fieldValidation=Ignore",
        body=one.raw,
        headers={**admin.pool.headers, "Content-Type": "application/json"},
    )
    return answer.status, json.loads(answer.data)


def fault_of(one, stored):
    """What our own types say of an object that the server took; "" where it fits."""
    kind = BY_PLURAL[one.plural]
    try:
        parse(kind.spec, stored.get("spec"), path=one.name)
    except ResourceError as error:
        return str(error)
    return ""


def ready_of(fleet):
    conditions = fleet.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Ready"), None)


def judged(admin, namespace, taken):
    """Whether the operator has said something about every Fleet that the server took."""
    fleets = {f["metadata"]["name"]: f for f in admin.items(path_of("fleets", namespace))}
    return all(
        (ready := ready_of(fleets[name])) and ready["observedGeneration"] >= 1 for name in taken
    )


def test_odd_resources_are_refused_and_the_operator_works_on(
    installed, namespace, operator, capsys
):
    admin, counts = installed.admin, Counter()
    requests = list(fuzzed(NUM, seed=SEED, namespace=namespace))
    for first in range(0, NUM, WAVE):
        taken = {}
        for one in requests[first : first + WAVE]:
            status, told = send(admin, namespace, one)
            assert status < 500, (one, told)
            if status >= 400:
                assert told["message"], one
                counts[f"refused {status} {told['reason']}"] += 1
                if told["reason"] == "Invalid":
                    where = [cause.get("field", "") for cause in told["details"]["causes"]]
                    assert (where and all(where)) or "<nil>" in told["message"], (one, told)
            else:
                counts["taken"] += 1
                fault = fault_of(one, told)
                assert not fault or one.plural == "fleets", (one, fault)  # a condition must say it
                if one.plural == "fleets":
                    taken[told["metadata"]["name"]] = fault_of(one, told)
        eventually(
            lambda taken=taken: judged(admin, namespace, taken), poll_s=0.5,
            what="a condition Ready on every Fleet",
        )  # fmt: skip
        for fleet in admin.items(path_of("fleets", namespace)):
            ready = ready_of(fleet)
            if fault := taken.get(fleet["metadata"]["name"]):
                assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec"), fault
                counts["refused by a condition: spec"] += 1
            elif ready["reason"] == "UnknownEndpoint":
                assert "endpoint" in ready["message"]
                counts["refused by a condition: endpoint"] += 1
        for plural in BY_PLURAL:
            admin.delete(path_of(plural, namespace))
            for left in admin.items(path_of(plural, namespace)):  # odd finalizers hold them
                own = path_of(plural, namespace, left["metadata"]["name"])
                admin.patch(own, {"metadata": {"finalizers": None}})
        assert operator.program.alive
    admin.create(path_of("fleets", namespace), body("Fleet", "sound"))
    sound = path_of("fleets", namespace, "sound")
    eventually(lambda: (ready_of(admin.get(sound)) or {}).get("status") == "True")
    with capsys.disabled():
        print("\n" + "\n".join(f"{counts[name]:5d} {name}" for name in sorted(counts)))
    assert sum(counts[n] for n in counts if n == "taken" or n.startswith("refused 4")) == NUM
