"""`kubectl midwatch` as its user runs it: found by kubectl, with their kubeconfig and rights."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ops.adapters.kube.rights import Right
from ops.controller.screens.look import Kubectl, look_commands
from tests.cluster.accounts import add_account, bind, grant, in_force, user_of
from tests.cluster.certificates import openssl
from tests.cluster.control_plane import write_private
from tests.cluster.granted import RBAC
from tests.cluster.installing import path_of
from tests.cluster.processes import WAIT_S, eventually, free_ports
from tests.cluster.workloads import deployment, deployments_path, pods_path
from tests.ops.controller import stored_objects as made

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
NAME = "chat-20261130-020645-a1b2c"


class User:
    """A person at a terminal: kubectl, the plugin on PATH, a kubeconfig."""

    def __init__(self, plane, folder, kubeconfig):
        self.plane, self.folder, self.kubeconfig = plane, folder, kubeconfig
        script = folder / "kubectl-midwatch"
        script.write_text(f"#!{sys.executable}\nfrom ops.plugin import main\nmain()\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def __call__(self, *argv, **env):
        path = os.pathsep.join([str(self.folder), os.defpath])
        return subprocess.run(
            [self.plane.binaries.kubectl, "midwatch", *map(str, argv)], capture_output=True,
            text=True, timeout=WAIT_S, cwd=self.folder,
            env={
                "HOME": str(self.folder), "PATH": path, "PYTHONPATH": str(ROOT),
                "KUBECONFIG": str(self.kubeconfig),
            } | env,
        )  # fmt: skip


@pytest.fixture
def user(installed, tmp_path):
    return User(installed, tmp_path, installed.kubeconfig("admin", installed.tokens["admin"]))


def store(plane, namespace, *objects):
    """Create objects, then write their statuses, as the operator does."""
    for item in objects:
        item["metadata"].pop("creationTimestamp", None)
        item["metadata"]["namespace"] = namespace
        if item["kind"] == "ConfigMap":
            plane.admin.create(f"/api/v1/namespaces/{namespace}/configmaps", item)
            continue
        folder = path_of(f"{item['kind'].lower()}s", namespace)
        plane.admin.create(folder, item)
        if item["status"]:
            path = f"{folder}/{item['metadata']['name']}/status"
            plane.admin.patch(path, {"status": item["status"]})


def named(namespace):
    return [
        made.fleet(namespace=namespace), made.incident(NAME, made.NAMED, namespace=namespace),
        made.report_map(namespace=namespace),
    ]  # fmt: skip


def test_a_person_looks_asks_why_and_saves_the_page(installed, namespace, user, tmp_path):
    store(installed, namespace, *named(namespace))
    status = user("status", "-n", namespace)
    assert (status.returncode, status.stderr) == (1, "")
    assert f"{namespace}/chat  Observe  11 of 12 pods ready  1 open incident" in status.stdout
    why = user("why", "chat-", "-n", namespace)
    assert why.returncode == 0
    assert made.NAMED.summary in why.stdout
    assert "right in" in why.stdout
    for line in why.stdout.splitlines():
        if line.startswith("report"):
            saved = user(*line.split()[3:], "--out", tmp_path / "page.html")
    assert saved.returncode == 0, saved.stderr
    assert (tmp_path / "page.html").read_bytes() == made.PAGE
    exported = user("export", NAME, "-n", namespace, "--out", tmp_path / "inc")
    assert exported.returncode == 0
    stored = json.loads((tmp_path / "inc" / "incident.json").read_text())
    assert stored["status"]["confidence"] == 0.82
    assert "events" not in exported.stderr


def test_everything_is_seen_from_everywhere(installed, namespace, user):
    store(installed, namespace, made.incident("here-1", made.NAMED, namespace=namespace))
    assert f"{namespace}/chat" in user("status", "-A").stdout
    elsewhere = user("why", "here-1", "-n", "default")
    assert elsewhere.returncode == 2
    assert f"add -n {namespace}" in elsewhere.stderr


def test_commands_to_look_with_are_taken_by_kubectl_as_they_stand(installed, namespace, user):
    """All but logs and top: kwok runs no containers, and nobody measures them here."""
    store(installed, namespace, *named(namespace))
    installed.admin.create(deployments_path(namespace), deployment("chat"))
    eventually(lambda: installed.admin.items(pods_path(namespace)), what="a pod")
    pod = installed.admin.items(pods_path(namespace))[0]["metadata"]["name"]
    suspects = (f"pod:north/{pod}", "service:north/chat", "node:north/north-0",
                "link:north/chat->chat", "workload:north", "registry:north", "")  # fmt: skip
    kubectl = Kubectl(namespace=namespace)
    for command in (one for suspect in suspects for one in look_commands(suspect, kubectl)):
        if " logs " in command or " top " in command:
            continue
        script = command.replace("kubectl", str(installed.binaries.kubectl), 1)
        done = subprocess.run(
            ["sh", "-c", script.split(" | ")[0]], capture_output=True, text=True, timeout=WAIT_S,
            env={"HOME": str(user.folder), "PATH": os.defpath, "KUBECONFIG": str(user.kubeconfig)},
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)
    why = user("why", "chat", "-n", namespace)
    assert f"look      kubectl -n {namespace} describe deployment session-store" in why.stdout


def test_freezing_changes_one_field_and_its_undo_brings_it_back(installed, namespace, user):
    store(installed, namespace, made.fleet(namespace=namespace))
    path = path_of("fleets", namespace, "chat")
    before = installed.admin.get(path)["spec"]
    dry = user("freeze", "chat", "-n", namespace, "--reason", "migration, Ada", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert installed.admin.get(path)["spec"] == before
    done = user("freeze", "chat", "-n", namespace, "--reason", "migration, Ada")
    assert done.returncode == 0, done.stderr
    after = installed.admin.get(path)
    assert after["spec"] == before | {"frozen": True, "freezeReason": "migration, Ada"}
    owners = [m["manager"] for m in after["metadata"]["managedFields"]]
    assert "kubectl-midwatch" in owners
    undo = done.stdout.splitlines()[-1].removeprefix("undo: kubectl midwatch ")
    assert user(*undo.split()).returncode == 0
    assert installed.admin.get(path)["spec"] == before


def rights_of(plane, namespace, account, rules):
    """A ServiceAccount with a Role; its kubeconfig."""
    add_account(plane, namespace, account)
    grant(plane, namespace, account, rules)
    return plane.kubeconfig(account, plane.token(namespace, account))


def test_who_may_only_read_incidents_gets_the_cause_and_is_told_what_is_refused(
    installed, namespace, tmp_path
):
    store(installed, namespace, *named(namespace))
    rules = [{"apiGroups": ["midwatch.dev"], "resources": ["incidents"], "verbs": ["get", "list"]}]
    reader = User(installed, tmp_path, rights_of(installed, namespace, "reader", rules))
    why = reader("why", NAME, "-n", namespace)
    assert why.returncode == 0
    assert made.NAMED.summary in why.stdout
    for words, what in (
        (("status",), "you may not read fleets"),
        (("report", NAME), "configmaps"),
        (("freeze", "chat", "--reason", "x"), "fleets"),
    ):
        done = reader(*words, "-n", namespace)
        assert done.returncode == 2
        assert what in done.stderr and "403" in done.stderr
        assert "Traceback" not in done.stderr
    everywhere = reader("why", NAME, "-A")
    assert everywhere.returncode == 2
    assert "name a namespace of yours with -n" in everywhere.stderr


def bound_to(plane, namespace, role, verb):
    """A ServiceAccount with one of the cluster's own roles, in force; its kubeconfig."""
    add_account(plane, namespace, role)
    folder = f"{RBAC}/namespaces/{namespace}"
    bind(plane, folder, namespace, role, kind="ClusterRole", role=role)
    # Ours are aggregated into the cluster's role some time after the manifests are applied.
    ours = Right(verb, "midwatch.dev", "fleets", "", namespace)
    in_force(plane, user_of(namespace, role), [ours])
    return plane.kubeconfig(role, plane.token(namespace, role))


