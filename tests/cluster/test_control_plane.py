"""The harness itself: what the other tests of this folder stand on."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.adapters.kube.rights import Right
from tests.cluster import binaries
from tests.cluster.accounts import add_account, grant
from tests.cluster.api import ApiError
from tests.cluster.control_plane import STOP_ORDER, ControlPlane
from tests.cluster.processes import WAIT_S, Program, eventually
from tests.cluster.workloads import (
    REGION,
    cold_start,
    deployment,
    deployments_path,
    is_ready,
    node,
    pods_path,
)

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
PHASES = ("scheduling", "pulling", "loading", "ready")


def pods(plane, namespace):
    return plane.admin.items(pods_path(namespace))


def reader(plane, namespace, account="reader"):
    """A ServiceAccount that may read pods of this namespace; its client."""
    add_account(plane, namespace, account)
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    grant(plane, namespace, account, [rule])
    return plane.api(plane.token(namespace, account))


def test_a_deployment_of_three_runs_on_nodes_with_gpus_in_its_region(control_plane, namespace):
    made = deployment("chat", replicas=3, gpus=1, region="south")
    control_plane.admin.create(deployments_path(namespace), made)
    eventually(lambda: sum(map(is_ready, pods(control_plane, namespace))) == 3)
    nodes = {n["metadata"]["name"]: n for n in control_plane.admin.items("/api/v1/nodes")}
    for pod in pods(control_plane, namespace):
        assert nodes[pod["spec"]["nodeName"]]["metadata"]["labels"][REGION] == "south"
    assert nodes["south-0"]["status"]["allocatable"]["nvidia.com/gpu"] == "8"


def test_a_cold_pod_spends_its_time_on_image_and_model_one_after_the_other(
    control_plane, namespace
):
    pull_s, load_s = 1.5, 2.0
    made = deployment("llm", annotations=cold_start(pull_s=pull_s, load_s=load_s))
    first_s, last_s, began_s = {}, {}, time.monotonic()
    control_plane.admin.create(deployments_path(namespace), made)
    while "ready" not in first_s:
        assert time.monotonic() - began_s < WAIT_S, first_s
        asked_s = time.monotonic()
        for pod in pods(control_plane, namespace):
            status = pod.get("status", {})
            (container,) = status.get("containerStatuses") or [{"state": {}}]
            phase = (
                "ready" if is_ready(pod)
                else "loading" if "running" in container["state"]
                else "pulling" if "waiting" in container["state"]
                else "scheduling"
            )  # fmt: skip
            last_s[phase] = asked_s
            first_s.setdefault(phase, time.monotonic())
        time.sleep(0.02)
    # A busy machine looks late, or misses a stage; from before one to after it is never too short.
    assert [*first_s] == [one for one in PHASES if one in first_s]
    assert first_s.get("loading", first_s["ready"]) - began_s >= pull_s
    assert first_s["ready"] - last_s.get("pulling", began_s) >= load_s

    def told():
        events = control_plane.admin.items(f"/api/v1/namespaces/{namespace}/events")
        return {"Pulling", "Pulled"} <= {event["reason"] for event in events}

    eventually(told, what="events of the image")


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(control_plane, namespace):
    api = reader(control_plane, namespace)
    since = control_plane.audit.mark()
    assert api.get(pods_path(namespace))["items"] == []
    for path in (
        pods_path("default"),
        f"/api/v1/namespaces/{namespace}/secrets",
        "/api/v1/nodes",
    ):
        with pytest.raises(ApiError, match=r"^403 Forbidden: .*cannot list resource"):
            api.get(path)
    with pytest.raises(ApiError, match=r"^403"):
        api.create(pods_path(namespace), {"metadata": {"name": "mine"}})
    api.close()
    user = f"system:serviceaccount:{namespace}:reader"
    audit = control_plane.audit
    assert audit.rights_used(user=user, since=since) == {Right("list", "", "pods", "", namespace)}
    assert audit.rights_refused(user=user, since=since) == {
        Right("list", "", "pods", "", "default"),
        Right("list", "", "secrets", "", namespace),
        Right("list", "", "nodes", "", ""),
        Right("create", "", "pods", "", namespace),
    }
    assert audit.writes(user=user, since=since) == []


def test_the_audit_log_names_every_write_but_no_dry_run(control_plane, namespace):
    plane = control_plane
    api = reader(plane, namespace, "writer")
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/writer"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch"]}]
    plane.admin.patch(role, {"rules": rules})
    since, path = plane.audit.mark(), f"/api/v1/namespaces/{namespace}/configmaps"
    eventually(lambda: created(api, path, "dry", dryRun="All"), what="the new role")
    api.create(path, {"metadata": {"name": "wet"}})
    api.patch(f"{path}/wet", {"data": {"a": "b"}})
    with pytest.raises(ApiError, match=r"^409"):
        api.create(path, {"metadata": {"name": "wet"}})
    api.close()
    written = plane.audit.writes(user=f"system:serviceaccount:{namespace}:", since=since)
    assert [(w.right.verb, w.right.resource, w.status) for w in written] == [
        ("create", "configmaps", 201),
        ("patch", "configmaps", 200),
    ]


def created(api, path, name, **params):
    try:
        api.create(path, {"metadata": {"name": name}}, **params)
    except ApiError as error:
        assert error.status == 403
        return False
    return True


def test_no_token_and_an_unknown_token_are_turned_away(control_plane):
    for token in ("", "unknown"):
        api = control_plane.api(token)
        with pytest.raises(ApiError, match=r"^401"):
            api.get("/api/v1/pods")
        api.close()
    api = control_plane.api(control_plane.tokens["nobody"])
    with pytest.raises(ApiError, match=r"^403"):
        api.get("/api/v1/pods")
    api.close()


def test_kubectl_is_the_built_one_whatever_path_says(control_plane, tmp_path, monkeypatch):
    other = tmp_path / "kubectl"
    other.write_text("#!/bin/sh\nexit 9\n")
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    told = control_plane.kubectl("version", "-o", "json").stdout
    assert told.count('"gitVersion": "v1.36.3"') == 2  # client and server


def test_a_node_without_gpus_left_keeps_the_pod_waiting(control_plane, namespace):
    made = deployment("big", gpus=9)
    control_plane.admin.create(deployments_path(namespace), made)

    def unschedulable():
        found = pods(control_plane, namespace)
        conditions = [c for pod in found for c in pod.get("status", {}).get("conditions", [])]
        return any("Insufficient nvidia.com/gpu" in c.get("message", "") for c in conditions)

    eventually(unschedulable)


def test_the_api_server_comes_back_at_the_same_address_with_the_same_objects(
    control_plane, namespace
):
    before = control_plane.server
    control_plane.restart_api_server()
    assert control_plane.server == before
    assert control_plane.admin.exists(f"/api/v1/namespaces/{namespace}")


def test_nothing_is_left_of_a_control_plane_that_was_stopped(tmp_path):
    plane = ControlPlane(binaries=binaries.find(), folder=tmp_path / "second").start()
    plane.admin.create("/api/v1/nodes", node("alone"))
    pids = {name: plane.programs[name].pid for name in STOP_ORDER}
    assert all(Path(f"/proc/{pid}").exists() for pid in pids.values())
    plane.stop()
    assert [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()] == []
    assert not (plane.folder / "etcd").exists()
    assert (plane.folder / "kube-apiserver.log").exists()


def test_programs_of_a_killed_test_run_end_with_it(tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.cluster.processes import Program\n"
        "one = Program(name='sleep', argv=['sleep', '60'], log=Path(sys.argv[1])).start()\n"
        "print(one.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True,
        cwd=ROOT,
    ) as run:  # fmt: skip
        pid = int(run.stdout.readline())
        eventually(lambda: Path(f"/proc/{pid}/cmdline").read_text().startswith("sleep"))
        run.kill()
    eventually(lambda: gone(pid))


def state(pid):
    """The kernel's letter for what it does."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def gone(pid):
    """Whether it ended, be it that nobody waited for it."""
    try:
        return state(pid) == "Z"
    except OSError:
        return True


