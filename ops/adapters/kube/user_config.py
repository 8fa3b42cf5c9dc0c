"""The cluster that a person's kubectl speaks to: the same files, context, namespace, credentials.

Certificates, tokens, exec plugins and proxies are the `kubernetes` client's business.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config as kube_config
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.connect import pod_namespace
from ops.errors import KubeError

DEFAULT_FILE = Path("~/.kube/config")
NAMESPACE = "default"
_UNUSABLE = (
    kube_config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError,
    KeyError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCluster:
    """A cluster as its user sees it.

    Attributes:
        namespace: what the context names, "default" where it names none.
        context: name of the context; empty inside a cluster.
    """

    api: KubeApi
    namespace: str
    context: str


def connect_user(
    *,
    kubeconfig: Path | None,
    context: str = "",
    environ: Mapping[str, str] = os.environ,
    timeout_s: float = 10.0,
) -> UserCluster:
    """Prepare, send nothing: --kubeconfig, else $KUBECONFIG, else ~/.kube/config, else the pod.

    Raises:
        KubeError: no configuration, no such context, credentials that cannot be had.
    """
    files = _files(kubeconfig, environ)
    if not files:
        if "KUBERNETES_SERVICE_HOST" in environ and not context:
            api = KubeApi.connect(timeout_s=timeout_s)
            return UserCluster(api=api, namespace=pod_namespace(NAMESPACE), context="")
        raise KubeError(
            f"no kubeconfig: neither --kubeconfig nor $KUBECONFIG is set, {DEFAULT_FILE} is no "
            "file; give --kubeconfig FILE"
        )
    merged = os.pathsep.join(map(str, files))
    configuration = Configuration()
    errors = _Errors()
    loader_log = logging.getLogger()
    loader_log.addHandler(errors)  # a failed exec plugin is only logged, and the call goes on bare
    try:
        contexts, current = kube_config.list_kube_config_contexts(config_file=merged)
        chosen = _chosen(contexts, current, context, merged)
        kube_config.load_kube_config(
            config_file=merged, context=chosen["name"], client_configuration=configuration,
            persist_config=False,
        )  # fmt: skip
    except _UNUSABLE as error:
        text = str(error).splitlines()[0] if str(error) else repr(error)
        raise KubeError(
            f"kubeconfig {merged}: {text}; try the same with kubectl version"
        ) from error
    finally:
        loader_log.removeHandler(errors)
    if errors.texts:
        raise KubeError(
            f"context {chosen['name']!r} of {merged}: no credentials: {errors.texts[-1]}; "
            "try the same with kubectl version"
        )
    configuration.retries = False
    client = ApiClient(configuration)
    client.user_agent = "kubectl-midwatch"
    namespace = chosen.get("context", {}).get("namespace") or NAMESPACE
    return UserCluster(
        api=KubeApi(client, timeout_s=timeout_s), namespace=namespace, context=chosen["name"]
    )


def _files(kubeconfig: Path | None, environ: Mapping[str, str]) -> list[Path]:
    """Files to merge, in kubectl's order. A file named by the user must exist."""
    if kubeconfig is not None:
        if not kubeconfig.is_file():
            raise KubeError(f"kubeconfig {kubeconfig} is no file; give another (--kubeconfig FILE)")
        return [kubeconfig]
    named = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    found = [path for path in named if path.is_file()]
    if named and not found:
        raise KubeError(
            f"$KUBECONFIG names {os.pathsep.join(map(str, named))}, which is no file; correct it, "
            "or give --kubeconfig FILE"
        )
    default = DEFAULT_FILE.expanduser()
    return found or ([default] if default.is_file() else [])


def _chosen(
    contexts: list[dict[str, Any]], current: dict[str, Any] | None, wanted: str, files: str
) -> dict[str, Any]:
    names = {str(item["name"]): item for item in contexts or []}
    if wanted:
        if wanted not in names:
            raise KubeError(
                f"no context {wanted!r} in {files}; it has {', '.join(sorted(names)) or 'none'}"
            )
        return names[wanted]
    if current is None:
        raise KubeError(f"{files} has no current context; give --context NAME")
    return current


class _Errors(logging.Handler):
    """Keeps what was logged as an error."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage().strip().replace("\n", " ")[:300])
