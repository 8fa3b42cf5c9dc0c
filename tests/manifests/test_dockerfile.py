"""What can be read off the image file; tests/cluster/test_image.py builds it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.manifests.installs import of_kind

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]


def stage(name: str) -> list[str]:
    """Lines of one stage, and of those it is built upon."""
    (start,) = [i for i, line in enumerate(LINES) if line.endswith(f" AS {name}")]
    end = next((i for i in range(start + 1, len(LINES)) if LINES[i].startswith("FROM ")), None)
    below = LINES[start].split()[1]
    return (stage(below) if below[0] != "$" else []) + LINES[start:end]


def test_every_stage_stands_on_the_one_base() -> None:
    assert LINES[0].startswith("ARG BASE=")
    names = {line.rpartition(" AS ")[2] for line in LINES if line.startswith("FROM ")}
    below = {line.split()[1] for line in LINES if line.startswith("FROM ")}
    assert below - names == {"${BASE}"}


def test_both_images_run_as_the_user_of_the_manifests() -> None:
    for name in ("operator", "worker"):
        (user,) = [line.split()[1] for line in stage(name) if line.startswith("USER ")]
        assert user == "65532:65532"
    pods = [d["spec"]["template"]["spec"] for d in of_kind("default", "Deployment")]
    assert {pod["securityContext"]["runAsUser"] for pod in pods} == {65532}


def test_nothing_is_copied_that_is_not_there_or_not_let_in() -> None:
    let_in = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = [
        word
        for line in LINES
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert set(copied) == let_in
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_arguments_of_the_manifests_are_commands_of_the_image() -> None:
    for deployment in of_kind("default", "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        name = container["name"]
        (command,) = [line for line in stage(name) if line.startswith("CMD ")]
        assert re.findall(r'"([^"]+)"', command) == container["args"][:2]
        assert "command" not in container, "the image's own entry point"


def test_no_environment_holds_a_tool_that_installs_packages() -> None:
    for name in ("operator", "worker"):
        (made,) = [line for line in stage(f"{name}-packages") if " -m venv " in line]
        assert "--without-pip" in made
