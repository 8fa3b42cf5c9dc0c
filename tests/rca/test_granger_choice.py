"""Which Granger model stands in, with torch and without, and that every answer says so."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import rca.granger_choice
from ops.cli import app
from rca.errors import ModelError
from rca.granger_choice import GrangerChoice, choose
from rca.localise import localise

ROWS, FAULT = 320, 280
SERVICES = ("ads", "cart", "pay", "shop")


@pytest.fixture
def no_torch(monkeypatch):
    """As on a machine without the extra."""

    def found(name, package=None):
        return None if name == "torch" else object()

    monkeypatch.setattr(rca.granger_choice, "find_spec", found)
    forget(monkeypatch)


def forget(monkeypatch):
    """No import of torch succeeds from here on, as if it had never been made."""
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("rca.granger", "rca.granger_model", "rca.encoder"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def table(tmp_path, *, step_s=5):
    """A wide table in which `pay` leads `shop`, and breaks."""
    rng = np.random.default_rng(0)
    x = rng.normal(10.0, 1.0, (ROWS, len(SERVICES)))
    x[FAULT:, 2] += 8.0
    x[1:, 3] += 0.8 * (x[:-1, 2] - 10.0)
    path = tmp_path / "metrics.csv"
    rows = [",".join(["time", *(f"{s}_latency-90" for s in SERVICES)])]
    rows += [",".join(map(str, [n * step_s, *row])) for n, row in enumerate(x.tolist())]
    path.write_text("\n".join(rows))
    return path


def ranked(path, *args):
    done = CliRunner().invoke(
        app, ["rca", "rank", str(path), "--fault-at-s", str(5 * FAULT), *args]
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def use(path, *args):
    return json.loads(ranked(path, "--json", *args))["granger"]


def test_without_torch_the_linear_model_stands_in_and_every_form_says_so(tmp_path, no_torch):
    path = table(tmp_path)
    told = use(path)
    assert told["used"] == "linear" and told["num_series"] >= 2
    assert told["why"] == "torch is not installed; " + rca.granger_choice.INSTALL
    shown = " ".join(ranked(path).split())
    assert "granger linear, " in shown and "torch is not installed" in shown


@pytest.mark.slow
def test_a_torch_that_cannot_be_loaded_is_no_reason_to_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(rca.granger_choice, "find_spec", lambda name: object())
    forget(monkeypatch)
    told = use(table(tmp_path))
    assert told["used"] == "linear" and told["why"].startswith("torch cannot be imported")


def test_neural_without_torch_is_wrong_use_with_the_next_step(tmp_path, no_torch):
    with pytest.raises(ModelError, match="pip install"):
        choose(GrangerChoice.NEURAL)
    done = CliRunner().invoke(app, ["rca", "rank", str(table(tmp_path)), "--granger", "neural"])
    told = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code == 2 and rca.granger_choice.INSTALL in told


def test_linear_and_off_are_what_they_say(tmp_path):
    path = table(tmp_path)
    assert use(path, "--granger", "linear")["why"] == "asked for"
    off = json.loads(ranked(path, "--json", "--granger", "off"))
    assert off["granger"] == {"used": "", "why": "switched off", "num_series": 0}
    assert off["graph"]["metrics"] == [] and off["skipped"]["granger"] == "switched off"


def test_rows_too_coarse_are_told_before_torch_is_looked_for(tmp_path, monkeypatch):
    forget(monkeypatch)
    monkeypatch.setattr(rca.granger_choice, "find_spec", lambda name: object())
    done = CliRunner().invoke(app, ["rca", "rank", str(table(tmp_path, step_s=60)), "--json"])
    told = json.loads(done.stdout)["granger"]
    assert told == {"used": "", "why": "one sample per 60 s, 15 s at most", "num_series": 0}


@pytest.mark.slow
def test_with_torch_the_neural_model_is_used_and_two_runs_give_the_same_bytes(tmp_path):
    pytest.importorskip("torch", reason="torch is absent; pip install -e '.[models]'")
    path = table(tmp_path)
    told = use(path)
    assert told["used"] == "neural" and told["why"] == "torch is installed"
    assert use(path, "--granger", "neural")["why"] == "asked for"
    assert ranked(path, "--json") == ranked(path, "--json")
    assert "granger neural, " in " ".join(ranked(path).split())


def test_a_model_handed_over_is_told_as_such(tmp_path):
    from rca.datasets import incident_of_table

    assert localise(incident_of_table(table(tmp_path))).granger.why == "handed over by the caller"


@pytest.mark.slow
def test_evaluation_counts_which_model_was_used(tmp_path, no_torch):
    folder = tmp_path / "made" / "case0"
    folder.mkdir(parents=True)
    table(folder)
    meta = {"inject_time": 5 * FAULT, "sampling_s": 5, "root_cause_service": "pay"}
    (folder / "case.json").write_text(json.dumps(meta))
    for option, used in (("auto", "linear"), ("off", "none")):
        done = CliRunner().invoke(
            app, ["rca", "evaluate", "--data", str(tmp_path), "--granger", option, "--json"]
        )
        assert json.loads(done.stdout)["granger"]["used"] == {used: 1}, done.output


def test_help_loads_neither_torch_nor_numpy():
    code = (
        "import sys\nfrom ops.cli import app\n"
        "for args in ['--help'], ['rca', '--help'], ['rca', 'rank', '--help']:\n"
        "    try: app(args)\n    except SystemExit: pass\n"
        "heavy = {'torch', 'numpy'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
