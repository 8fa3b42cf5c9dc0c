"""One control plane for the whole run, one namespace for each test.

The group needs the programs of `make cluster-binaries`; MIDWATCH_CLUSTER=skip leaves it out and
lists what is then not shown, by the marks `figure` of the tests.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.accounts import roles_in_force
from tests.cluster.api import ApiError
from tests.cluster.control_plane import ControlPlane
from tests.cluster.full_fleet import many_incidents
from tests.cluster.installing import apply
from tests.cluster.own_processes import Operator, add_fleet
from tests.cluster.processes import eventually
from tests.cluster.stack import Prometheus, scrape_config
from tests.cluster.watched import Watched
from tests.cluster.workloads import deployment, deployments_path, node

HERE = Path(__file__).parent
NOT_SHOWN = pytest.StashKey[list]()
PLANE = pytest.StashKey[ControlPlane]()
NODES = (("north-0", "north"), ("north-1", "north"), ("south-0", "south"), ("south-1", "south"))


def pytest_collection_modifyitems(config, items):
    """Every test here is of the group `cluster`, and left out where that is asked for."""
    left_out = []
    for item in items:
        if HERE not in item.path.parents:
            continue
        if item.get_closest_marker("cluster") is None:
            raise pytest.UsageError(f"{item.nodeid} lacks the mark `cluster`: pytest.mark.cluster")
        if os.environ.get("MIDWATCH_CLUSTER") == "skip":
            item.add_marker(pytest.mark.skip(reason="MIDWATCH_CLUSTER=skip"))
            left_out += [mark.args[0] for mark in item.iter_markers("figure")]
    config.stash[NOT_SHOWN] = list(dict.fromkeys(left_out))


def pytest_terminal_summary(terminalreporter, config):
    not_shown = config.stash.get(NOT_SHOWN, [])
    if not_shown:
        terminalreporter.section("not shown, as MIDWATCH_CLUSTER=skip")
        for text in not_shown:
            terminalreporter.line(f"- {text}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Name the folder of the logs with every failure."""
    report = yield
    plane = item.config.stash.get(PLANE, None)
    if report.failed and plane is not None:
        tails = [program.log_tail() for program in plane.programs.values() if not program.alive]
        where = f"logs and audit.log: {plane.folder}"
        report.sections.append(("control plane", "\n".join([where, *tails])))
    return report


@pytest.fixture(scope="session")
def control_plane(request, tmp_path_factory):
    """A running ControlPlane with four nodes of 8 GPUs in the regions north and south."""
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
        pytest.fail("these tests share one control plane: run them without -n (make test-cluster)")
    missing = ""
    try:
        found = binaries.find()
    except binaries.NoBinariesError as error:
        missing = str(error)
    if missing:
        pytest.fail(missing, pytrace=False)
    plane = ControlPlane(binaries=found, folder=tmp_path_factory.mktemp("control-plane"))
    request.config.stash[PLANE] = plane
    plane.start()
    try:
        for name, region in NODES:
            plane.admin.create("/api/v1/nodes", node(name, region=region))
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def namespace(request, control_plane):
    """A namespace of this test's own, named after it; gone some time after it."""
    name = re.sub("[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_"))[:40]
    name = f"{name.strip('-')}-{secrets.token_hex(3)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.admin.create("/api/v1/namespaces", body)
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"  # no pod before it is there
    eventually(lambda: control_plane.admin.exists(account), what=account)
    yield name
    with suppress(ApiError, OSError):
        control_plane.admin.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def installed(control_plane):
    """The control plane with the default manifests applied and the operator's rights in force."""
    apply(control_plane)
    roles_in_force(control_plane)
    return control_plane


@pytest.fixture
def watched(installed, namespace):
    """A Deployment of three pods and its Fleet."""
    installed.admin.create(deployments_path(namespace), deployment("chat", replicas=3))
    add_fleet(installed, namespace)
    return Watched(installed, namespace)


@pytest.fixture(scope="session")
def empty_prometheus(tmp_path_factory):
    """A server that scrapes itself only: no metrics of any fleet."""
    one = Prometheus(tmp_path_factory.mktemp("prometheus"), scrape_config({}))
    one.write(scrape_config({"prometheus": [one.url.removeprefix("http://")]}))
    yield one.start()
    one.stop()


@pytest.fixture(scope="module")
def shop(control_plane):
    """A namespace with a Fleet of two pods, and with as many Incidents as are kept and one more."""
    with many_incidents(control_plane) as name:
        yield name


@pytest.fixture
def make_operator(installed, tmp_path, empty_prometheus):
    """Makes an operator that is not started yet."""

    def one(**options):
        return Operator(installed, tmp_path, **{"metrics_url": empty_prometheus.url, **options})

    return one


@pytest.fixture
def say(capsys):
    """Print a measured figure, whatever pytest captures."""

    def line(text):
        with capsys.disabled():
            print(f"\n{text}", end=" ")

    return line
