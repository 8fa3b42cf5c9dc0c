"""Replay objects: each is handed to the worker once, and says what came out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.paths import path_of
from ops.clock import wall_s
from ops.controller.replays.status import (
    begun,
    ended,
    replay_report,
    replay_report_name,
    replay_request,
)
from ops.controller.resources.fields import GROUP, VERSION, name_of, parse, to_object
from ops.controller.resources.incident import IncidentStatus
from ops.controller.resources.replay import ReplaySpec, ReplayStatus
from ops.controller.worker_link.line import WorkerLine
from ops.controller.worker_link.wire import ReplayAnswer
from ops.errors import (
    KubeError,
    NotLeadingError,
    OpsError,
    ResourceError,
    WorkerBusyError,
    WorkerError,
)

logger = logging.getLogger(__name__)
TRIES = 5
PAUSE_S, PAUSE_S_MAX = 5.0, 60.0
RUNNING_MAX = 16  # waiting for the worker; the others begin when one of these has ended
DONE, DONE_MAX = ("Complete", "Failed"), 1024
REFUSED = frozenset({400, 404, 413, 422})  # for what the object is, not for when it came

T = TypeVar("T")


class ReplayDesk:
    """Takes Replay objects as they come. Used on the main loop only.

    One that a dead leader left Running is begun anew: nothing of it is kept but its start. What the
    server does not take is tried until it does, so that none stays Running for ever.
    """

    def __init__(self, api: KubeApi, worker: WorkerLine) -> None:
        """Start with none."""
        self._api, self._worker = api, worker
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by uid
        self._done: dict[str, None] = {}  # uids, oldest first: an event may come late
        self._room = asyncio.Semaphore(RUNNING_MAX)

    def put(self, body: Mapping[str, Any]) -> None:
        """Run a Replay that was not answered yet."""
        uid = _uid(body)
        phase = (body.get("status") or {}).get("phase", "")
        if uid in self._tasks or uid in self._done or phase in DONE:
            return
        task = asyncio.get_running_loop().create_task(self._run(body))
        self._tasks[uid] = task
        task.add_done_callback(lambda _: self._tasks.pop(uid, None))

    def drop(self, body: Mapping[str, Any]) -> None:
        """Forget a deleted Replay."""
        self._done.pop(_uid(body), None)
        task = self._tasks.get(_uid(body))
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """End what runs; the next leader begins it anew."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, body: Mapping[str, Any]) -> None:
        place, generation = name_of(body), body["metadata"].get("generation", 0)
        status = begun(_stored(body), now_s=wall_s(), generation=generation)
        try:
            try:
                await self._answered(body, status)
            except NotLeadingError:
                raise
            except Exception as error:  # whatever it is, somebody waits for an end
                if isinstance(error, KubeError) and error.status == 404:
                    logger.info("replay=%s deleted by somebody", place)
                    return
                logger.exception("replay=%s failed", place)
                failed = ReplayAnswer(verdict="Not replayed.", failed=str(error) or repr(error))
                await self._end(body, status, failed)
        except OpsError as error:
            logger.error("replay=%s not answered: %s", place, error)
        except Exception:  # the top of one replay
            logger.exception("replay=%s failed", place)

    async def _answered(self, body: Mapping[str, Any], status: ReplayStatus) -> None:
        meta = body["metadata"]
        async with self._room:
            await self._write(body, status)
            answer = await self._asked(body, meta["namespace"], meta["name"])
        await self._end(body, status, answer)

    async def _end(
        self, body: Mapping[str, Any], status: ReplayStatus, answer: ReplayAnswer
    ) -> None:
        """Write what came out: the page first, so that the status names what is there."""
        meta, report, trouble = body["metadata"], "", ""
        if answer.html_gzip:
            try:
                report = await self._insisted(body, lambda: self._put_report(meta, answer))
            except KubeError as error:
                if error.status == 404:
                    raise
                trouble = f"its page is not stored: {error}"
        status = ended(
            status, answer, report=report, report_trouble=trouble, now_s=wall_s(),
            generation=meta.get("generation", 0),
        )  # fmt: skip
        await self._write(body, status)
        self._done[meta["uid"]] = None
        if len(self._done) > DONE_MAX:
            del self._done[next(iter(self._done))]
        logger.info("replay=%s phase=%s verdict=%r", name_of(body), status.phase, status.verdict)

    async def _insisted(self, body: Mapping[str, Any], ask: Callable[[], T]) -> T:
        """What the API server answers, however long it is away.

        Raises:
            KubeError: it refuses the object itself; asking again would change nothing.
        """
        failures = 0
        while True:
            try:
                return await asyncio.to_thread(ask)
            except KubeError as error:
                if error.status in REFUSED:
                    raise
                failures += 1
                pause_s = min(PAUSE_S * 2.0 ** min(failures - 1, 10), PAUSE_S_MAX)
                pause_s = max(pause_s, error.retry_after_s or 0.0)
                logger.warning("replay=%s again in %.0fs: %s", name_of(body), pause_s, error)
            await asyncio.sleep(pause_s)

    async def _asked(self, body: Mapping[str, Any], namespace: str, name: str) -> ReplayAnswer:
        """The worker's answer; what cannot be run is an answer that says so."""
        try:
            spec = parse(ReplaySpec, body.get("spec"), path=f"Replay {namespace}/{name}: spec")
            ranking = await self._insisted(body, lambda: self._ranking(namespace, spec.incident))
            request = replay_request(spec, namespace=namespace, name=name, ranking_sha256=ranking)
        except (ResourceError, ValueError) as error:
            return ReplayAnswer(verdict="Not replayed.", failed=str(error))
        failures = 0
        while True:
            try:
                future = self._worker.replay(request, wake=lambda: None)
                return await asyncio.wrap_future(future)
            except WorkerBusyError as error:
                await asyncio.sleep(error.retry_after_s)
            except WorkerError as error:
                failures += 1
                if failures >= TRIES:
                    return ReplayAnswer(verdict="Not replayed.", failed=str(error))
                await asyncio.sleep(PAUSE_S * failures)

    def _ranking(self, namespace: str, incident: str) -> str:
        """The ranking that the Incident shows, empty where there is no such Incident."""
        if not incident:
            return ""
        path = path_of(GROUP, VERSION, "incidents", namespace)
        found = self._api.get(path, params={"fieldSelector": f"metadata.name={incident}"})
        for raw in found.get("items") or ():
            where = f"Incident {namespace}/{incident}: status"
            return parse(IncidentStatus, raw.get("status"), path=where).ranking_sha256
        return ""

    def _put_report(self, meta: Mapping[str, Any], answer: ReplayAnswer) -> str:
        namespace, name = meta["namespace"], meta["name"]
        made = replay_report(answer, namespace=namespace, name=name, uid=meta["uid"])
        try:
            self._api.create(path_of("", "v1", "configmaps", namespace), made)
        except KubeError as error:
            if error.status != 409:
                raise
            own = path_of("", "v1", "configmaps", namespace, replay_report_name(name))
            self._api.patch(own, made)
        return replay_report_name(name)

    async def _write(self, body: Mapping[str, Any], status: ReplayStatus) -> None:
        meta = body["metadata"]
        path = path_of(GROUP, VERSION, "replays", meta["namespace"], meta["name"], "status")
        patch = {"status": to_object(status)}
        await self._insisted(body, lambda: self._api.patch(path, patch))


def _uid(body: Mapping[str, Any]) -> str:
    return str((body.get("metadata") or {}).get("uid", ""))


def _stored(body: Mapping[str, Any]) -> ReplayStatus:
    try:
        return parse(ReplayStatus, body.get("status"), path="status")
    except ResourceError:
        return ReplayStatus()
