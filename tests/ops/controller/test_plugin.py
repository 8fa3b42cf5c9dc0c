"""`kubectl midwatch` on an API server of a few lines: what it prints, writes and refuses."""

from __future__ import annotations

import gzip
import shlex
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import orjson
import pytest

from ops.commands.cluster import app
from ops.errors import KubeError
from tests.ops.controller.plugin_server import OURS, Server, runner
from tests.ops.controller.stored_objects import (
    ABSTAINED,
    NAMED,
    PAGE,
    RESOLVED,
    fleet,
    incident,
    report_map,
)

ROOT = Path(__file__).resolve().parents[3]
NAME = "chat-20261130-020645-a1b2c"


@pytest.fixture
def run(monkeypatch):
    return runner(monkeypatch)


@pytest.fixture
def server():
    return Server(fleet(), incident(NAME, NAMED), report_map())


def test_status_finds_an_open_incident_and_says_so_by_its_exit_code(run, server):
    done = run(server, "status")
    assert done.code == 1
    assert NAMED.summary.removesuffix(".") in done.out
    server.add(incident(NAME, RESOLVED))
    server.add(fleet(well=True))
    done = run(server, "status")
    assert (done.code, "no open incident" in done.out) == (0, True)
    assert NAME in run(server, "status --resolved").out


def test_a_pipe_gets_no_colour_and_whole_lines(run, server):
    done = run(server, f"why {NAME}")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert NAMED.summary in done.out.splitlines()


def test_json_is_for_machines(run, server):
    told = orjson.loads(run(server, "status -o json").out)
    assert told["needsALook"] and told["incidents"][0]["metadata"]["name"] == NAME
    told = orjson.loads(run(server, f"why {NAME} --json").out)
    assert told["status"]["confidence"] == 0.82
    assert NAMED.summary in told["text"]


@pytest.mark.parametrize("name", ["", "chat-2026"])
def test_the_only_open_incident_needs_no_name_and_a_beginning_is_enough(run, server, name):
    server.add(incident("old-20261129-020645-a1b2c", RESOLVED))
    assert NAME in run(server, f"why {name}").out


def test_several_incidents_are_listed(run, server):
    server.add(incident("chat-20261130-030000-bbbbb", ABSTAINED))
    done = run(server, "why")
    assert (done.code, done.out) == (2, "")
    assert "2 incidents are open in namespace shop; name one: chat-20261130-0" in done.err


def test_an_unknown_incident_gets_near_names(run, server):
    done = run(server, "why chat-20261130-020654-a1b2c")
    assert done.code == 2
    assert f"there is {NAME}" in done.err


def test_an_incident_of_another_namespace_is_found(run, server):
    server.add(incident("pay-1", NAMED, namespace="pay"))
    done = run(server, "why pay-1")
    assert done.code == 2
    assert "there is one in pay: add -n pay" in done.err
    assert run(server, "why pay-1 -A").code == 0


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KubeError("list: 404 Not Found: 404 page not found", status=404), "is not installed here"),
        (KubeError("list: 403 Forbidden: no; grant: x", status=403), "you may not read incidents"),
        (KubeError("list at https://h: no answer (refused); check the address"), "no answer"),
    ],
)  # fmt: skip
def test_errors_of_the_server_are_one_line_with_a_next_step(run, server, error, says):
    server.refused = {"incidents": error}
    for line in ("status", "why", "report", "export"):
        done = run(server, line)
        assert (done.code, done.out) == (2, "")
        assert says in done.err
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1


def test_an_object_of_a_later_release_is_left_out_and_told(run, server):
    odd = incident("odd-1", NAMED)
    odd["status"]["phase"] = "Simmering"
    server.add(odd)
    done = run(server, "status")
    assert "warning: left out: Incident shop/odd-1" in done.err
    assert NAME in done.out


def test_the_report_is_saved(run, server, tmp_path):
    done = run(server, f"report {NAME} --out {tmp_path}/page.html")
    assert (done.code, (tmp_path / "page.html").read_bytes()) == (0, PAGE)
    assert "page.html" in done.out


def test_a_report_makes_no_folder(run, server, tmp_path):
    done = run(server, f"report {NAME} --out {tmp_path}/nowhere/page.html")
    assert done.code == 2
    assert f"{tmp_path}/nowhere is no folder; make it, or choose another place" in done.err
    assert not list(tmp_path.iterdir())


def test_a_report_is_opened_where_that_is_asked_for(run, server, tmp_path, monkeypatch):
    from ops.commands import cluster_files

    opened = []
    monkeypatch.setattr(cluster_files.webbrowser, "open", lambda url: not opened.append(url))
    assert run(server, f"report {NAME} --out {tmp_path} --open").code == 0
    assert opened == [(tmp_path / f"{NAME}.html").as_uri()]


