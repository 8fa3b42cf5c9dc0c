"""Replay objects: each is handed to the worker once, and says what came out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

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
from ops.controller.resources.fields import GROUP, VERSION, parse, to_object
from ops.controller.resources.incident import IncidentStatus
from ops.controller.resources.replay import ReplaySpec, ReplayStatus
from ops.controller.worker_link.line import WorkerLine
from ops.controller.worker_link.wire import ReplayAnswer
from ops.errors import KubeError, OpsError, ResourceError, WorkerBusyError, WorkerError

logger = logging.getLogger(__name__)
TRIES = 5
PAUSE_S = 5.0
RUNNING_MAX = 16  # waiting for the worker; the others begin when one of these has ended
DONE = ("Complete", "Failed")


class ReplayDesk:
    """Takes Replay objects as they come. Used on the main loop only."""

    def __init__(self, api: KubeApi, worker: WorkerLine) -> None:
        """Start with none."""
        self._api, self._worker = api, worker
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by uid
        self._room = asyncio.Semaphore(RUNNING_MAX)

    def put(self, body: Mapping[str, Any]) -> None:
        """Run a Replay that was not answered yet."""
        uid = str((body.get("metadata") or {}).get("uid", ""))
        phase = (body.get("status") or {}).get("phase", "")
        if uid in self._tasks or phase in DONE:
            return
        task = asyncio.get_running_loop().create_task(self._run(body))
        self._tasks[uid] = task
        task.add_done_callback(lambda _: self._tasks.pop(uid, None))

    def drop(self, body: Mapping[str, Any]) -> None:
        """Forget a deleted Replay."""
        task = self._tasks.get(str((body.get("metadata") or {}).get("uid", "")))
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """End what runs; the next leader begins it anew."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, body: Mapping[str, Any]) -> None:
        meta = body["metadata"]
        place = f"{meta['namespace']}/{meta['name']}"
        try:
            async with self._room:
                await self._answered(body)
        except OpsError as error:
            logger.error("replay=%s not answered: %s", place, error)
        except Exception:  # the top of one replay
            logger.exception("replay=%s failed", place)

    async def _answered(self, body: Mapping[str, Any]) -> None:
        meta = body["metadata"]
        namespace, name, generation = meta["namespace"], meta["name"], meta.get("generation", 0)
        status = begun(_stored(body), now_s=wall_s(), generation=generation)
        await self._write(namespace, name, status)
        answer = await self._asked(body, namespace, name)
        report = ""
        if answer.html_gzip:
            made = replay_report(answer, namespace=namespace, name=name, uid=meta["uid"])
            report = await _in_thread(lambda: self._put_report(namespace, name, made))
        status = ended(status, answer, report=report, now_s=wall_s(), generation=generation)
        await self._write(namespace, name, status)
        logger.info("replay=%s/%s phase=%s verdict=%r", namespace, name, status.phase,
                    status.verdict)  # fmt: skip

    async def _asked(self, body: Mapping[str, Any], namespace: str, name: str) -> ReplayAnswer:
        """The worker's answer; what cannot be run is an answer that says so."""
        try:
            spec = parse(ReplaySpec, body.get("spec"), path=f"Replay {namespace}/{name}: spec")
            ranking = await _in_thread(lambda: self._ranking(namespace, spec.incident))
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

    def _put_report(self, namespace: str, name: str, made: Mapping[str, Any]) -> str:
        try:
            self._api.create(path_of("", "v1", "configmaps", namespace), made)
        except KubeError as error:
            if error.status != 409:
                raise
            own = path_of("", "v1", "configmaps", namespace, replay_report_name(name))
            self._api.patch(own, made)
        return replay_report_name(name)

    async def _write(self, namespace: str, name: str, status: ReplayStatus) -> None:
        path = path_of(GROUP, VERSION, "replays", namespace, name, "status")
        await _in_thread(lambda: self._api.patch(path, {"status": to_object(status)}))


def _stored(body: Mapping[str, Any]) -> ReplayStatus:
    try:
        return parse(ReplayStatus, body.get("status"), path="status")
    except ResourceError:
        return ReplayStatus()


async def _in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)
