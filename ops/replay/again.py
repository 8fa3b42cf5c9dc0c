"""What a bundle or the folder of a run says about running it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ops.bundle import MANIFEST, read_bundle
from ops.errors import BundleError
from ops.replay.options import ReplayOptions

RUN_FILE = "run.json"
SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A recorded run that can be simulated again.

    Attributes:
        journal_sha256: what the journal of the new run must hash to.
    """

    scenario: str
    options: ReplayOptions
    seed: int
    journal_sha256: str


def is_recording(path: Path) -> bool:
    """Whether a folder holds a bundle or a run, not a scenario."""
    return (path / MANIFEST).is_file() or (path / RUN_FILE).is_file()


def read_again(folder: Path) -> Again | None:
    """How to simulate the run again; None where it is no simulation, only a recording.

    Raises:
        BundleError: the folder is broken, or scenario or trace are not what they were.
        ScenarioError: it holds options that this version does not know.
    """
    if (folder / MANIFEST).is_file():
        bundle = read_bundle(folder)
        source: Any = bundle.manifest.source
        digest = hashlib.sha256(bundle.journal).hexdigest()
    else:
        try:
            run = orjson.loads((folder / RUN_FILE).read_bytes())
            source, digest = run["source"], str(run["journal_sha256"])
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise BundleError(
                f"{folder / RUN_FILE} cannot be used: {error!r}; give the folder of a run"
            ) from error
    if not isinstance(source, dict) or source.get("kind") != SIMULATED:
        return None
    try:
        scenario, seed, options = source["scenario"], source["seed"], source["options"]
        if not isinstance(scenario, str) or not isinstance(seed, int) or isinstance(seed, bool):
            raise TypeError(f"scenario {scenario!r}, seed {seed!r}")
        again = Again(
            scenario=scenario,
            options=ReplayOptions.of(options),
            seed=seed,
            journal_sha256=digest,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{folder}: its source cannot be used: {error!r}; write the bundle again"
        ) from error
    for name, key in ((scenario, "scenario_sha256"), (again.options.trace, "trace_sha256")):
        _same_file(folder, name, str(source.get(key, "")))
    return again


def _same_file(folder: Path, name: str, expected: str) -> None:
    """Refuse a file that has changed since: another input would give another journal."""
    if not expected:
        return
    path = Path(name)
    if not path.is_file():
        raise BundleError(f"{folder} was made from {name}, which is missing; put it there again")
    seen = hashlib.sha256(path.read_bytes()).hexdigest()
    if seen != expected:
        raise BundleError(
            f"{folder} was made from another content of {name}: {expected[:12]}, now "
            f"{seen[:12]}; restore the file"
        )
