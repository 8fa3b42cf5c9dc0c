"""The worker's own settings from the common file."""

from __future__ import annotations

from ops.controller.settings import Settings
from ops.controller.worker.settings import READ_S, PrometheusAddress, WorkerSettings
from rca.granger_kind import GrangerChoice


def worker_settings(settings: Settings) -> WorkerSettings:
    """What one worker is told; it may wait longer for a wide window than the loop for a row."""
    host, port = _address(settings.worker.listen)
    metrics_listen = settings.worker.metrics_listen
    return WorkerSettings(
        host=host,
        port=port,
        metrics_address=_address(metrics_listen) if metrics_listen else None,
        endpoints={
            name: PrometheusAddress(
                url=endpoint.url,
                token_file=endpoint.token_file,
                basic_auth_file=endpoint.basic_auth_file,
                ca_file=endpoint.ca_file,
                headers=endpoint.headers,
                add_labels=endpoint.add_labels,
                timeout_s=max(READ_S, endpoint.timeout_seconds),
            )
            for name, endpoint in settings.metrics_endpoints.items()
        },
        token_file=settings.worker.token_file,
        bundle_dir=settings.bundle_dir,
        bundle_bytes_max=settings.bundle_mebibytes << 20,
        granger=GrangerChoice(settings.granger),
    )


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or "0.0.0.0", int(port)  # ":8080" means every address
