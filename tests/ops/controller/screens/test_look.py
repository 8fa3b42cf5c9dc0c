"""Commands for a person's own eyes: they fit the suspect, change nothing, and cannot be misused."""

from __future__ import annotations

import re

import pytest

from ops.controller.screens.look import Kubectl, look_commands, worker_commands
from ops.controller.screens.why import why_lines
from rca.state import Entity, EntityKind
from tests.ops.controller.screens.test_screens import ABSTAINED, NAMED, NOW_S, stored, text_of

HERE = Kubectl(namespace="shop", options=" --context eu")
NAMES = {EntityKind.LINK: "gateway->llm-0", EntityKind.WORKLOAD: "", EntityKind.REGISTRY: ""}
READS = {"get", "describe", "logs", "top", "rollout history"}


def entity(kind):
    return str(Entity(kind, "eu", NAMES.get(kind, "llm-0")))


@pytest.mark.parametrize("kind", EntityKind)
def test_every_kind_of_suspect_has_commands_that_only_read(kind):
    commands = look_commands(entity(kind), HERE) + worker_commands(HERE)
    assert len(commands) >= 4
    for command in commands:
        words = re.sub(r"^kubectl --context eu (-n \S+ )?", "", command)
        assert any(words.startswith(verb + " ") for verb in READS), command


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        (EntityKind.POD, "-n shop describe pod llm-0"),
        (EntityKind.SERVICE, "-n shop logs deployment/llm-0"),
        (EntityKind.NODE, "describe node llm-0"),
        (EntityKind.LINK, "grep -E '^(gateway|llm-0)-'"),
    ],
)
def test_the_suspect_is_named_in_them(kind, has):
    assert any(has in command for command in look_commands(entity(kind), HERE))


@pytest.mark.parametrize(
    "text",
    ["", "galaxy:far/away", "pod:eu/$(reboot)", "pod:eu/a;b", "link:eu/a", "link:eu/a->b->c",
     "pod:eu/a->b", "service:eu/a'b"],
)  # fmt: skip
def test_what_is_no_name_of_kubernetes_reaches_no_command(text):
    commands = look_commands(text, HERE)
    assert commands[0] == "kubectl --context eu -n shop get pods -o wide"
    assert not any(c in command for c in "$;'" for command in commands)


def test_the_likeliest_candidate_is_looked_at_where_nobody_is_accused():
    assert "describe node gpu-node-2" in text_of(why_lines(stored(ABSTAINED), now_s=NOW_S))


def test_what_is_to_be_run_runs_in_the_cluster_that_was_looked_at():
    text = text_of(why_lines(stored(NAMED), now_s=NOW_S, options=" --context eu"))
    assert "run     kubectl --context eu --namespace shop rollout undo" in text
