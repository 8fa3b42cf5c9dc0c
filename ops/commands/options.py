"""What several commands share: finding a scenario, our errors as exit code 2, repeat commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import typer

from ops.errors import OpsError
from ops.replay.scenario import Scenario
from ops.replay.scenario_file import load_scenario
from ops.replay.scenarios import embedded_names, load_embedded
from rca.errors import RcaError
from serving.errors import ServingError

OURS = (OpsError, RcaError, ServingError)


def command_line(*words: object, options: Sequence[tuple[str, object]]) -> str:
    """A command as a shell takes it; of the options None and False are left out, True is a flag."""
    parts = [str(word) for word in words]
    for name, value in options:
        if value is True:
            parts.append(name)
        elif value is not None and value is not False:
            parts += [name, str(value)]
    return shlex.join(parts)


def find_scenario(name: str) -> Scenario:
    """Embedded scenario by name, or a file.

    Raises:
        typer.BadParameter: neither exists, or the file has faults.
    """
    if name in embedded_names():
        return load_embedded(name)
    path = Path(name)
    if not path.is_file():
        raise typer.BadParameter(
            f"scenario {name!r} is neither a file nor one of {', '.join(embedded_names())}"
        )
    try:
        return load_scenario(path)
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
