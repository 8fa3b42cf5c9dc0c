"""Runs commands side by side, each line of theirs at once and with its command's name before it.

    python tests/side_by_side.py 'one=sleep 1' 'two=sh -c "echo there"'

Exit status: 0 if all ended well, else 1. Interrupted or terminated it interrupts them, gives them
time to stop what they started, and kills what is left.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

GRACE_S = 30.0


class Interrupted(BaseException):
    """Somebody wants this to end."""


def run(commands: Sequence[tuple[str, str]]) -> int:
    """Run named commands; the exit status."""
    started = []
    try:
        for name, command in commands:
            process = subprocess.Popen(
                shlex.split(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # a terminal's Ctrl-C comes from here, once
            )
            shown = threading.Thread(target=show, args=(name, process), daemon=True)
            started.append((name, process, shown))  # first: what is told may be answered at once
            shown.start()
        for _, process, shown in started:
            process.wait()
            shown.join()
    except (Interrupted, KeyboardInterrupt):
        end([process for _, process, _ in started])
        return 1
    codes = {name: process.returncode for name, process, _ in started}
    for name, code in codes.items():
        say(name, f"exit status {code}")
    return int(any(codes.values()))


def show(name: str, process: subprocess.Popen[str]) -> None:
    """Print a command's lines as they come."""
    assert process.stdout is not None, "a pipe was asked for"
    with process.stdout as lines:
        for line in lines:
            say(name, line.rstrip("\n"))


def say(name: str, line: str) -> None:
    """One line; two commands never share one."""
    sys.stdout.write(f"{name} | {line}\n")
    sys.stdout.flush()


def end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Interrupt the commands; kill those that do not end in time."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def interrupted(number: int, _: FrameType | None) -> None:
    """A signal becomes an exception, once: the second one must not disturb the ending."""
    signal.signal(number, signal.SIG_IGN)
    raise Interrupted


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    sys.exit(run([(name, rest) for name, _, rest in (arg.partition("=") for arg in sys.argv[1:])]))
