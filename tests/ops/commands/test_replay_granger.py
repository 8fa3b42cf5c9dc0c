"""`midwatch replay --granger`: the model that ran is in every output; runs can be repeated."""

from __future__ import annotations

import sys

import orjson
import pytest
from typer.testing import CliRunner

import rca.granger_choice
from ops.cli import app
from ops.replay.again import read_again
from ops.replay.options import ReplayOptions

REASON = "torch is absent; pip install -e '.[models]'"


def replay(*args):
    return CliRunner().invoke(app, ["replay", *map(str, args)])


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setattr(rca.granger_choice, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("rca.granger", "rca.granger_model", "rca.encoder"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_model_is_an_option_of_the_record_only_where_it_is_not_the_default():
    assert ReplayOptions().plain() == {}
    assert ReplayOptions(granger="neural").words() == ["--granger", "neural"]


def test_an_unknown_model_in_a_record_is_named(tmp_path):
    from ops.commands.replay_run import _forecaster
    from ops.errors import ScenarioError

    with pytest.raises(ScenarioError, match="granger is 'deep', expected auto, neural"):
        _forecaster("deep")


def told(out, stdout):
    """What terminal, page and journal say of the model."""
    row = next(line for line in stdout.splitlines() if line.startswith("Granger "))
    text = row.removeprefix("Granger").strip()
    assert text in (out / "report.html").read_text() and text in (out / "report.md").read_text()
    assert f"which series lead which: {text}" in (out / "journal.jsonl").read_text()
    return text


@pytest.mark.slow
def test_the_demo_uses_the_neural_model_says_so_and_is_repeated_byte_by_byte(tmp_path):
    pytest.importorskip("torch", reason=REASON)
    done = replay("chat", "--granger", "auto", "--only", "with", "--out", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert told(tmp_path / "a", done.stdout).startswith("neural Granger of ")
    assert "note: neural Granger: torch is installed" in done.stderr
    assert orjson.loads((tmp_path / "a" / "run.json").read_bytes())["source"]["options"] == {
        "granger": "neural"
    }
    again = replay(tmp_path / "a", "--out", tmp_path / "b")
    assert again.exit_code == 0, again.output
    assert "the same as recorded" in again.stderr


@pytest.mark.slow
def test_without_torch_the_demo_goes_on_with_the_linear_model_and_says_why(tmp_path, no_torch):
    done = replay("chat", "--granger", "auto", "--only", "with", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert told(tmp_path, done.stdout).startswith("linear Granger of ")
    note = "linear Granger: torch is not installed; pip install -e '.[models]'"
    assert note in " ".join(done.stderr.split())
    assert "linear Granger: torch is not installed" in (tmp_path / "report.html").read_text()
    assert read_again(tmp_path).options == ReplayOptions()


def test_neural_without_torch_is_wrong_use_with_the_next_step(tmp_path, no_torch):
    done = replay("chat", "--granger", "neural", "--out", tmp_path)
    assert done.exit_code == 2 and "needs torch" in done.output
