"""What is installed: valid for the server, no right too many, nothing that runs as root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from ops.cli import app
from ops.commands import operator_manifests
from ops.controller.made.schema import definition
from ops.controller.resources.kinds import KINDS
from ops.controller.settings import parse_settings
from tests.manifests.installs import INSTALLS, MANIFESTS, install, label_of, of_kind

RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
CORE_GROUPS = {
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apps",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
}
VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
installs = pytest.mark.parametrize("name", INSTALLS)


def rules_of(name: str, *, of_processes: bool = False) -> list[dict[str, Any]]:
    """Rules of all roles, or of those that our own accounts hold."""
    roles = of_kind(name, "ClusterRole") + of_kind(name, "Role")
    bound = {
        binding["roleRef"]["name"]
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for binding in of_kind(name, kind)
    }
    return [
        rule
        for role in roles
        for rule in role["rules"]
        if not of_processes or role["metadata"]["name"] in bound
    ]


def pods_of(name: str) -> list[dict[str, Any]]:
    return [item["spec"]["template"] for item in of_kind(name, "Deployment")]


@pytest.mark.slow
def test_every_object_of_the_default_fits_the_published_schema() -> None:
    for item in install("default"):
        kubernetes_validate.validate(item, "1.36", strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@installs
def test_every_object_fits_each_supported_version(name: str, version: str) -> None:
    for item in install(name):
        kubernetes_validate.validate(item, version, strict=True)


@installs
def test_no_kind_needs_anything_that_is_not_of_the_server_itself(name: str) -> None:
    groups = {item["apiVersion"].rpartition("/")[0] for item in install(name)}
    assert groups <= CORE_GROUPS


@installs
def test_rights_are_enumerated(name: str) -> None:
    for rule in rules_of(name):
        words = [w for key in ("apiGroups", "resources", "verbs") for w in rule[key]]
        assert not [w for w in words if "*" in w], rule
        assert "nonResourceURLs" not in rule
        risky = {"secrets", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"}
        assert not risky & set(rule["resources"]), rule
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])


@installs
def test_nothing_is_deleted_but_incidents(name: str) -> None:
    rules = rules_of(name, of_processes=True)
    deleting = [rule for rule in rules if "delete" in rule["verbs"]]
    assert [(r["apiGroups"], r["resources"]) for r in deleting] == [
        (["midwatch.dev"], ["incidents"])
    ]


@pytest.mark.parametrize("name", ["default", "observe", "two-region"])
def test_without_recommend_nothing_foreign_is_written(name: str) -> None:
    own = {"midwatch.dev", "coordination.k8s.io"}
    written = {
        resource
        for rule in rules_of(name)
        if set(rule["verbs"]) - {"get", "list", "watch"} and not set(rule["apiGroups"]) <= own
        for resource in rule["resources"]
    }
    assert written == {"configmaps", "events"}


@installs
def test_each_process_has_an_account_of_its_own(name: str) -> None:
    accounts = {item["metadata"]["name"] for item in of_kind(name, "ServiceAccount")}
    used = [pod["spec"]["serviceAccountName"] for pod in pods_of(name)]
    assert sorted(used) == sorted(accounts) == ["midwatch-operator", "midwatch-worker"]
    for account in of_kind(name, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@installs
def test_the_worker_has_no_right_and_no_token(name: str) -> None:
    bound = {
        subject["name"]
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for binding in of_kind(name, kind)
        for subject in binding["subjects"]
    }
    assert bound == {"midwatch-operator"}
    mounts = {p["spec"]["serviceAccountName"]: p["spec"]["automountServiceAccountToken"]
              for p in pods_of(name)}  # fmt: skip
    assert mounts == {"midwatch-operator": True, "midwatch-worker": False}


@installs
def test_pods_are_restricted_probed_and_limited(name: str) -> None:
    for pod in pods_of(name):
        assert pod["spec"]["securityContext"] == RESTRICTED_POD
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == RESTRICTED_CONTAINER
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
            assert set(container["resources"]["limits"]) == {"cpu", "memory"}
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            ports = {port["name"] for port in container["ports"]}
            probes = [container[p] for p in ("startupProbe", "livenessProbe", "readinessProbe")]
            assert {probe["httpGet"]["port"] for probe in probes} <= ports
        assert not [v for v in pod["spec"]["volumes"] if "hostPath" in v]


@installs
def test_selectors_and_ports_meet_what_they_name(name: str) -> None:
    pods = {pod["metadata"]["labels"]["app.kubernetes.io/name"]: pod for pod in pods_of(name)}
    for service in of_kind(name, "Service"):
        pod = pods[service["spec"]["selector"]["app.kubernetes.io/name"]]
        named = {port["name"] for c in pod["spec"]["containers"] for port in c["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    selecting = of_kind(name, "NetworkPolicy") + of_kind(name, "PodDisruptionBudget")
    assert len(selecting) == 3
    for item in selecting:
        chosen = item["spec"].get("podSelector") or item["spec"]["selector"]
        assert chosen["matchLabels"]["app.kubernetes.io/name"] in pods, label_of(item)


@installs
def test_settings_are_named_by_their_content_so_that_other_ones_are_a_roll_out(name: str) -> None:
    for pod in pods_of(name):
        (config,) = [v["configMap"]["name"] for v in pod["spec"]["volumes"] if "configMap" in v]
        (held,) = [c for c in of_kind(name, "ConfigMap") if c["metadata"]["name"] == config]
        (file,) = held["data"]
        assert config.rpartition("-")[0] == f"midwatch-{file.removesuffix('.yaml')}-settings"
    if name == "two-region":
        assert not {c["metadata"]["name"] for c in of_kind(name, "ConfigMap")} & {
            c["metadata"]["name"] for c in of_kind("default", "ConfigMap")
        }


@installs
def test_every_file_that_settings_name_is_mounted(name: str) -> None:
    for pod in pods_of(name):
        (config,) = [v["configMap"]["name"] for v in pod["spec"]["volumes"] if "configMap" in v]
        (held,) = [c for c in of_kind(name, "ConfigMap") if c["metadata"]["name"] == config]
        (text,) = held["data"].values()
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        mounts = {
            m["mountPath"]: volumes[m["name"]] for m in pod["spec"]["containers"][0]["volumeMounts"]
        }
        named = [Path(path) for path in re.findall(r"File: (/\S+)", text)]  # also in comments
        assert named
        for path in named:
            secret = mounts[str(path.parent)]["secret"]
            assert secret["optional"] is True, "pods start before their Secret is there"
            assert path.name in [
                item["path"] for item in secret.get("items", [])
            ] or not secret.get("items"), path


def test_the_worker_does_not_hold_the_token_of_the_webhook() -> None:
    (worker,) = [p for p in pods_of("default") if "worker" in p["spec"]["serviceAccountName"]]
    secrets = [v["secret"] for v in worker["spec"]["volumes"] if "secret" in v]
    assert [{item["key"] for item in secret["items"]} for secret in secrets] == [
        {"worker", "prometheus", "prometheus-ca"}
    ]


@installs
def test_the_watcher_is_kept_before_pods_of_no_priority_and_evicts_nobody(name: str) -> None:
    (priority,) = of_kind(name, "PriorityClass")
    assert (priority["preemptionPolicy"], priority["globalDefault"]) == ("Never", False)
    assert 0 < priority["value"] < 10**9  # above are those of the system
    used = {pod["spec"]["priorityClassName"] for pod in pods_of(name)}
    assert used == {priority["metadata"]["name"]}


@installs
def test_a_prometheus_reaches_the_metrics_and_nobody_but_the_operator_the_questions(
    name: str,
) -> None:
    """What a ServiceMonitor scrapes is a port that a NetworkPolicy opens to anybody."""
    callers: dict[tuple[str, str], list[Any]] = {}
    for policy in of_kind(name, "NetworkPolicy"):
        app_name = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for rule in policy["spec"]["ingress"]:
            for port in rule["ports"]:
                callers[app_name, port["port"]] = rule.get("from", [])
    monitors = MANIFESTS / "components" / "prometheus-operator" / "servicemonitors.yaml"
    for monitor in yaml.safe_load_all(monitors.read_text(encoding="utf-8")):
        app_name = monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        (service,) = [s for s in of_kind(name, "Service")
                      if s["spec"]["selector"]["app.kubernetes.io/name"] == app_name]  # fmt: skip
        target = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
        for endpoint in monitor["spec"]["endpoints"]:
            assert callers[app_name, target[endpoint["port"]]] == []
    (asker,) = callers["midwatch-worker", "http"]
    assert asker["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "midwatch-operator"


@installs
def test_everything_namespaced_stands_in_the_one_namespace(name: str) -> None:
    (namespace,) = of_kind(name, "Namespace")
    for item in install(name):
        assert item["metadata"].get("namespace", "midwatch-system") == "midwatch-system"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@installs
def test_a_rendered_install_holds_the_definitions_of_today(name: str) -> None:
    held = {item["metadata"]["name"]: item for item in of_kind(name, "CustomResourceDefinition")}
    assert held == {kind.name: definition(kind) for kind in KINDS}, "run `make manifests`"


@installs
def test_the_shipped_settings_are_taken(name: str) -> None:
    (config,) = [c for c in of_kind(name, "ConfigMap") if "operator.yaml" in c["data"]]
    settings = parse_settings(yaml.safe_load(config["data"]["operator.yaml"]), path=name)
    assert "default" in settings.metrics_endpoints
    (lease,) = [role for role in of_kind(name, "Role") if "lease" in role["metadata"]["name"]]
    named = {one for rule in lease["rules"] for one in rule.get("resourceNames", [])}
    assert named == {settings.lease.name}
    assert settings.lease.namespace == lease["metadata"]["namespace"]
    listened = {one.listen.rpartition(":")[2] for one in (settings.webhook, settings.probes)}
    (pod,) = [p["spec"] for p in pods_of(name) if "operator" in p["spec"]["serviceAccountName"]]
    assert listened == {str(port["containerPort"]) for port in pod["containers"][0]["ports"]}


def test_no_manifest_is_left_out_of_every_kustomization() -> None:
    named = set()
    for path in MANIFESTS.rglob("kustomization.yaml"):
        made = yaml.safe_load(path.read_text(encoding="utf-8"))
        parts = [*made.get("resources", []), *made.get("components", [])]
        parts += [patch["path"] for patch in made.get("patches", [])]
        parts += [f for g in made.get("configMapGenerator", []) for f in g.get("files", [])]
        named |= {(path.parent / part).resolve() for part in parts}
    aside = {MANIFESTS / "examples", MANIFESTS / "rendered"}
    files = {
        path
        for path in MANIFESTS.rglob("*")
        if path.is_file() and path.name != "kustomization.yaml" and not aside & set(path.parents)
    }
    assert files - named == set()


@installs
def test_the_command_prints_the_bytes_of_the_file(name: str) -> None:
    done = CliRunner().invoke(app, ["operator", "manifests", "--overlay", name])
    assert done.exit_code == 0
    assert done.stdout_bytes == (MANIFESTS / "rendered" / f"{name}.yaml").read_bytes()


def test_the_command_names_what_there_is_when_asked_for_something_else() -> None:
    done = CliRunner().invoke(app, ["operator", "manifests", "--overlay", "prod"])
    assert done.exit_code == 2
    assert "'prod' is not one of" in done.stderr


def test_the_command_copies_the_folder_to_build_upon(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    done = CliRunner().invoke(app, ["operator", "manifests", "--out", str(out)])
    assert done.exit_code == 0
    here, there = ({p.relative_to(f) for p in f.rglob("*")} for f in (MANIFESTS, out))
    assert here == there
    again = CliRunner().invoke(app, ["operator", "manifests", "--out", str(out)])
    assert again.exit_code == 2


def test_a_package_without_manifests_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(operator_manifests, "manifests_folder", lambda: tmp_path)
    done = CliRunner().invoke(app, ["operator", "manifests"])
    assert done.exit_code == 2
    assert "no manifests in" in done.stderr
