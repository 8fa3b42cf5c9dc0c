"""The images of the Dockerfile: built, and run as the manifests run them, against a real server.

Not shown: the base that releases take (no registry is needed here, see image.py), and torch in the
worker's image, which is large: EXTRAS=operator, as the Dockerfile offers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.adapters.kube.connect import ACCOUNT_DIR
from tests.cluster.api import ApiError
from tests.cluster.control_plane import ControlPlane
from tests.cluster.image import Builder, Image, missing_tools
from tests.cluster.installing import SYSTEM
from tests.cluster.own_processes import LEASE_PATH, add_fleet, condition, fetch, wait_for_fleet
from tests.cluster.processes import WAIT_S, Program, eventually, free_ports
from tests.manifests.installs import INSTALLS, MANIFESTS, of_kind

USER = 65532
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure(
        "both images built, run as 65532 on a read-only root as the Deployments say, ready against "
        "the API server"
    ),
]


@pytest.fixture(scope="module")
def images():
    """Both images by name."""
    if lacking := missing_tools():
        pytest.skip(f"no image is built: {lacking}")
    # Not below pytest's folders: those are closed to other users, and kept.
    folder = Path(tempfile.mkdtemp(prefix="midwatch-image-"))
    folder.chmod(0o755)
    builder = Builder(folder / "images")
    try:
        yield {
            "operator": builder.build("operator"),
            "worker": builder.build("worker", EXTRAS="operator"),
        }
    finally:
        builder.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["operator", "worker"])
def image(request, images) -> Image:
    return images[request.param]


def test_an_image_is_built_for_the_user_and_the_command_of_its_deployment(image, say):
    say(f"image {image.name}: {image.size} with its base")
    assert image.config["User"] == f"{USER}:{USER}"
    assert image.config["Entrypoint"] == ["midwatch"]
    assert image.config["Cmd"] == container_of(image.name)["args"][:2]


def test_its_commands_run_as_nobody_on_a_read_only_root(image, tmp_path):
    log = tmp_path / "log"
    for words in (("operator", "run"), ("operator", "worker"), ("operator", "manifests"), ()):
        code, told = image.run(*words, "--help", log=log)
        assert code == 0, told
        assert "Usage:" in told
    for name in INSTALLS:
        code, told = image.run("operator", "manifests", "--overlay", name, log=log)
        assert code == 0, told
        assert told == (MANIFESTS / "rendered" / f"{name}.yaml").read_text(encoding="utf-8")


def test_it_can_write_nothing_and_holds_no_installer(image, tmp_path):
    log = tmp_path / "log"
    _, told = image.run("/", "-xdev", "-writable", log=log, entrypoint=["find"])
    closed = [line for line in told.splitlines() if line.endswith(": Permission denied")]
    assert told.splitlines() == closed, "writable"
    code, told = image.run("touch /tmp/a; id -u; grep CapEff /proc/self/status", log=log,
                           entrypoint=["sh", "-c"])  # fmt: skip
    assert code == 0, told
    assert "Read-only file system" in told
    assert told.splitlines()[1:] == [str(USER), "CapEff:\t0000000000000000"]
    for tool in ("pip", "setuptools"):
        code, told = image.run("-c", f"import {tool}", log=log, entrypoint=["python"])
        assert code == 1, f"{tool} is in the environment"
        assert "ModuleNotFoundError" in told


def container_of(name: str) -> dict[str, Any]:
    (deployment,) = [
        one for one in of_kind("default", "Deployment") if one["metadata"]["name"].endswith(name)
    ]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


def settings_of(name: str) -> dict[str, Any]:
    """The shipped ones."""
    (config,) = [c["data"] for c in of_kind("default", "ConfigMap") if f"{name}.yaml" in c["data"]]
    return yaml.safe_load(config[f"{name}.yaml"])


def pod(image: Image, folder: Path, files: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Volumes where the Deployment mounts them; those of `files` with this content."""
    volumes = {}
    for mount in container_of(image.name)["volumeMounts"]:
        place = folder / mount["name"]
        place.mkdir(parents=True, mode=0o755)
        os.chown(place, USER, USER)
        for name, text in files.get(mount["name"], {}).items():
            (place / name).write_text(text)
            (place / name).chmod(0o440)
            os.chown(place / name, 0, USER)
        volumes[mount["mountPath"]] = (place, not mount.get("readOnly", False))
    return volumes


def started(program: Program, url: str) -> Program:
    program.start()
    eventually(lambda: answers_200(url) or not program.alive, what=url)
    assert program.alive, program.log_tail()
    return program


def answers_200(url: str) -> bool:
    try:
        return fetch(url)[0] == 200
    except OSError:
        return False


def test_the_operators_image_becomes_ready_and_leads_on_a_real_server(
    images, installed: ControlPlane, namespace, tmp_path
):
    folder = Path(tempfile.mkdtemp(prefix="midwatch-pod-", dir=images["operator"].root.parent))
    account = folder / "account"
    account.mkdir()
    (account / "token").write_text(installed.token(SYSTEM, "midwatch-operator"))
    (account / "namespace").write_text(SYSTEM)
    shutil.copy(installed.ca, account / "ca.crt")
    hook, probes = free_ports(2)
    settings = settings_of("operator")
    settings["webhook"]["listen"] = f"127.0.0.1:{hook}"
    settings["probes"]["listen"] = f"127.0.0.1:{probes}"
    given = {"config": {"operator.yaml": yaml.safe_dump(settings)}, "tokens": {"webhook": "w" * 32}}
    volumes = pod(images["operator"], folder, given) | {str(ACCOUNT_DIR): (account, False)}
    server = installed.server.removeprefix("https://").rpartition(":")
    program = images["operator"].program(
        container_of("operator")["args"], log=tmp_path / "operator.log", volumes=volumes,
        env={
            "POD_NAME": "from-the-image", "POD_IP": "127.0.0.1",
            "KUBERNETES_SERVICE_HOST": server[0], "KUBERNETES_SERVICE_PORT": server[2],
        },
    )  # fmt: skip
    try:
        installed.admin.delete(LEASE_PATH)
    except ApiError as error:
        assert error.status == 404, error
    try:
        started(program, f"http://127.0.0.1:{probes}/readyz")
        eventually(lambda: holder(installed), what="a leader")
        # Whatever the user of the image lacks: it watches, and writes what it sees.
        add_fleet(installed, namespace)
        wait_for_fleet(installed, namespace, lambda fleet: condition(fleet, "Ready"))
        assert program.stop(grace_s=WAIT_S) == 0, program.log_tail()
    finally:
        program.kill()
    assert "Traceback" not in program.log_text()


def holder(plane: ControlPlane) -> str:
    if not plane.admin.exists(LEASE_PATH):
        return ""
    return plane.admin.get(LEASE_PATH)["spec"].get("holderIdentity") or ""


def test_the_workers_image_becomes_ready(images, tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="midwatch-pod-", dir=images["worker"].root.parent))
    settings = settings_of("worker")
    (port,) = free_ports(1)
    settings["worker"]["listen"] = f"127.0.0.1:{port}"
    given = {"config": {"worker.yaml": yaml.safe_dump(settings)}, "tokens": {"worker": "w" * 32}}
    program = images["worker"].program(
        container_of("worker")["args"], log=tmp_path / "worker.log",
        volumes=pod(images["worker"], folder, given),
    )  # fmt: skip
    try:
        started(program, f"http://127.0.0.1:{port}/readyz")
        assert program.stop(grace_s=WAIT_S) == 0, program.log_tail()
    finally:
        program.kill()
    assert "Traceback" not in program.log_text()
