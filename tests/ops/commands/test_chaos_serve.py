"""`midwatch chaos serve`: says where it serves, writes the past, refuses what it cannot use."""

from __future__ import annotations

import json
import urllib.request

import pytest
from typer.testing import CliRunner

from ops.catalogue import Catalogue
from ops.cli import app
from ops.replay.live import LiveServer
from ops.replay.openmetrics import parse_metrics

FREE = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


def serve(*arguments):
    return CliRunner().invoke(app, ["chaos", "serve", *map(str, arguments)])


def test_it_serves_its_past_and_its_present_until_interrupted(monkeypatch, tmp_path):
    seen = []

    def wait(server, _seconds):
        with urllib.request.urlopen(f"{server.url}/targets/engine", timeout=5.0) as answer:
            seen.extend(json.load(answer))
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveServer, "wait", wait)
    history = tmp_path / "past.om"
    done = serve(
        "small", *FREE, "--rate", 1, "--warm-up-s", 30, "--lasts-s", 60, "--history", history,
        "--namespace", "prod", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["rate_rps"] == 1.0 and told["metrics"] != told["admin"]
    assert {group["labels"]["namespace"] for group in seen} == {"prod"}
    frame = parse_metrics(history.read_text(), step_s=5.0, catalogue=Catalogue.load())
    assert len(frame.times_s) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "neither a file"),
        (["small", "--listen", "9400"], "HOST:PORT"),
        (["small", *FREE, "--fault", "gremlins"], "unknown kinds"),
        (["small", *FREE, "--fault", "cpu-hog", "--fault-severity", "0"], "more than 0"),
        (["small", *FREE, "--rate", "0"], "more than 0"),
        (["small", *FREE, "--warm-up-s", "-1"], "together"),
        (["small", *FREE, "--rate", "1", "--pods", __file__], "kubectl get pods,nodes"),
    ],
)
def test_wrong_use_is_told_before_anything_is_simulated(arguments, said):
    done = serve(*arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
