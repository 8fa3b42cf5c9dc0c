"""Whether the process lives, whether it is ready, and its metrics, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from ops.errors import SettingsError

IDLE_S = 30.0  # connections that send no complete head for so long are cut; who scrapes comes again


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of the operator itself; `needed` = not ready without it."""

    type: str
    ok: bool
    reason: str
    message: str = ""
    needed: bool = False


Checks = Callable[[], Sequence[Check]]


def make_probes(checks: Checks, registry: CollectorRegistry) -> web.Application:
    """GET /livez, /readyz, /metrics. /readyz answers 503 until everything needed is there."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        found = checks()
        ready = all(check.ok for check in found if check.needed)
        body = {
            "ready": ready,
            "conditions": [
                {
                    "type": check.type,
                    "status": "True" if check.ok else "False",
                    "reason": check.reason,
                    "message": check.message,
                }
                for check in found
            ],
        }
        raw = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        return web.Response(body=raw, status=200 if ready else 503, content_type="application/json")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application(client_max_size=0)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


async def serve_probes(app: web.Application, listen: str) -> tuple[web.AppRunner, int]:
    """Listen; the runner to clean up and the port.

    Raises:
        SettingsError: the address cannot be used.
    """
    host, _, port = listen.rpartition(":")
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1.0,
        keepalive_timeout=IDLE_S,
    )
    await runner.setup()
    site = web.TCPSite(runner, host.strip("[]") or None, int(port))
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(
            f"probes.listen {listen!r} cannot be used: {error}; give a free host:port"
        ) from error
    return runner, int(runner.addresses[0][1])
