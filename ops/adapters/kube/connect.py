"""How the API server is reached: address, certificates and a token that may be rotated."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes import config as kube_config
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration

from ops.errors import KubeError

ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
USER_AGENT = "midwatch"
_CONNECTIONS = 16  # kept open; more are made when asked for and dropped afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What another client needs to reach the same server. Never printed."""

    server: str
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    token: str | None
    verify: bool

    def __repr__(self) -> str:
        return f"Login(server={self.server!r})"


class TokenFile:
    """A bearer token that somebody else rotates in place. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def read(self, *, again: bool = False) -> str:
        """The token as it is now; the file is opened when it changed, or `again` asks for it.

        Raises:
            KubeError: no file, or an empty one.
        """
        with self._lock:
            try:
                stat = self._path.stat()
                seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                if again or seen != self._seen:
                    self._token = self._path.read_text(encoding="utf-8").strip()
                    self._seen = seen
            except (OSError, UnicodeDecodeError) as error:
                raise KubeError(
                    f"token file {self._path}: {getattr(error, 'strerror', None) or error}; "
                    "mount the token of the ServiceAccount there"
                ) from error
            if not self._token:
                raise KubeError(f"token file {self._path} is empty; mount a token there")
            return self._token


def connect_client(
    *, kubeconfig: Path | None, token_file: Path | None
) -> tuple[ApiClient, TokenFile | None]:
    """Client of the server that `kubeconfig` names, else of the cluster that this process runs in.

    Raises:
        KubeError: neither is there, or the file cannot be used.
    """
    if kubeconfig is None:
        configuration, token_file = _in_cluster(), token_file or ACCOUNT_DIR / "token"
    else:
        configuration = _from_file(kubeconfig)
        token_file = token_file or _token_file_of(kubeconfig)
    configuration.retries = False  # who calls knows better when to try again
    configuration.connection_pool_maxsize = _CONNECTIONS
    configuration.keep_alive = True
    client = ApiClient(configuration)
    client.user_agent = USER_AGENT
    return client, None if token_file is None else TokenFile(token_file)


def pod_namespace(default: str) -> str:
    """The namespace that this pod runs in, `default` for a process in no pod."""
    try:
        return (ACCOUNT_DIR / "namespace").read_text(encoding="utf-8").strip() or default
    except OSError:
        return default


def _in_cluster() -> Configuration:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    ca_file = ACCOUNT_DIR / "ca.crt"
    if not host or not ca_file.is_file():
        raise KubeError(
            "this process runs in no cluster: "
            + ("KUBERNETES_SERVICE_HOST is not set" if not host else f"{ca_file} is missing")
            + "; give a kubeconfig (--kubeconfig FILE)"
        )
    configuration = Configuration()
    configuration.host = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    configuration.ssl_ca_cert = str(ca_file)
    return configuration


def _from_file(path: Path) -> Configuration:
    if not path.is_file():
        raise KubeError(f"kubeconfig {path} is no file; give another (--kubeconfig FILE)")
    configuration = Configuration()
    try:
        kube_config.load_kube_config(
            config_file=str(path), client_configuration=configuration, persist_config=False
        )
    except (
        kube_config.ConfigException,
        yaml.YAMLError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
    ) as error:
        raise KubeError(
            f"kubeconfig {path}: {str(error).splitlines()[0] if str(error) else error!r}; "
            "try it with kubectl --kubeconfig FILE version"
        ) from error
    return configuration


def _token_file_of(path: Path) -> Path | None:
    """The file that the current user's token is in; the client reads it once, we at each change."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    named = {
        kind: {entry["name"]: entry[kind[:-1]] for entry in content.get(kind) or ()}
        for kind in ("contexts", "users")
    }
    context = named["contexts"].get(content.get("current-context")) or {}
    user = named["users"].get(context.get("user")) or {}
    return path.parent / user["tokenFile"] if user.get("tokenFile") else None