def test_the_clusters_own_roles_are_enough_for_people(installed, namespace, tmp_path):
    store(installed, namespace, *named(namespace))
    viewer = User(installed, tmp_path, bound_to(installed, namespace, "view", "list"))
    assert viewer("status", "-n", namespace).returncode == 1
    assert viewer("report", NAME, "-n", namespace).returncode == 0
    assert viewer("freeze", "chat", "-n", namespace, "--reason", "x").returncode == 2
    editor = User(installed, tmp_path, bound_to(installed, namespace, "edit", "patch"))
    frozen = editor("freeze", "chat", "-n", namespace, "--reason", "x")
    assert frozen.returncode == 0, frozen.stderr


def with_user(plane, folder, credentials, name):
    config = json.loads(plane.kubeconfig("nobody", "x").read_text())
    config["users"][0]["user"] = credentials
    path = folder / f"{name}.kubeconfig"
    write_private(path, json.dumps(config))
    return path


def test_credentials_of_an_exec_plugin_and_of_a_certificate_are_used(
    installed, namespace, tmp_path
):
    token = installed.tokens["admin"]
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": token},
    }  # fmt: skip
    script = tmp_path / "login"
    script.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    script.chmod(0o700)
    how = {
        "apiVersion": "client.authentication.k8s.io/v1", "command": str(script),
        "interactiveMode": "Never",
    }  # fmt: skip
    store(installed, namespace, made.fleet(namespace=namespace))
    config = with_user(installed, tmp_path, {"exec": how}, "exec")
    assert "chat" in User(installed, tmp_path, config)("status", "-n", namespace).stdout
    script.write_text("#!/bin/sh\necho 'session has ended' >&2\nexit 1\n")
    failed = User(installed, tmp_path, config)("status", "-n", namespace)
    assert failed.returncode == 2
    assert "no credentials" in failed.stderr and "session has ended" in failed.stderr
    shutil.copy(installed.folder / "ca.key", tmp_path)
    shutil.copy(installed.folder / "ca.crt", tmp_path)
    openssl(tmp_path, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "me.key")
    openssl(tmp_path, "req", "-new", "-key", "me.key", "-subj", "/O=system:masters/CN=ada",
            "-out", "me.csr")  # fmt: skip
    openssl(tmp_path, "x509", "-req", "-in", "me.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "1", "-out", "me.crt")  # fmt: skip
    files = {"client-certificate": str(tmp_path / "me.crt"), "client-key": str(tmp_path / "me.key")}
    config = with_user(installed, tmp_path, files, "certificate")
    assert "chat" in User(installed, tmp_path, config)("status", "-n", namespace).stdout


def test_the_context_names_the_namespace_and_another_context_can_be_asked_for(
    installed, namespace, user, tmp_path
):
    store(installed, namespace, made.fleet(namespace=namespace))
    config = json.loads(Path(user.kubeconfig).read_text())
    (port,) = free_ports(1)
    config["contexts"][0]["context"]["namespace"] = namespace
    config["clusters"].append({"name": "gone", "cluster": {"server": f"https://127.0.0.1:{port}"}})
    config["contexts"].append({"name": "gone", "context": {"cluster": "gone", "user": "admin"}})
    user.kubeconfig = tmp_path / "two.kubeconfig"
    write_private(user.kubeconfig, json.dumps(config))
    assert f"{namespace}/chat" in user("status").stdout
    gone = user("status", "--context", "gone")
    assert gone.returncode == 2
    assert f"127.0.0.1:{port}" in gone.stderr and "check the address" in gone.stderr
    unknown = user("status", "--context", "mars")
    assert "no context 'mars'" in unknown.stderr and "gone, test" in unknown.stderr
    given = user("status", "--kubeconfig", user.kubeconfig, KUBECONFIG="/nowhere")
    assert f"{namespace}/chat" in given.stdout
    missing = user("status", KUBECONFIG="/nowhere")
    assert missing.returncode == 2
    assert "/nowhere" in missing.stderr


def test_what_the_server_prunes_or_refuses_is_what_the_screens_expect(installed, namespace, user):
    """Objects as the schema lets them be: without a status, and with the smallest one."""
    fleet, bare = made.fleet(namespace=namespace, seen=False), made.incident("bare-1", None)
    least = made.incident("least-1", None)
    least["status"] = {"phase": "Open"}
    store(installed, namespace, fleet, bare, least)
    status = user("status", "-n", namespace)
    assert status.returncode == 1
    assert "The operator has written nothing about it yet" in status.stdout
    for name in ("bare-1", "least-1"):
        assert user("why", name, "-n", namespace).returncode == 0
    none = user("why", "least-2", "-n", namespace)
    assert none.returncode == 2
    assert "there is least-1" in none.stderr
