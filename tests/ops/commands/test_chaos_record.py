"""`midwatch chaos record`: wrong use."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ops.cli import app


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kinds", "flood"], "unknown kinds"),
        (["--seeds", "3"], "two numbers"),
        (["--seeds", "3:3"], "nothing to record"),
        (["--load", "0:1"], "0 < LOW"),
        (["--after-s", "5"], "30 to 300"),
        (["--kinds", "cpu-hog"], "at least two kinds"),
    ],
)
def test_wrong_values_are_named(options, said, tmp_path):
    done = CliRunner().invoke(
        app, ["chaos", "record", "small", *options, "--out", str(tmp_path)], env={"COLUMNS": "200"}
    )
    assert done.exit_code == 2
    assert said in done.output
