"""Packages that a command needs and a plain installation lacks."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import typer

_YAML = {"yaml": "PyYAML"}
_PROMETHEUS = {
    "prometheus_api_client": "prometheus-api-client",
    "prometheus_client": "prometheus-client",
}
# By command: module -> package of the extra `operator`.
SLO: Mapping[str, str] = _YAML
PLUGIN: Mapping[str, str] = {"kubernetes": "kubernetes", **_YAML}
WORKER: Mapping[str, str] = {"aiohttp": "aiohttp", **_PROMETHEUS, **_YAML}
OPERATOR: Mapping[str, str] = {"kopf": "kopf", **WORKER, **PLUGIN}
MODELS: Mapping[str, str] = {"torch": "torch"}


def need(command: str, modules: Mapping[str, str], *, extra: str = "operator") -> None:
    """Say which packages are missing and how they come, before any of them is imported.

    Args:
        command: as the user typed it.
        modules: module to package; all belong to `extra`.

    Raises:
        typer.Exit: exit code 2; some are missing.
    """
    missing = sorted({package for module, package in modules.items() if find_spec(module) is None})
    if missing:
        are = "is" if len(missing) == 1 else "are"
        typer.echo(
            f"error: {command} needs {', '.join(missing)}, which {are} not installed; "
            f"run pip install -e '.[{extra}]' in the clone of midwatch",
            err=True,
        )
        raise typer.Exit(2)
