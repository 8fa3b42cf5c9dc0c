"""Programs that a test starts: each in a session of its own, ended by pid, its log in a file."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

STOP_S = 3.0
POLL_S = 0.05
# How long to wait for what nobody measures: a limit costs nothing where the wait ends well, and the
# machine may be slow or busy.
WAIT_S = 120.0
# What a call to a server that starts, stops or is killed may raise.
NO_ANSWER = (OSError, http.client.HTTPException)
LOG_TAIL_LINES, LOG_LINE_MAX = 15, 400
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Below the ports that the kernel hands out to clients: a server that comes back gets its own again.
PORTS = range(15_000, 30_000)


@dataclass(kw_only=True)
class Program:
    """One program, not started yet; the same object starts it again after it ended."""

    name: str
    argv: Sequence[str | Path]
    log: Path
    env: dict[str, str] | None = None  # None takes the environment of the tests
    cwd: Path | None = None
    process: subprocess.Popen | None = field(default=None, init=False)

    def start(self) -> Program:
        """Start it; its words are added to the log."""
        assert not self.alive, f"{self.name} runs already"
        with self.log.open("ab") as out:
            # A test run that is killed takes its programs with it, where the system can do that.
            keeper = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
            self.process = subprocess.Popen(
                [*keeper, *map(str, self.argv)], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, env=self.env, cwd=self.cwd, start_new_session=True,
            )  # fmt: skip
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, grace_s: float = STOP_S) -> int | None:
        """SIGTERM, after a grace SIGKILL; the exit status, None if it never ran."""
        if self.process is None:
            return None
        if self.alive:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace_s)
        return self.kill()

    def kill(self) -> int | None:
        """SIGKILL to it and to all that it started; the exit status, None if it never ran."""
        if self.process is None:
            return None
        if self.process.returncode is None:  # not waited for: the pid is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wait(self, timeout_s: float) -> int:
        """Until it ends by itself; its exit status."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.wait(timeout_s)

    def rss_mib(self) -> float:
        """Resident memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * PAGE_BYTES / 2**20

    def rss_mib_peak(self) -> float:
        """Highest resident memory so far."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"no VmHWM of {self.name}")

    def cpu_s(self) -> float:
        """Processor time so far, user and system, all threads."""
        # The second field is the name in brackets, which may hold spaces.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def log_tail(self) -> str:
        lines = self.log_text().splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([f"--- {self.log}", *(line[:LOG_LINE_MAX] for line in lines)])

    def ready(self, check: Callable[[], bool], *, timeout_s: float = WAIT_S) -> None:
        """Wait until `check` holds.

        Raises:
            AssertionError: it ended, or does not hold in time; with the end of the log.
        """
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            if not self.alive:
                assert self.process is not None, f"{self.name} was not started"
                status = self.process.returncode
                raise AssertionError(f"{self.name} ended with {status}\n{self.log_tail()}")
            if holds(check):
                return
            time.sleep(POLL_S)
        raise AssertionError(f"{self.name} not ready after {timeout_s} s\n{self.log_tail()}")


def holds(check: Callable[[], object]) -> bool:
    """Whether it holds; no connection counts as no."""
    try:
        return bool(check())
    except NO_ANSWER:
        return False


def eventually(
    check: Callable[[], object],
    *,
    timeout_s: float = WAIT_S,
    what: str = "",
    poll_s: float = POLL_S,
) -> float:
    """Wait until `check` returns something true; seconds that it took.

    Raises:
        AssertionError: it does not in time; with what it returned last.
    """
    began_s = time.monotonic()
    while True:
        last = check()
        took_s = time.monotonic() - began_s
        if last:
            return took_s
        if took_s >= timeout_s:
            raise AssertionError(f"not within {timeout_s} s: {what or check}; last: {last!r}")
        time.sleep(poll_s)


def free_ports(num: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on, given to nobody else who asks here.

    What is started on one listens some time later, and may be stopped and started again: until this
    process ends the port is its own, whatever other test runs do side by side.
    """
    dice, found, tries = random.Random(), [], 0
    while len(found) < num:
        tries += 1
        assert tries < 1000, "no free port on the loopback interface"
        port = dice.choice(PORTS)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if claim(port):
            found.append(port)
    return found


@functools.cache
def claims() -> tuple[BinaryIO, set[int]]:
    """A file whose byte at a port's number is locked by who has that port; the ports of ours."""
    path = Path(tempfile.gettempdir()) / f"midwatch-test-ports-{os.getuid()}"
    file = path.open("ab")
    atexit.register(file.close)
    return file, set()


def claim(port: int) -> bool:
    """Whether the port is ours from now on; a lock ends with its process."""
    file, own = claims()
    if port in own:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    own.add(port)
    return True
