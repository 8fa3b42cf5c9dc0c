"""The operator process: who leads watches, the others wait. Everything starts and ends here."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable
from pathlib import Path

from aiohttp import web

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.cache import Resource
from ops.adapters.kube.connect import pod_namespace
from ops.adapters.kube.rights import Right
from ops.clock import monotonic_s
from ops.controller.alerts.routes import AlertRoutes
from ops.controller.alerts.server import WebhookServer, serve
from ops.controller.alerts.webhook import make_webhook
from ops.controller.checks import operator_checks
from ops.controller.fleet.loop import FleetLoop
from ops.controller.fleet.parts import SharedParts
from ops.controller.fleet.table import FleetTable
from ops.controller.fleet.work import FleetWork
from ops.controller.leading.leadership import Leadership, leave
from ops.controller.leading.lease import Elector
from ops.controller.leading.lease_store import KubeLeases, SystemClock, new_identity
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.own_kinds import OwnKinds
from ops.controller.pools import Pools
from ops.controller.probes import Check, make_probes, serve_probes
from ops.controller.replays.desk import ReplayDesk
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.settings import Settings
from ops.controller.settings_files import file_faults, named_files, warn_of_files

logger = logging.getLogger(__name__)
LEASE_CALL_S = 2.0  # of one call to the Lease: below the renew deadline
REST_S = 2.0  # for everything else at the end
CLOSE_S = 0.5  # for writes under way, before the Lease is given up
CLUSTER_S = 5.0  # for the first lists of pods, nodes, deployments and events


class Operator:
    """One process. `run` returns its exit code."""

    def __init__(
        self, settings: Settings, *, kubeconfig: Path | None, token_file: Path | None = None
    ) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            KubeError: no usable address of an API server.
        """
        self.settings, self.metrics = settings, OperatorMetrics()
        self._files = named_files(settings)
        lease_s = min(LEASE_CALL_S, 0.5 * settings.lease.renew_seconds)
        self._lease_api = KubeApi.connect(
            kubeconfig=kubeconfig, token_file=token_file, timeout_s=lease_s
        )
        self.api = KubeApi.connect(
            kubeconfig=kubeconfig,
            token_file=token_file,
            before_write=lambda: self.leadership.check(),
            connect_s_max=settings.lease.connect_s_max,
        )
        clock = SystemClock()
        self.leadership = Leadership(
            Elector(
                leases=KubeLeases(
                    self._lease_api,
                    namespace=settings.lease.namespace or pod_namespace("midwatch-system"),
                    name=settings.lease.name,
                    timeout_s=lease_s,
                ),
                identity=new_identity(),
                settings=settings.lease,
                address=_own_address(settings),
            ),
            clock=clock,
            on_lead=self._led,
        )
        self.pools = Pools()

    @property
    def forbidden(self) -> frozenset[Right]:
        """Rights that the API server refused to any part of this process."""
        return self.api.forbidden | self._lease_api.forbidden

    async def serve(self) -> None:
        """Run, then leave without waiting for threads that wait for a server."""
        leave(await self.run())

    async def run(self) -> int:
        """Serve until SIGTERM, SIGINT, or a fault that only a restart mends."""
        self._loop = asyncio.get_running_loop()
        self._leading, self._stop = asyncio.Event(), asyncio.Event()
        self.table = FleetTable(self._make_loop)
        self.metrics.follow(self.table, num_rights_missing=lambda: len(self.forbidden))
        self.parts = SharedParts(self.api, self.settings, self.metrics)
        self.parts.worker.start()
        self.replays = ReplayDesk(self.api, self.parts.worker)
        self.kinds = OwnKinds(self.api, self.table, self.replays, self.metrics)
        self._lead_task: asyncio.Task[None] | None = None
        self._catch_signals()
        warn_of_files(self._files)
        probes, port = await serve_probes(
            make_probes(self._checks, self.metrics.registry), self.settings.probes.listen
        )
        logger.info("probes port=%d", port)
        webhook = await self._serve_webhook()
        self.leadership.start()
        try:
            return await self._until_stopped()
        finally:
            await self._close(webhook, probes)

    async def _until_stopped(self) -> int:
        lead = self._lead_task = asyncio.create_task(self._lead())
        stop = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait({lead, stop}, return_when=asyncio.FIRST_COMPLETED)
        self._stop.set()
        code = 0
        if lead in done and lead.exception() is not None:
            logger.error("watching ended: %s", lead.exception(), exc_info=lead.exception())
            code = 1
        stop.cancel()
        return code

    async def _lead(self) -> None:
        """Wait until this process leads, then watch."""
        await self._leading.wait()
        self.metrics.leading.set(1)
        await self.kinds.served()
        self.parts.cache.subscribe(self._on_change)
        self.parts.start()
        await self._see_cluster()
        await self.kinds.run(self._stop, catch_signals=self._catch_signals)

    async def _see_cluster(self) -> None:
        """Wait for the first lists, so that no fleet begins without its pods; not for ever."""
        until_s = monotonic_s() + CLUSTER_S
        while monotonic_s() < until_s:
            if all(self.parts.cache.listed(resource) for resource in Resource):
                return
            await asyncio.sleep(0.1)

    def _on_change(self, resource: str, namespace: str) -> None:
        """In the thread of a reflector; what the cluster reports of itself waits for a scrape."""
        if resource != Resource.EVENTS:
            self._loop.call_soon_threadsafe(self.table.changed, namespace, monotonic_s())

    def _make_loop(self, fleet: FleetObject) -> FleetLoop:
        work = FleetWork(fleet, self.parts.shared)
        name = f"{fleet.namespace}/{fleet.name}"
        loop = FleetLoop(
            work,
            name=name,
            threads=self.pools.threads,
            metrics=self.metrics,
            doubted=self.kinds.doubt,
        )
        work.wake = loop.wake
        return loop

    async def _serve_webhook(self) -> WebhookServer | None:
        webhook = self.settings.webhook
        if webhook.token_file is None:
            logger.warning("no webhook: webhook.tokenFile is not set, alerts are not taken")
            return None
        app = make_webhook(
            AlertRoutes(self.table.find).accept,
            token_file=webhook.token_file,
            leader=lambda: self.leadership.leader_address,
            cert_file=webhook.cert_file,
            registry=self.metrics.registry,
        )
        server = await serve(
            app, listen=webhook.listen, cert_file=webhook.cert_file, key_file=webhook.key_file
        )
        logger.info("webhook port=%d", server.port)
        return server

    async def _close(self, webhook: WebhookServer | None, probes: web.AppRunner) -> None:
        """Stop what writes, give the Lease up, then the rest."""
        began_s = monotonic_s()
        self.table.known = False  # alerts that come now are for the next leader
        await asyncio.gather(self.table.stop(), self.replays.stop())
        await self.pools.stop(wait_s=CLOSE_S)
        await asyncio.to_thread(self.leadership.stop)
        logger.info("lease given up after=%.2fs", monotonic_s() - began_s)
        rest: list[Awaitable[object]] = [asyncio.to_thread(self.parts.stop), probes.cleanup()]
        if webhook is not None:
            rest.append(webhook.close())
        if self._lead_task is not None:
            self._lead_task.cancel()
            rest.append(self._lead_task)
        await asyncio.wait([asyncio.ensure_future(one) for one in rest], timeout=REST_S)
        self.parts.worker.stop()

    def _checks(self) -> tuple[Check, ...]:
        own = operator_checks(
            self.leadership,
            listed=self.kinds.listed,
            num_fleets=len(self.table),
            forbidden=self.forbidden,
            watch_trouble=self.kinds.trouble,
            file_faults=file_faults(self._files),
        )
        return own + self.parts.checks()

    def _led(self) -> None:
        self._loop.call_soon_threadsafe(self._leading.set)

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)


def _own_address(settings: Settings) -> str:
    """Where this process takes alerts, for standby replicas; empty where its pod has no address."""
    host = os.environ.get("POD_IP", "")
    if not host or settings.webhook.token_file is None:
        return ""
    scheme = "https" if settings.webhook.cert_file else "http"
    port = settings.webhook.listen.rpartition(":")[2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
