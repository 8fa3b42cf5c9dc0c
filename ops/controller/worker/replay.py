"""Replays: a bundle asked again (open loop), or a scenario simulated anew (closed loop).

Each runs in a process of its own, one at a time: a diagnosis never waits for a replay, and a
replay that hangs or takes too much is ended without the worker.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from ops.clock import monotonic_s
from ops.controller.worker.incident_bundle import BundleStore
from ops.controller.worker.jobs import FullError
from ops.controller.worker.replay_bundle import replay_bundle
from ops.controller.worker.replay_scenario import run_scenario
from ops.controller.worker_link.codec import decode, encode
from ops.controller.worker_link.wire import ReplayAnswer, ReplayRequest
from ops.errors import OpsError
from rca.errors import RcaError
from serving.errors import ServingError

SPAWN = multiprocessing.get_context("spawn")  # a fork would copy threads that hold locks
WAITING_MAX, RETRY_S = 4, 30.0
NICE = 10  # diagnoses go first


@dataclass(slots=True)
class _Run:
    """One process, which may be ended before it is there."""

    _process: BaseProcess | None = None
    _over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begun(self, process: BaseProcess) -> None:
        with self._lock:
            self._process = process
            if self._over:
                process.kill()

    def end(self) -> None:
        with self._lock:
            self._over = True
            if self._process is not None:
                self._process.kill()


class Replayer:
    """Runs replays one after the other, beside the diagnoses."""

    def __init__(self, bundles: BundleStore | None, *, granger: str, limit_s: float) -> None:
        """Use the bundles of the worker; `limit_s` ends a replay."""
        self._root = None if bundles is None else bundles.root
        self._granger, self._limit_s = granger, limit_s
        self._waiting = 0
        self._running: _Run | None = None
        self._one = asyncio.Lock()

    async def replay(self, request: ReplayRequest) -> ReplayAnswer:
        """Run it; what cannot be run is an answer that says why.

        A caller that is cancelled ends its run: an operator that died is not waited for, and the
        next one asks again.

        Raises:
            FullError: others wait already.
        """
        if self._waiting > WAITING_MAX:
            raise FullError(self._waiting - 1, RETRY_S)
        began_s = monotonic_s()
        self._waiting += 1
        try:
            async with self._one:
                answer = await self._alone(_Run(), request)
        finally:
            self._waiting -= 1
        took_s = round(monotonic_s() - began_s, 3)
        return replace(answer, stages_s={**answer.stages_s, "all": took_s})

    def close(self) -> None:
        """End what runs: whoever asked is gone, and the worker must be able to stop."""
        if self._running is not None:
            self._running.end()

    async def _alone(self, run: _Run, request: ReplayRequest) -> ReplayAnswer:
        """No other one begins before this one's process is gone."""
        self._running = run
        work = asyncio.ensure_future(asyncio.to_thread(self._apart, run, request))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            run.end()
            await asyncio.wait([work])
            raise
        finally:
            self._running = None

    def _apart(self, run: _Run, request: ReplayRequest) -> ReplayAnswer:
        """In a fresh process; its answer, or why there is none."""
        ours, theirs = SPAWN.Pipe(duplex=False)
        work = SPAWN.Process(
            target=_child, args=(theirs, encode(request), self._root, self._granger), daemon=True
        )
        work.start()
        theirs.close()
        run.begun(work)
        try:
            if not ours.poll(self._limit_s):
                return _failed(f"it took more than {self._limit_s:g} s; take a smaller scenario")
            return decode(ReplayAnswer, ours.recv_bytes())
        except (EOFError, OSError):
            work.join(1.0)
            return _failed(f"its process ended with code {work.exitcode} and no answer; "
                           "is there enough memory?")  # fmt: skip
        finally:
            if work.is_alive():
                work.kill()
            work.join(5.0)
            ours.close()


def _child(pipe: Connection, raw: bytes, root: Path | None, granger: str) -> None:
    """The other process: one request in, one answer out."""
    os.nice(NICE)
    request = decode(ReplayRequest, raw)
    try:
        if request.scenario:
            answer = run_scenario(request, granger=granger)
        elif root is None:
            answer = _failed(
                "the worker has recorded no incident: set bundleDir in its settings, on a volume; "
                "what is diagnosed from then on can be replayed"
            )
        else:
            answer = replay_bundle(request, root)
    except (OpsError, RcaError, ServingError) as error:
        answer = _failed(str(error))
    pipe.send_bytes(encode(answer))
    pipe.close()


def _failed(reason: str) -> ReplayAnswer:
    return ReplayAnswer(verdict=f"Not replayed: {reason}.", failed=reason)