def damaged(kind):
    made = report_map()
    raw = gzip.compress(PAGE)
    match kind:
        case "torn":
            raw = raw[:-9]
        case "bytes":
            raw = raw[:20] + b"\xff" + raw[21:]
        case "other":
            raw = gzip.compress(PAGE + b"<!-- changed -->")
        case "bomb":
            raw = gzip.compress(bytes(65 * 1024 * 1024), 9)
    made["binaryData"] = {"report.html.gz": b64encode(raw).decode()}
    return made


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("torn", "ends too early"), ("bytes", "damaged"), ("other", "is not the page"),
        pytest.param("bomb", "more than", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_damaged_report_is_told_and_not_written(run, server, tmp_path, kind, says):
    server.add(damaged(kind))
    done = run(server, f"report {NAME} --out {tmp_path}/page.html")
    assert done.code == 2
    assert says in done.err
    assert not (tmp_path / "page.html").exists()


def test_a_report_that_is_not_there_is_told(run, tmp_path):
    server = Server(fleet(), incident(NAME, ABSTAINED))
    done = run(server, f"report {NAME}")
    assert done.code == 2
    assert "no volume is mounted" in done.err
    server = Server(fleet(), incident(NAME, NAMED))
    assert "is gone: it was pruned" in run(server, f"report {NAME}").err


def test_export_saves_what_is_there_and_says_what_is_not(run, server, tmp_path):
    done = run(server, f"export {NAME} --out {tmp_path}/inc")
    assert done.code == 0
    names = sorted(path.name for path in (tmp_path / "inc").iterdir())
    assert names == ["fleet.json", "incident.json", "report.html", "report.md"]
    assert "kubectl -n midwatch-system exec deploy/midwatch-worker -- tar cf -" in done.out
    bare = Server(incident(NAME, ABSTAINED))
    done = run(bare, f"export {NAME} --out {tmp_path}/bare")
    assert done.code == 0
    assert "report.html    missing: no report is written" in done.out
    assert "bundle         missing: no volume is mounted" in done.out


def test_freeze_and_unfreeze_patch_one_field_and_tell_the_way_back(run, server):
    done = run(server, 'freeze chat --reason "migration, Ada"')
    (path, body, params) = server.patches[0]
    assert path == f"{OURS}/namespaces/shop/fleets/chat"
    assert body == {"spec": {"frozen": True, "freezeReason": "migration, Ada"}}
    assert params == {"fieldManager": "kubectl-midwatch"}
    assert "undo: kubectl midwatch unfreeze chat -n shop" in done.out
    server.add(fleet(frozen=True, freeze_reason="it's mine"))
    done = run(server, "unfreeze chat --context eu")
    assert server.patches[1][1] == {"spec": {"frozen": False, "freezeReason": ""}}
    undo = done.out.splitlines()[-1].removeprefix("undo: kubectl midwatch ")
    assert shlex.split(undo) == [
        "freeze", "chat", "-n", "shop", "--context", "eu", "--reason", "it's mine",
    ]  # fmt: skip


def test_a_freeze_needs_no_reason_and_asks_for_one(run, server):
    done = run(server, "freeze chat")
    assert done.code == 0
    assert server.patches[0][1] == {"spec": {"frozen": True, "freezeReason": ""}}
    assert "--reason TEXT" in done.out


def test_a_dry_run_asks_the_server_and_changes_nothing(run, server):
    done = run(server, "freeze chat --reason x --dry-run")
    assert server.patches[0][2]["dryRun"] == "All"
    assert done.out == "shop/chat would be frozen.\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("freeze", "Missing argument"), ("freeze caht --reason x", "there is chat"),
        ("status -n a -A", "exclude each other"),
        (f"freeze chat --reason {'x' * 600}", "limit 512"),
        ("status -o yaml", "'yaml' is not one of"), ("perhaps", "No such command"),
    ],
)  # fmt: skip
def test_wrong_use_is_exit_code_2_with_a_next_step(run, server, line, says):
    done = run(server, line)
    assert done.code == 2
    assert says in done.err
    assert not server.patches


def test_every_command_shows_an_example():
    for command in app.registered_commands:
        assert f"Example: kubectl midwatch {command.callback.__name__}" in command.callback.__doc__


@pytest.mark.slow
def test_help_loads_no_client_of_the_api_server():
    code = (
        "import sys\nfrom ops.commands.cluster import app\n"
        "print({'kubernetes', 'aiohttp', 'kopf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr
