"""The worker's own settings from the common file."""

from __future__ import annotations

from ops.controller.settings import Settings
from ops.controller.worker.settings import PrometheusAddress, WorkerSettings
from rca.granger_kind import GrangerChoice


def worker_settings(settings: Settings) -> WorkerSettings:
    """What one worker is told; it may wait longer for a wide window than the loop for a row."""
    host, _, port = settings.worker.listen.rpartition(":")
    return WorkerSettings(
        host=host.strip("[]") or "0.0.0.0",  # ":8080" means every address
        port=int(port),
        endpoints={
            name: PrometheusAddress(
                url=endpoint.url,
                token_file=endpoint.token_file,
                ca_file=endpoint.ca_file,
                headers=endpoint.headers,
                add_labels=endpoint.add_labels,
            )
            for name, endpoint in settings.metrics_endpoints.items()
        },
        token_file=settings.worker.token_file,
        bundle_dir=settings.bundle_dir,
        cluster=settings.cluster,
        granger=GrangerChoice(settings.granger),
    )
