"""The worker: an HTTP service that diagnoses, reports and replays, with no right in the cluster.

It is given a symptom and what a watch on the cluster shows, reads metrics from the endpoints that
its own settings name, and answers. What it cannot take now it refuses with 503 and when to ask
again; probes are answered while it computes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ops.clock import monotonic_s
from ops.controller.accepted_tokens import AcceptedTokens
from ops.controller.worker.jobs import FullError, Urgency
from ops.controller.worker.probes import probe_routes, refusal
from ops.controller.worker.service import Worker
from ops.controller.worker.settings import WorkerSettings
from ops.controller.worker_link.codec import decode, encode
from ops.controller.worker_link.wire import (
    DIAGNOSE,
    REPLAY,
    REPORT,
    REQUEST_BYTES_MAX,
    DiagnoseRequest,
    ReplayRequest,
    ReportRequest,
)
from ops.errors import OpsError, SettingsError, WorkerError

logger = logging.getLogger(__name__)
STOP_S = 5.0  # that requests may take after SIGTERM
IDLE_S = 30.0  # connections that send no complete head for so long are cut
WORKER: web.AppKey[Worker] = web.AppKey("worker")


def make_worker(settings: WorkerSettings) -> web.Application:
    """The application: three questions, three probes.

    Raises:
        SettingsError: the settings cannot be used.
    """
    worker = Worker(settings)
    app = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=[_guarded(worker)])
    app.add_routes(
        [
            web.post(DIAGNOSE, _answering(worker, "diagnose")),
            web.post(REPORT, _answering(worker, "report")),
            web.post(REPLAY, _answering(worker, "replay")),
            *probe_routes(worker),
        ]
    )

    app[WORKER] = worker

    async def life(_: web.Application) -> AsyncIterator[None]:
        loading = asyncio.create_task(worker.jobs.run(Urgency.DIAGNOSIS, worker.load))
        loading.add_done_callback(worker.loaded)
        yield
        loading.cancel()
        worker.close()
        await worker.jobs.close()

    app.cleanup_ctx.append(life)
    return app


def make_metrics_door(worker: Worker) -> web.Application:
    """Probes and metrics alone, for a port that more than the operator may reach."""
    app = web.Application()
    app.add_routes(probe_routes(worker))
    return app


def run_worker(settings: WorkerSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: the settings or the address cannot be used.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: WorkerSettings) -> None:
    app = make_worker(settings)
    worker = app[WORKER]
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=STOP_S,
        keepalive_timeout=IDLE_S,
    )
    second = web.AppRunner(
        make_metrics_door(worker),
        access_log=None,
        shutdown_timeout=STOP_S,
        keepalive_timeout=IDLE_S,
    )
    try:
        await _listen(runner, settings.host, settings.port, key="worker.listen")
        if settings.metrics_address is not None:
            await _listen(second, *settings.metrics_address, key="worker.metricsListen")
    except SettingsError:
        await second.cleanup()
        await runner.cleanup()
        raise
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, worker.stop.set)
    await worker.stop.wait()
    logger.info("worker stops waiting=%d", worker.jobs.waiting)
    await second.cleanup()
    await runner.cleanup()
    if worker.error is not None:
        raise worker.error


async def _listen(runner: web.AppRunner, host: str, port: int, *, key: str) -> None:
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise SettingsError(
            f"the worker cannot listen on {host}:{port}: {error}; choose another {key}"
        ) from error
    logger.info("worker listens address=%s:%s key=%s", host, port, key)


def _guarded(worker: Worker) -> Middleware:
    """Middleware: a token for questions; errors as one line of JSON, never a traceback."""

    token_file = worker.settings.token_file
    tokens = None if token_file is None else AcceptedTokens(token_file, now_s=monotonic_s)
    if tokens is not None:
        tokens.accepts(None)  # the token of now is known, should the first question come much later

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST" and tokens is not None:
            try:
                good = tokens.accepts(request.headers.get("Authorization"))
            except SettingsError as error:
                logger.error("token cannot be read error=%s", error)
                return refusal(503, "the worker cannot read its token file", retry_after_s=5.0)
            if not good:
                return refusal(401, "the bearer token is missing or wrong")
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return refusal(413, f"the request has more than {REQUEST_BYTES_MAX} bytes")
        except web.HTTPException as error:
            return refusal(error.status, error.reason)
        except FullError as error:
            return refusal(503, f"{error}; ask again later", retry_after_s=error.retry_after_s)
        except WorkerError as error:  # a body that cannot be used
            return refusal(400, str(error))
        except OpsError as error:
            logger.warning("question failed path=%s error=%s", request.path, error)
            return refusal(500, str(error))
        except Exception:
            logger.exception("question failed path=%s", request.path)
            return refusal(500, "an error of the worker's own, see its log")

    return guard


def _answering(worker: Worker, what: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if not worker.ready:
            return refusal(503, "the worker loads its models", retry_after_s=2.0)
        began_s = monotonic_s()
        try:
            body = await _ask(worker, what, raw)
        except BaseException:
            worker.metrics.count(what, "error", monotonic_s() - began_s)
            raise
        worker.metrics.count(what, "answered", monotonic_s() - began_s)
        return web.Response(body=body, content_type="application/json")

    return handle


async def _ask(worker: Worker, what: str, raw: bytes) -> bytes:
    """Decode, do the work, encode: all of it beside the event loop, which answers probes."""
    parts, jobs = worker.parts, worker.jobs
    if what == "diagnose":
        return await jobs.run(
            Urgency.DIAGNOSIS,
            lambda: encode(parts.diagnoser.diagnose(decode(DiagnoseRequest, raw))),
        )
    if what == "report":
        return await jobs.run(
            Urgency.REPORT, lambda: encode(parts.reporter.report(decode(ReportRequest, raw)))
        )
    replay = await asyncio.to_thread(decode, ReplayRequest, raw)
    answer = await parts.replayer.replay(replay)
    return await asyncio.to_thread(encode, answer)
