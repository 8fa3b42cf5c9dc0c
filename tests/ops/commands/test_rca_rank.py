"""`midwatch rca rank` on the command line: formats, files, exit codes, the command that repeats."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

from ops.cli import app
from ops.commands.rca_again import command_of, read_from
from ops.commands.rca_options import PrometheusOptions, Source
from rca.granger_kind import GrangerChoice
from rca.incident import Incident

run = CliRunner().invoke
START_S = 1_800_000_000


@pytest.fixture
def table(tmp_path):
    """A wide table; `factor` is what the CPU of `pay` is multiplied with from row 60 on."""

    def write(factor=5.0):
        rng = np.random.default_rng(4)
        names = [f"{s}_{m}" for s in ("ads", "cart", "pay") for m in ("cpu", "mem")]
        values = rng.normal(1.0, 0.02, (90, len(names)))
        values[60:, names.index("pay_cpu")] *= factor
        rows = [",".join(["time", *names])]
        rows += [",".join(map(str, (START_S + 10 * n, *row))) for n, row in enumerate(values)]
        path = tmp_path / "metrics.csv"
        path.write_text("\n".join(rows), encoding="utf-8")
        return str(path)

    return write


def test_a_cause_exits_with_0_and_nothing_with_1(table):
    named = run(app, ["rca", "rank", table()])
    assert named.exit_code == 0 and "pay: cpu rose from" in named.stdout
    quiet = run(app, ["rca", "rank", table(1.0), "--fault-at-s", str(START_S + 600)])
    assert quiet.exit_code == 1 and "No cause found" in quiet.stdout


def test_a_pipe_gets_no_colours_and_80_columns(table):
    shown = run(app, ["rca", "rank", table()]).stdout
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_files_are_written_beside_the_answer(table, tmp_path):
    page, text = tmp_path / "page.html", tmp_path / "answer.md"
    done = run(app, ["rca", "rank", table(), "--report", str(page), "--markdown", str(text)])
    assert done.exit_code == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert text.read_text(encoding="utf-8").startswith("# pay: cpu rose from")
    assert "page.html" in done.stdout and "answer.md" in done.stdout


def test_a_file_that_cannot_be_written_is_wrong_use(table, tmp_path):
    done = run(app, ["rca", "rank", table(), "--report", str(tmp_path / "none" / "page.html")])
    assert done.exit_code == 2 and "cannot be written" in done.stderr
    assert done.stdout == ""


def test_json_holds_the_ranking_and_the_words_of_the_page(table):
    data = json.loads(run(app, ["rca", "rank", table(), "--json"]).stdout)
    assert data["accused"] == ["pay"] and data["services"][0]["name"] == "pay"
    assert data["report"]["headline"].startswith("pay: cpu rose from")
    assert data["report"]["suspects"][1]["speaks_against"]
    assert data["report"]["suspects"][0]["readings"][0]["series"] is None


def test_the_command_on_the_page_gives_the_same_page(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = ["rca", "rank", table(), "--fault-at-s", str(START_S + 600), "--report", "report.html"]
    run(app, args)
    first = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = json.loads(run(app, [*args[:-2], "--json"]).stdout)
    again = shlex.split(data["report"]["commands"][0]["text"])
    assert again[0] == "midwatch"
    assert run(app, again[1:]).exit_code == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == first


def test_a_page_of_a_prometheus_keeps_moments_and_no_secret():
    asked = PrometheusOptions(
        url="https://me:hidden@prometheus:9090", headers=("X-Scope-OrgID:team-a",), where=("a=b c",)
    )
    source = Source(prometheus=asked, fault_at="now-20m")
    incident = Incident(
        incident_id="made", times_s=START_S + 15.0 * np.arange(3), values=np.zeros((3, 0)),
        columns=(), step_s=15.0, fault_at_s=START_S + 15.5,
    )  # fmt: skip
    text = command_of(source, incident, metrics_only=False, granger=GrangerChoice.AUTO, top=None)
    assert "hidden" not in text and "team-a" not in text and "now" not in text
    assert "--start 2027-01-15T08:00:00Z --end 2027-01-15T08:00:30Z" in text
    assert "--fault-at-s 1800000015.5" in text and "'a=b c'" in text
    assert read_from(source) == "https://prometheus:9090"
