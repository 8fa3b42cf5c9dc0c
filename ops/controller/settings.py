"""The operator's own configuration: one YAML file, read once at the start.

Fleets name endpoints; the addresses and the credentials behind the names stand here, so that who
may write a Fleet cannot send the operator's token anywhere. Credentials are paths of mounted files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from ops.controller.resources.fields import Name
from ops.errors import SettingsError

FILE_BYTES_MAX = 1 << 20
FAULTS_SHOWN_MAX = 30
SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")
STRICT = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


def _url(text: str) -> str:
    parts = urlsplit(text)
    known = parts.scheme in ("http", "https") and bool(parts.hostname)
    if not known or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("expected a URL such as http://prometheus.monitoring:9090")
    if not _has_port(parts):
        raise ValueError("expected a port from 1 to 65535 behind the host's colon, or no colon")
    if parts.username or parts.password:
        raise ValueError(
            "expected a URL without user and password; name a file (tokenFile, or basicAuthFile "
            "of a metrics endpoint)"
        )
    return text.rstrip("/")


def _has_port(parts: SplitResult) -> bool:
    """Whether the port is one, or left out with its colon."""
    try:
        return bool(parts.port) or (not parts.netloc.endswith(":") and parts.port is None)
    except ValueError:
        return False


def _listen(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or "/" in host:
        raise ValueError("expected host:port or :port")
    return text


def _plain_headers(headers: dict[str, str]) -> dict[str, str]:
    secret = sorted(name for name in headers if name.strip().lower() in SECRET_HEADERS)
    if secret:
        raise ValueError(
            f"{', '.join(secret)} is a credential, which does not belong in this file: mount a "
            "Secret and name its path in tokenFile"
        )
    return headers


Url = Annotated[str, AfterValidator(_url)]
Listen = Annotated[str, AfterValidator(_listen)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsEndpoint:
    """A Prometheus, or what speaks its API.

    Attributes:
        token_file, basic_auth_file: a bearer token, or user:password; at most one of them.
        headers: sent with each request, e.g. X-Scope-OrgID; never a credential.
        timeout_seconds: of one request; the worker waits 30 s for a wide window, or this if longer.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    url: Url
    token_file: Path | None = None
    basic_auth_file: Path | None = None
    ca_file: Path | None = None
    headers: Annotated[dict[str, str], AfterValidator(_plain_headers)] = field(default_factory=dict)
    add_labels: dict[str, str] = field(default_factory=dict)  # for series that lack them
    timeout_seconds: Annotated[float, Field(gt=0.0, le=60.0)] = 4.0

    def __post_init__(self) -> None:
        if self.token_file is not None and self.basic_auth_file is not None:
            raise ValueError("give tokenFile or basicAuthFile, not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEndpoint:
    """The address of a model server's own API."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    url: Url
    token_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerAddress:
    """The process that diagnoses; without a URL incidents are opened and no cause is named.

    Attributes:
        listen: the worker's own file says here where it listens.
        metrics_listen: the same for its metrics and probes alone, which a Prometheus scrapes; a
            network policy can then keep all others from asking questions. Empty = only `listen`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    url: Annotated[str, AfterValidator(lambda text: _url(text) if text else text)] = ""
    token_file: Path | None = None
    listen: Listen = "127.0.0.1:8082"
    metrics_listen: Annotated[str, AfterValidator(lambda text: _listen(text) if text else text)] = (
        ""
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Where Alertmanager's notifications arrive; without a token file nobody listens."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    listen: Listen = ":9443"
    token_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """Where /livez, /readyz and /metrics are answered."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    listen: Listen = ":8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Who leads. A dead leader is replaced after duration + retry seconds at most.

    Attributes:
        namespace: empty = the operator's own.
        renew_seconds: a leader that could not renew for so long stops at once.
        retry_seconds: between two looks at the Lease.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    namespace: Annotated[str, Field(max_length=63)] = ""
    name: Name = "midwatch-operator"
    duration_seconds: Annotated[int, Field(ge=2, le=300)] = 7
    renew_seconds: Annotated[float, Field(gt=0.0, le=300.0)] = 4.5
    retry_seconds: Annotated[float, Field(gt=0.0, le=60.0)] = 1.0

    def __post_init__(self) -> None:
        if not self.retry_seconds < self.renew_seconds < self.duration_seconds:
            raise ValueError(
                f"expected retrySeconds < renewSeconds < durationSeconds, got "
                f"{self.retry_seconds:g}, {self.renew_seconds:g}, {self.duration_seconds:g}"
            )

    @property
    def connect_s_max(self) -> float:
        """Until the connection of a write stands: less than another waits beyond our deadline."""
        return 0.8 * (self.duration_seconds - self.renew_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it; the operator and the worker each read what concerns them."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    metrics_endpoints: Annotated[dict[Name, MetricsEndpoint], Field(max_length=64)] = field(
        default_factory=dict
    )
    engine_endpoints: Annotated[dict[Name, EngineEndpoint], Field(max_length=64)] = field(
        default_factory=dict
    )
    worker: WorkerAddress = field(default_factory=WorkerAddress)
    webhook: WebhookSettings = field(default_factory=WebhookSettings)
    probes: ProbeSettings = field(default_factory=ProbeSettings)
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    scrape_seconds: Annotated[float, Field(ge=1.0, le=120.0)] = 5.0
    cluster: Annotated[str, Field(max_length=253)] = ""  # its name for people, in reports
    bundle_dir: Path | None = None  # the worker's; a volume
    # Of all bundles, with room below the limit of the shipped volume; the oldest go beyond it.
    bundle_mebibytes: Annotated[int, Field(ge=16, le=1 << 20)] = 1536
    granger: Literal["auto", "neural", "linear", "off"] = "auto"  # the worker's

    def __post_init__(self) -> None:
        webhook = self.webhook
        if (webhook.cert_file is None) != (webhook.key_file is None):
            raise ValueError("webhook: give both certFile and keyFile, or neither")


def parse_settings(raw: Mapping[str, Any] | None, *, path: str) -> Settings:
    """Check what stands in the file.

    Args:
        path: what messages call it.

    Raises:
        SettingsError: every fault at once, with its place.
    """
    settings, faults = checked(raw)
    if settings is None:
        raise faulty(path, faults)
    return settings


def checked(raw: Mapping[str, Any] | None) -> tuple[Settings | None, list[str]]:
    """The settings, or every fault with its place."""
    try:
        return TypeAdapter(Settings).validate_python({} if raw is None else dict(raw)), []
    except ValidationError as error:
        rows = error.errors(include_url=False, include_context=False)
        return None, [
            f"{'.'.join(map(str, row['loc'])) or '(whole)'}: {_plain(row)}" for row in rows
        ]


def faulty(path: str, faults: Sequence[str]) -> SettingsError:
    """The error that tells them all."""
    number = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    told = "; ".join(faults[:FAULTS_SHOWN_MAX])
    return SettingsError(f"{path} has {number}: {told}; see docs/operator.md for every key")


def load_settings(path: Path) -> Settings:
    """Read and check the file.

    Raises:
        SettingsError: no file, no YAML, or values that do not fit.
    """
    return parse_settings(read_settings(path), path=str(path))


def read_settings(path: Path) -> dict[str, Any]:
    """Keys and values of the file, not looked at yet.

    Raises:
        SettingsError: no file, or no YAML of keys and values.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}; give --config an existing file"
        ) from error
    if len(raw) > FILE_BYTES_MAX:
        raise SettingsError(f"{path} has {len(raw)} bytes, limit {FILE_BYTES_MAX}; is it ours?")
    try:
        content = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())[:200]
        raise SettingsError(f"{path} is no YAML: {told}; correct it there") from error
    if content is not None and not isinstance(content, dict):
        raise SettingsError(f"{path} holds {type(content).__name__}, expected keys and values")
    return content or {}


def _plain(row: Mapping[str, Any]) -> str:
    """One fault in words, with the value unless it may hold a password."""
    if row["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return "not a key of this file"
    message = str(row["msg"]).removeprefix("Value error, ")
    shown = row.get("input")
    hidden = isinstance(shown, dict) or "@" in str(shown)
    return message if hidden else f"{message}, got {repr(shown)[:80]}"
