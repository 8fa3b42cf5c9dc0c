"""What lives behind the worker's doors: its queue, its models, and whether they were loaded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from ops.catalogue import Catalogue
from ops.controller.token_file import read_token
from ops.controller.worker.diagnose import WindowDiagnoser
from ops.controller.worker.incident_bundle import BundleStore
from ops.controller.worker.jobs import Jobs
from ops.controller.worker.metrics import WorkerMetrics
from ops.controller.worker.replay import Replayer
from ops.controller.worker.report import Reporter
from ops.controller.worker.settings import WorkerSettings
from ops.controller.worker.window import WindowReader
from ops.errors import SettingsError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
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
        self._parts: Parts | None = None

    def load(self) -> None:
        """Load catalogue and models; on the worker's thread, because torch takes seconds.

        Raises:
            SettingsError: the bundle folder cannot be used.
        """
        settings, catalogue = self.settings, Catalogue.load()
        window = WindowReader(settings.endpoints, catalogue)
        diagnoser = WindowDiagnoser(settings, window)
        bundles = _store(settings)
        self._parts = Parts(
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
    def parts(self) -> Parts:
        """What the handlers need."""
        assert self._parts is not None, "load() comes first"
        return self._parts


def _store(settings: WorkerSettings) -> BundleStore | None:
    folder = settings.bundle_dir
    if folder is None:
        return None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return BundleStore(
            folder, bundles_max=settings.bundles_max, bytes_max=settings.bundle_bytes_max
        )
    except OSError as error:
        raise SettingsError(
            f"bundleDir {folder} cannot be used: {error}; mount a volume there that the worker "
            "may write, or leave bundleDir out"
        ) from error
