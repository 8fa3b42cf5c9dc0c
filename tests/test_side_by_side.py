from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import side_by_side
from tests.side_by_side import run


def test_every_line_is_told_with_its_commands_name(capsys) -> None:
    assert run([("a", "sh -c 'echo one; echo two >&2'"), ("b", "printf three")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert {"a | one", "a | two", "b | three", "a | exit status 0"} <= set(told)


def test_one_that_fails_fails_all_and_the_others_run_on(capsys) -> None:
    assert run([("a", "false"), ("b", "sh -c 'sleep 0.1; echo done'")]) == 1
    told = capsys.readouterr().out
    assert "b | done" in told
    assert "a | exit status 1" in told


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_what_it_started(number) -> None:
    script = Path(side_by_side.__file__)
    # A shell would not let its children be interrupted: exec leaves the one process.
    program = subprocess.Popen(
        [sys.executable, "-S", str(script), "a=sh -c 'echo $$; exec sleep 60'"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    pid = int(program.stdout.readline().rpartition("| ")[2])
    program.send_signal(number)
    assert program.wait(60.0) == 1
    program.stdout.close()
    assert not Path(f"/proc/{pid}").exists()
