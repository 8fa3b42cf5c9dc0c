"""The console script answers."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ops import __version__
from ops.cli import app


@pytest.mark.parametrize("asked", ["version", "--version"])
def test_version_is_printed(asked: str) -> None:
    done = CliRunner().invoke(app, [asked])
    assert done.exit_code == 0
    assert done.stdout.strip() == __version__