def test_a_program_that_does_not_become_ready_shows_the_end_of_its_log(tmp_path):
    argv = ["sh", "-c", "echo no such flag; exit 3"]
    program = Program(name="broken", argv=argv, log=tmp_path / "log").start()
    with pytest.raises(AssertionError, match=r"broken ended with 3\n--- .*log\nno such flag"):
        program.ready(lambda: False)
    deaf = ["sh", "-c", "trap '' TERM; echo here; sleep 60; echo there"]
    stuck = Program(name="stuck", argv=deaf, log=tmp_path / "log2").start()
    eventually(stuck.log_text, what="a program that is deaf by now")
    with pytest.raises(AssertionError, match=r"stuck not ready after 0.2 s"):
        stuck.ready(lambda: False, timeout_s=0.2)
    began_s = time.monotonic()
    assert stuck.stop(grace_s=0.3) == -signal.SIGKILL  # and the sleep of the shell with it
    assert 0.25 < time.monotonic() - began_s < 50.0  # it sleeps longer
    assert stuck.log_text() == "here\n"


def test_a_paused_program_uses_no_processor_until_it_is_resumed(tmp_path):
    busy = Program(name="busy", argv=["sh", "-c", "while :; do :; done"], log=tmp_path / "log")
    busy.start()
    try:
        eventually(lambda: busy.cpu_s() > 0.0)
        busy.pause()
        eventually(lambda: state(busy.pid) == "T", what="a signal that has arrived")
        before_s = busy.cpu_s()
        time.sleep(0.2)
        assert busy.cpu_s() == before_s
        busy.resume()
        eventually(lambda: busy.cpu_s() > before_s)
        assert 0.0 < busy.rss_mib() <= busy.rss_mib_peak() < 50.0
    finally:
        busy.stop()


def test_missing_programs_are_named_with_the_command_that_helps(tmp_path):
    with pytest.raises(binaries.NoBinariesError, match=r"etcd .*make cluster-binaries.*=skip"):
        binaries.find({"KUBEBUILDER_ASSETS": str(tmp_path)})
    with pytest.raises(binaries.NoBinariesError, match=r"kwok, stages.yaml not in the cache"):
        binaries.find({"XDG_CACHE_HOME": str(tmp_path)})
    for name in binaries.NAMES:
        (tmp_path / name).touch()
    found = binaries.find({"KUBEBUILDER_ASSETS": str(tmp_path), "TEST_ASSET_ETCD": sys.executable})
    assert (found.etcd, found.kubectl) == (Path(sys.executable), tmp_path / "kubectl")
