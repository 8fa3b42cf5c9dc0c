"""A receiver on a free port, and what speaks to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import aiohttp
import orjson
import pytest
from prometheus_client import CollectorRegistry

from ops.controller.alerts.gate import Limits
from ops.controller.alerts.inbox import AlertInbox
from ops.controller.alerts.routes import AlertRoutes
from ops.controller.alerts.server import serve
from ops.controller.alerts.webhook import make_webhook
from tests.ops.adapters.conftest import fake_prometheus  # noqa: F401  a fixture here, too

TOKEN = "correct-horse"


def alert_item(n=0, **more):
    return {
        "status": "firing",
        "labels": {"alertname": f"Slow{n}", "namespace": "shop"},
        "annotations": {},
        "startsAt": "2026-01-02T03:04:05Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"{n:016x}",
    } | more


def notification(*items, **more):
    return orjson.dumps({"version": "4", "groupKey": "g", "alerts": list(items)} | more)


class Written:
    """A fleet that writes what it takes, one tick at a time, as soon as it may."""

    def __init__(self, *, may_write=True, **inbox):
        self.alerts, self.num_ticks, self.error = [], 0, None
        self.woken, self.may_write = asyncio.Event(), asyncio.Event()
        if may_write:
            self.may_write.set()
        self.inbox = AlertInbox(wake=self.woken.set, **inbox)

    async def run(self):
        while True:
            await self.woken.wait()
            self.woken.clear()
            batch = self.inbox.take()
            self.num_ticks += 1
            await self.may_write.wait()
            await asyncio.sleep(0)
            if self.error is not None:
                batch.failed(self.error)
                continue
            self.alerts += batch.alerts
            batch.written()


@asynccontextmanager
async def receiver(tmp_path, *, fleet=None, accept=None, limits=None, **more):
    """A running receiver with one fleet in the namespace shop."""
    token_file = tmp_path / "token"
    if not token_file.exists():
        token_file.write_text(TOKEN + "\n")
    fleet = fleet or Written()
    routes = AlertRoutes(lambda namespace, name: [fleet.inbox] if namespace == "shop" else [])
    limits, registry = limits or Limits(), CollectorRegistry()
    listen = {k: more.pop(k) for k in ("cert_file", "key_file") if k in more}
    app = make_webhook(
        accept or routes.accept, token_file=token_file, limits=limits, registry=registry,
        cert_file=listen.get("cert_file"), **more,
    )  # fmt: skip
    server = await serve(app, listen="127.0.0.1:0", limits=limits, **listen)
    ticks = asyncio.create_task(fleet.run())
    scheme = "https" if listen else "http"
    client = aiohttp.ClientSession(f"{scheme}://127.0.0.1:{server.port}")

    async def post(body=None, *, token=TOKEN, path="/alerts", **request):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        headers |= request.pop("headers", {})
        async with client.post(
            path, data=notification(alert_item()) if body is None else body,
            headers={k: v for k, v in headers.items() if v is not None}, **request,
        ) as answer:  # fmt: skip
            return SimpleNamespace(
                status=answer.status, headers=answer.headers, said=orjson.loads(await answer.read())
            )

    async def answered():
        """Until a post is answered well: on a busy machine ours may be too slow for the limits."""
        async with asyncio.timeout(30.0):
            while True:
                with suppress(aiohttp.ClientError):
                    if (await post()).status == 200:
                        return
                await asyncio.sleep(0.01)

    try:
        yield SimpleNamespace(
            post=post, answered=answered, client=client, fleet=fleet, port=server.port,
            token_file=token_file, registry=registry, server=server,
        )  # fmt: skip
    finally:
        await client.close()
        ticks.cancel()
        await server.close()


@pytest.fixture
def door(tmp_path):
    """Runs a test's coroutine against a receiver: `door(check, fleet=..., limits=...)`."""

    def run(check, **more):
        async def body():
            made = more.pop("fleet", None)
            fleet = made() if made else None
            async with receiver(tmp_path, fleet=fleet, **more) as running:
                await check(running)

        asyncio.run(body())

    return SimpleNamespace(
        run=run, item=alert_item, body=notification, Written=Written, Limits=Limits, TOKEN=TOKEN,
        receiver=receiver,
    )  # fmt: skip
