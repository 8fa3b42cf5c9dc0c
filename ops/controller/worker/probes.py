"""Probes and metrics of the worker: answered while it computes, without a token."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ops.controller.worker.service import Worker

HANG_S = 900.0  # a job that takes longer hangs: the process is no longer alive


def probe_routes(worker: Worker) -> list[web.RouteDef]:
    """The routes of both doors that ask no question."""
    return [
        web.get("/livez", _livez(worker)),
        web.get("/readyz", _readyz(worker)),
        web.get("/metrics", _metrics(worker)),
    ]


def _livez(worker: Worker) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        if worker.jobs.busy_s > HANG_S:
            return refusal(503, f"one job has taken {worker.jobs.busy_s:.0f} s: it hangs")
        return web.json_response({"ok": True})

    return handle


def _readyz(worker: Worker) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        body = {
            "ready": worker.ready,
            "endpoints": sorted(worker.settings.endpoints),
            "bundles": worker.settings.bundle_dir is not None,
            "granger": worker.parts.diagnoser.granger if worker.ready else "",
            "waiting": worker.jobs.waiting,
        }
        return web.json_response(body, status=200 if worker.ready else 503)

    return handle


def _metrics(worker: Worker) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=worker.metrics.text(), headers=headers)

    return handle


def refusal(status: int, text: str, *, retry_after_s: float | None = None) -> web.Response:
    """An error as one line of JSON."""
    headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:.0f}"}
    return web.json_response({"error": text}, status=status, headers=headers)
