"""What a worker is told at its start: where it listens, whom it may ask, what it may keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rca.granger_kind import GrangerChoice

READ_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusAddress:
    """A Prometheus by name. Secrets are files, read again for each use."""

    url: str
    token_file: Path | None = None
    basic_auth_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    add_labels: Mapping[str, str] = field(default_factory=dict)  # for series that lack them
    timeout_s: float = READ_S  # of one request, and of all those of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of one worker.

    Attributes:
        metrics_address: host and port of a second door with metrics and probes, and no questions.
        endpoints: the only addresses that a request can name.
        token_file: bearer token that requests must carry; None = no token is asked for, which
            only a listener on the loopback interface may do.
        bundle_dir: where bundles are kept; None = nothing is recorded.
        bundles_max, bundle_bytes_max: incidents kept on the volume, and bytes; the oldest go.
        queue_max: questions that may wait; more are answered 503.
    """

    host: str = "127.0.0.1"
    port: int = 8082
    metrics_address: tuple[str, int] | None = None
    endpoints: Mapping[str, PrometheusAddress] = field(default_factory=dict)
    token_file: Path | None = None
    bundle_dir: Path | None = None
    bundles_max: int = 200
    bundle_bytes_max: int = 1536 << 20
    queue_max: int = 8
    granger: GrangerChoice = GrangerChoice.AUTO
    replay_s: float = 600.0  # that one replay may take
