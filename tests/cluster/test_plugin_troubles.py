"""What a person sees at night when the API server, the definitions or the operator are away."""

from __future__ import annotations

import json
import re

import pytest

from ops.clock import wall_s
from ops.controller.moments import rfc3339
from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.installing import path_of
from tests.cluster.own_processes import LEASE_PATH
from tests.cluster.test_plugin import NAME, User, bound_to, named, store, user  # noqa: F401

pytestmark = pytest.mark.cluster
LONG_S = 900.0


@pytest.fixture
def broken(installed, tmp_path):
    """A person whose way to the API server can be broken."""
    proxy = FaultProxy(installed.server, certificates=installed.folder)
    config = installed.kubeconfig("admin", installed.tokens["admin"], server=proxy.url)
    yield User(installed, tmp_path, config), proxy
    proxy.close()


FAULTS = {
    "slow": (lambda proxy: proxy.delay(20.0), "--timeout-s allows more time"),
    "half-open": (lambda proxy: proxy.half_open(), "Nothing is known of the cluster now"),
    "reset": (lambda proxy: proxy.reset(), "kubectl get --raw /readyz"),
    "503": (lambda proxy: proxy.answer(503, body=b"{}"), "503"),
    "not installed": (
        lambda proxy: proxy.answer(404, body=b"404 page not found\n"), "is not installed here",
    ),
}  # fmt: skip


SILENT = ("slow", "half-open")  # the others answer, be it late on a busy machine


@pytest.mark.parametrize("fault", FAULTS)
def test_without_an_answer_nothing_is_shown_and_the_next_step_is_told(
    installed, namespace, broken, fault
):
    person, proxy = broken
    store(installed, namespace, *named(namespace))
    begin, says = FAULTS[fault]
    begin(proxy)
    for words in (("status",), ("why",)):
        done = person(*words, "-n", namespace, "--timeout-s", "2" if fault in SILENT else "60")
        assert (done.returncode, done.stdout) == (2, ""), done
        assert done.stderr.startswith("error: ") and says in done.stderr
        assert done.stderr.count("\n") == 1


def test_what_is_stored_is_said_to_be_old_once_the_operator_is_gone(
    installed,
    namespace,
    watched,
    make_operator,
    user,  # noqa: F811
    tmp_path,
):
    """Ages are made by writing older moments than it would take too long to wait for."""
    operator = make_operator().start()
    try:
        watched.wait()
    finally:
        operator.program.kill()
    (incident,) = [one for one in named(namespace) if one["kind"] == "Incident"]
    store(installed, namespace, incident)
    path = path_of("fleets", namespace, "chat")
    assert installed.admin.get(path)["status"]["observedAt"]
    viewer = User(installed, tmp_path, bound_to(installed, namespace, "view", "list"))
    now = viewer("status", "-n", namespace)
    assert "Nobody has watched" not in now.stdout  # it may be starting again
    then = rfc3339(wall_s() - LONG_S)
    installed.admin.patch(f"{path}/status", {"status": {"observedAt": then}})
    told = re.compile(r"Nobody has watched it for (1[5-9]|[2-5]\d) min")
    for words in (("status",), ("why", NAME)):
        done = viewer(*words, "-n", namespace)
        assert told.search(done.stdout), done
        assert f"what is shown is from {then[11:19]} UTC" in done.stdout
    assert viewer("status", "-n", namespace).returncode == 1
    assert "not judged since: nobody watches" in viewer("why", NAME, "-n", namespace).stdout
    told = json.loads(viewer("status", "-n", namespace, "--json").stdout)
    assert (told["stale"], told["needsALook"]) == ([f"{namespace}/chat"], True)
    installed.admin.patch(LEASE_PATH, {"spec": {"renewTime": f"{then[:-1]}.000000Z"}})
    admin = user("status", "-n", namespace).stdout  # may read the Lease
    silent = r"! No operator leads: the Lease was last renewed (1[5-9]|[2-5]\d) min"
    assert re.match(silent, admin), admin
    assert admin.count("logs deployment/midwatch-operator") == 1
