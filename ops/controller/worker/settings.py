"""What a worker is told at its start: where it listens, whom it may ask, what it may keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rca.granger_kind import GrangerChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusAddress:
    """A Prometheus by name. Secrets are files, read again for each use."""

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    add_labels: Mapping[str, str] = field(default_factory=dict)  # for series that lack them
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of one worker.

    Attributes:
        endpoints: the only addresses that a request can name.
        token_file: bearer token that requests must carry; None = no token is asked for, which
            only a listener on the loopback interface may do.
        bundle_dir: where bundles are kept; None = nothing is recorded.
        bundles_max: incidents kept on the volume; the oldest go.
        queue_max: questions that may wait; more are answered 503.
    """

    host: str = "127.0.0.1"
    port: int = 8082
    endpoints: Mapping[str, PrometheusAddress] = field(default_factory=dict)
    token_file: Path | None = None
    bundle_dir: Path | None = None
    cluster: str = ""  # its name for people, where a request names none
    bundles_max: int = 200
    queue_max: int = 8
    read_s: float = 30.0  # that reading a window may take
    expiry_s: float = 60.0  # after which an answer must not be used any more
    granger: GrangerChoice = GrangerChoice.AUTO
    replay_s: float = 600.0  # that one replay may take
