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
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ops.catalogue import Catalogue
from ops.clock import monotonic_s
from ops.controller.token_file import matches, read_token
from ops.controller.worker.diagnose import WindowDiagnoser
from ops.controller.worker.incident_bundle import BundleStore
from ops.controller.worker.jobs import FullError, Jobs, Urgency
from ops.controller.worker.metrics import WorkerMetrics
from ops.controller.worker.replay import Replayer
from ops.controller.worker.report import Reporter
from ops.controller.worker.settings import WorkerSettings
from ops.controller.worker.window import WindowReader
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
LOOPBACK = ("127.0.0.1", "::1", "localhost")
HANG_S = 900.0  # a job that takes longer hangs: the process is no longer alive
STOP_S = 5.0  # that requests may take after SIGTERM
WORKER: web.AppKey[Worker] = web.AppKey("worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the handlers need; made once, heavy imports included."""

    diagnoser: WindowDiagnoser
    reporter: Reporter
    replayer: Replayer


class Worker:
    """State of the service behind the handlers."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Check the settings; the models are loaded with `start`.

        Raises:
            SettingsError: they cannot be used.
        """
        if settings.token_file is None and settings.host not in LOOPBACK:
            raise SettingsError(
                f"the worker listens on {settings.host} and no token is asked for; set "
                "worker.tokenFile, or listen on 127.0.0.1"
            )
        if settings.token_file is not None:
            read_token(settings.token_file)
        self.settings = settings
        self.jobs = Jobs(queue_max=settings.queue_max)
        self.metrics = WorkerMetrics(self.jobs)
        self.stop = asyncio.Event()
        self.error: BaseException | None = None  # why nothing can be answered, ever
        self._parts: _Parts | None = None

    def load(self) -> None:
        """Load catalogue and models; on the worker's thread, because torch takes seconds.

        Raises:
            SettingsError: the bundle folder cannot be used.
        """
        settings, catalogue = self.settings, Catalogue.load()
        window = WindowReader(settings.endpoints, catalogue, read_s=settings.read_s)
        diagnoser = WindowDiagnoser(settings, window)
        bundles = _store(settings)
        self._parts = _Parts(
            diagnoser=diagnoser,
            reporter=Reporter(
                window=window, diagnoser=diagnoser, catalogue=catalogue, bundles=bundles
            ),
            replayer=Replayer(bundles, granger=diagnoser.granger, limit_s=settings.replay_s),
        )

    def close(self) -> None:
        """End the replay that runs."""
        if self._parts is not None:
            self._parts.replayer.close()

    def loaded(self, task: asyncio.Task[None]) -> None:
        """Told when `load` has ended: without models the process is of no use."""
        self.error = None if task.cancelled() else task.exception()
        if self.error is not None:
            self.stop.set()

    @property
    def ready(self) -> bool:
        """Whether questions are answered."""
        return self._parts is not None

    @property
    def parts(self) -> _Parts:
        """What the handlers need."""
        assert self._parts is not None, "load() comes first"
        return self._parts


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
            web.get("/livez", _livez(worker)),
            web.get("/readyz", _readyz(worker)),
            web.get("/metrics", _metrics(worker)),
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


def run_worker(settings: WorkerSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: the settings or the address cannot be used.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: WorkerSettings) -> None:
    app = make_worker(settings)
    worker = app[WORKER]
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=STOP_S)
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(
            f"the worker cannot listen on {settings.host}:{settings.port}: {error}; "
            "choose another worker.listen"
        ) from error
    logger.info("worker listens address=%s:%s", settings.host, settings.port)
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, worker.stop.set)
    await worker.stop.wait()
    logger.info("worker stops waiting=%d", worker.jobs.waiting)
    await runner.cleanup()
    if worker.error is not None:
        raise worker.error


def _store(settings: WorkerSettings) -> BundleStore | None:
    folder = settings.bundle_dir
    if folder is None:
        return None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return BundleStore(folder, bundles_max=settings.bundles_max)
    except OSError as error:
        raise SettingsError(
            f"bundleDir {folder} cannot be used: {error}; mount a volume there that the worker "
            "may write, or leave bundleDir out"
        ) from error


def _guarded(worker: Worker) -> Middleware:
    """Middleware: a token for questions; errors as one line of JSON, never a traceback."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        token_file = worker.settings.token_file
        if request.method == "POST" and token_file is not None:
            try:
                token = read_token(token_file)
            except SettingsError as error:
                logger.error("token cannot be read error=%s", error)
                return _refusal(503, "the worker cannot read its token file", retry_after_s=5.0)
            if not matches(request.headers.get("Authorization"), token):
                return _refusal(401, "the bearer token is missing or wrong")
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return _refusal(413, f"the request has more than {REQUEST_BYTES_MAX} bytes")
        except web.HTTPException as error:
            return _refusal(error.status, error.reason)
        except FullError as error:
            return _refusal(503, f"{error}; ask again later", retry_after_s=error.retry_after_s)
        except WorkerError as error:  # a body that cannot be used
            return _refusal(400, str(error))
        except OpsError as error:
            logger.warning("question failed path=%s error=%s", request.path, error)
            return _refusal(500, str(error))
        except Exception:
            logger.exception("question failed path=%s", request.path)
            return _refusal(500, "an error of the worker's own, see its log")

    return guard


def _answering(worker: Worker, what: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if not worker.ready:
            return _refusal(503, "the worker loads its models", retry_after_s=2.0)
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
    """Decode, do the work on the thread, encode; both ends on the thread as well."""
    parts, jobs = worker.parts, worker.jobs
    if what == "diagnose":
        diagnose = decode(DiagnoseRequest, raw)
        return await jobs.run(Urgency.DIAGNOSIS, lambda: encode(parts.diagnoser.diagnose(diagnose)))
    if what == "report":
        report = decode(ReportRequest, raw)
        return await jobs.run(Urgency.REPORT, lambda: encode(parts.reporter.report(report)))
    return encode(await parts.replayer.replay(decode(ReplayRequest, raw)))


def _livez(worker: Worker) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        if worker.jobs.busy_s > HANG_S:
            return _refusal(503, f"one job has taken {worker.jobs.busy_s:.0f} s: it hangs")
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


def _refusal(status: int, text: str, *, retry_after_s: float | None = None) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:.0f}"}
    return web.json_response({"error": text}, status=status, headers=headers)
