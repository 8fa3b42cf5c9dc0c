"""Runs one method over saved frames, each in a process of its own with a limit on CPU seconds.

Called by run.py with the interpreter of the peers' environment; one JSON line a case on stdout.
Imports happen once, before the fork, so that no case pays for them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from frame import Frame, Ranking, load
from references import REFERENCES

WALL_FACTOR = 60  # on a busy machine a case may take so many times its CPU limit, then it is stuck
POLL_S = 0.01
REPEATED_S = 0.5  # quick answers are given again until so much time is gone, and the mean counts
OUT_OF_TIME = "no answer in"
GIVE_UP_AFTER = 2  # cases in a row out of time, none answered: the rest of the set is given up
# RCAEval's own words on stderr, perhaps behind a progress bar on the same line.
GAVE_UP = re.compile(r"(\w+ failed \(.*\)); returning the unranked column order")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", required=True)
    parser.add_argument("--limit-s", type=float, required=True, help="CPU seconds a case")
    parser.add_argument("--until-s", type=float, required=True, help="Unix time to stop at")
    parser.add_argument("--late", type=int, default=0, help="cases out of time in a run before")
    parser.add_argument("frames", type=Path, nargs="+")
    given = parser.parse_args()
    said = os.fdopen(os.dup(1), "w")  # libraries print what they like on the other one
    os.dup2(2, 1)
    rank = _method(given.method)
    late, answered = given.late, False
    for path in given.frames:
        if time.time() >= given.until_s:
            return
        if late >= GIVE_UP_AFTER and not answered:
            result: dict[str, Any] = {
                "failed": f"given up: {late} cases of this set before ran out of time"
            }
        else:
            result = in_process(rank, load(path), given.limit_s)
            late = late + 1 if result.get("timeout") else 0
            answered |= "columns" in result
        print(json.dumps({"frame": path.stem, **result}), file=said, flush=True)


def _method(name: str) -> Callable[[Frame], Ranking]:
    if name in REFERENCES:
        return REFERENCES[name]
    import published

    return published.method(name)


def in_process(rank: Callable[[Frame], Ranking], frame: Frame, limit_s: float) -> dict[str, Any]:
    """Answer, CPU and wall seconds of a forked child, or why there is no answer."""
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "out.json", Path(folder) / "log"
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _child(rank, frame, limit_s, out, log)
        status, used = _wait(pid, began + WALL_FACTOR * limit_s)
        wall_s = time.monotonic() - began
        costs = {"cpu_s": round(used.ru_utime + used.ru_stime, 4), "wall_s": round(wall_s, 4)}
        if os.WIFSIGNALED(status):
            return {**_ended(os.WTERMSIG(status), limit_s), **costs}
        if not out.is_file():
            return {"failed": f"ended with code {os.WEXITSTATUS(status)}, no answer", **costs}
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        said = GAVE_UP.search(log.read_text(encoding="utf-8", errors="replace"))
        if said:
            return {"failed": said[1][:200], **costs}
        return costs | result


def _ended(number: int, limit_s: float) -> dict[str, Any]:
    if number == signal.SIGXCPU:
        return {"failed": f"{OUT_OF_TIME} {limit_s:g} CPU s", "timeout": True}
    if number == signal.SIGKILL:
        return {"failed": f"{OUT_OF_TIME} {WALL_FACTOR * limit_s:g} s", "timeout": True}
    return {"failed": f"ended by signal {number}"}


def _child(
    rank: Callable[[Frame], Ranking], frame: Frame, limit_s: float, out: Path, log: Path
) -> None:
    """Never returns."""
    try:
        os.setpgid(0, 0)  # so that what it starts ends with it
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s), int(limit_s) + 1))
        with log.open("w") as to:
            os.dup2(to.fileno(), 1)
            os.dup2(to.fileno(), 2)
        random.seed(0)
        np.random.seed(0)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(0)
            sys.modules["torch"].set_num_threads(1)
        result: dict[str, Any]
        wall, cpu, times = time.perf_counter(), time.process_time(), 1
        try:
            found = rank(frame)
            result = {"columns": found.columns, "services": found.services}
            while time.perf_counter() - wall < REPEATED_S:
                rank(frame)
                times += 1
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
            result = {"failed": f"{type(error).__name__}: {error}"[:200]}
        result["cpu_s"] = round((time.process_time() - cpu) / times, 6)
        result["wall_s"] = round((time.perf_counter() - wall) / times, 6)
        out.write_text(json.dumps(result), encoding="utf-8")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    finally:
        os._exit(1)


def _wait(pid: int, until: float) -> tuple[int, resource.struct_rusage]:
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            return status, used
        if time.monotonic() > until:
            os.killpg(pid, signal.SIGKILL)
            _, status, used = os.wait4(pid, 0)
            return status, used
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
