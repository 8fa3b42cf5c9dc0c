"""A scenario file and a trace small enough to be replayed within seconds, and one finished run."""

from __future__ import annotations

import html
import re
import shlex
from importlib.resources import files
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from ops.cli import app
from serving.workload import generate, write_csv

FAULT = """
[[fault]]
kind = "bad-code"
start_s = 180.0
length_s = 90.0
severity = 2.0
target = "service:home/auth"
"""


@pytest.fixture(scope="session")
def cli():
    """Runs the console script; its result has exit_code, stdout and stderr."""

    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return run


@pytest.fixture(scope="session")
def repeat(cli):
    """Runs the one command that a page tells, as a shell would."""

    def run(page: str):
        (code,) = re.findall(r"<code>(.*?)</code>", page)
        name, *arguments = shlex.split(html.unescape(re.sub(r"<[^>]*>", "", code)))
        assert name == "midwatch"
        return cli(*arguments)

    return run


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Folder with `faulty.toml`, `healthy.toml` and `trace.csv` of 6 minutes at 5 requests/s."""
    folder = tmp_path_factory.mktemp("inputs")
    small = files("ops.replay.scenarios").joinpath("small.toml").read_text(encoding="utf-8")
    head = 'name = "small"\nduration_s = 360.0\nwarmup_s = 60.0'
    healthy = small.replace('name = "small"', head, 1)
    (folder / "healthy.toml").write_text(healthy, encoding="utf-8")
    (folder / "faulty.toml").write_text(healthy + FAULT, encoding="utf-8")
    table = generate(seed=1, duration_s=360.0, rate_rps=5.0, conversation_ratio=0.8)
    write_csv(table, folder / "trace.csv")
    return folder


@pytest.fixture(scope="session")
def faulty_run(cli, inputs, tmp_path_factory):
    """(figures, folder) of one replay with a fault, at the trace's own rate."""
    return replay_faulty(cli, inputs, tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="session")
def faulty_run_again(cli, inputs, tmp_path_factory):
    """The same once more in another folder."""
    return replay_faulty(cli, inputs, tmp_path_factory.mktemp("again"))


def replay_faulty(cli, inputs: Path, out: Path):
    done = cli(
        "replay", inputs / "faulty.toml", "--trace", inputs / "trace.csv", "--load", 0,
        "--seed", 3, "--check", "--json", "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout), out
