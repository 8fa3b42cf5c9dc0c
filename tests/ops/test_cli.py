"""The console script answers."""

from __future__ import annotations

from typer.testing import CliRunner

from ops import __version__
from ops.cli import app


def test_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["version"])
    assert done.exit_code == 0
    assert done.stdout.strip() == __version__
