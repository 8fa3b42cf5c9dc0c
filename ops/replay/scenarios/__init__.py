"""The embedded scenarios. Nothing in the code knows what is in them."""

from __future__ import annotations

from importlib.resources import files

from ops.errors import ScenarioError
from ops.replay.scenario import Scenario
from ops.replay.scenario_file import parse_scenario
from ops.replay.scenario_problems import unknown

DEFAULT = "chat"


def embedded_names() -> tuple[str, ...]:
    """Names that `load_embedded` knows, sorted."""
    entries = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in entries if name.endswith(".toml")))


def load_embedded(name: str = DEFAULT) -> Scenario:
    """Read one of the embedded scenarios.

    Raises:
        ScenarioError: there is none of this name.
    """
    if name not in embedded_names():
        raise ScenarioError(unknown(name, "embedded scenario", embedded_names()))
    raw = files(__name__).joinpath(f"{name}.toml").read_bytes()
    return parse_scenario(raw, source=f"{name}.toml")
