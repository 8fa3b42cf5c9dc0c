"""A plain installation: every command of the operator says what it lacks and how it comes."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from ops.commands import extras
from ops.commands.cluster import app as plugin

RUN, WORKER = ("operator", "run", "--check"), ("operator", "worker", "--check")
SLO = ("operator", "slo", "rules", "x.yaml")


@pytest.fixture
def without(monkeypatch):
    """Hides modules, as where the packages are not installed."""
    return lambda *modules: [monkeypatch.setitem(sys.modules, name, None) for name in modules]


def told(done, *packages, extra="operator"):
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert f"pip install -e '.[{extra}]'" in done.stderr
    for package in packages:
        assert package in done.stderr


@pytest.mark.parametrize(
    ("words", "module", "package"),
    [
        *[(RUN, module, package) for module, package in extras.OPERATOR.items()],
        *[(WORKER, module, package) for module, package in extras.WORKER.items()],
        (SLO, "yaml", "PyYAML"),
        (("operator", "slo", "import", "x.yaml"), "yaml", "PyYAML"),
    ],
)
def test_a_package_that_is_missing_is_named(cli, without, words, module, package):
    without(module)
    told(cli(*words), package)


def test_all_that_are_missing_are_named_at_once(cli, without):
    without(*extras.OPERATOR)
    told(cli(*RUN), *extras.OPERATOR.values())


def test_the_plugin_says_so_too(without):
    without("kubernetes")
    told(CliRunner().invoke(plugin, ["status"]), "kubernetes")


def test_a_worker_that_must_be_neural_needs_torch(cli, without, tmp_path):
    without("torch")
    config = tmp_path / "worker.yaml"
    config.write_text("granger: neural\n")
    told(cli(*WORKER, "--config", config), "granger: neural", "torch", extra="models")
    config.write_text("granger: auto\n")
    assert cli(*WORKER, "--config", config).exit_code == 0


def test_a_try_out_needs_yaml_and_says_so_before_it_simulates(cli, without, tmp_path):
    without("yaml")
    told(cli("chaos", "serve", "small", "--try-out", tmp_path / "x"), "PyYAML")


def test_help_and_manifests_need_none(cli, without):
    without(*extras.OPERATOR)
    assert cli("operator", "--help").exit_code == 0
    assert cli("operator", "manifests").exit_code == 0
