"""Body of `midwatch incident diagnose`: asks a bundle's question once more, without any cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import typer

from ops.clock import moment_text, monotonic_s
from ops.controller.worker.incident_bundle import Recording, read_recording
from ops.encode import to_plain
from ops.errors import OpsError
from ops.ranking import ranking_sha256
from rca.errors import RcaError
from rca.forecasters import Forecaster, NoForecaster
from rca.granger_choice import choose
from rca.granger_kind import GrangerChoice
from rca.state import RcaResult

CAUSES_SHOWN = 5


def run_diagnose(folder: Path, *, as_json: bool) -> None:
    """Print the ranking. Exit code 1 where it is not the recorded one, 2 on wrong use."""
    began_s = monotonic_s()
    try:
        recording = read_recording(folder)
        result = recording.question.answer(_forecaster(recording))
    except (OpsError, RcaError) as error:
        raise typer.BadParameter(str(error)) from error
    sha256 = ranking_sha256(result)
    same = sha256 == recording.ranking_sha256
    if as_json:
        typer.echo(orjson.dumps(_facts(recording, result, sha256, monotonic_s() - began_s),
                                option=orjson.OPT_INDENT_2).decode())  # fmt: skip
    else:
        typer.echo("\n".join(_lines(recording, result, sha256)))
    if not same:
        raise typer.Exit(1)


def _forecaster(recording: Recording) -> Forecaster:
    name = recording.question.granger
    if name not in set(GrangerChoice):
        raise typer.BadParameter(
            f"the bundle was diagnosed with a Granger model {name!r}, known are "
            f"{', '.join(GrangerChoice)}; use the version of midwatch that wrote it"
        )
    return choose(GrangerChoice(name)) or NoForecaster()


def _lines(recording: Recording, result: RcaResult, sha256: str) -> list[str]:
    origin, frame = recording.origin, recording.question.frame
    where = f" on {origin.cluster}" if origin.cluster else ""
    first, last = (moment_text(float(frame.times_s[k])) for k in (0, -1))
    lines = [
        f"{origin.incident}: fleet {origin.namespace}/{origin.fleet}{where}",
        f"{len(frame.series):,} series from {first} to {last}, "
        f"{recording.question.granger} Granger, seed {recording.question.seed}",
    ]
    if result.abstained:
        lines.append(f"The cause cannot be told: {result.reason}.")
    for cause in result.causes[:CAUSES_SHOWN]:
        strongest = max(cause.evidence, key=lambda e: e.strength, default=None)
        lines.append(f"  {cause.confidence:.2f} {cause.entity}, {cause.resource_class}")
        lines += [f"       {strongest.text}"] if strongest is not None else []
    told = "as recorded" if sha256 == recording.ranking_sha256 else (
        f"NOT as recorded ({recording.ranking_sha256[:12]}): this is another version of midwatch "
        "or of its libraries"
    )  # fmt: skip
    return [*lines, f"ranking sha256 {sha256}, {told}"]


def _facts(recording: Recording, result: RcaResult, sha256: str, seconds: float) -> dict[str, Any]:
    frame = recording.question.frame
    facts: dict[str, Any] = to_plain(
        {
            "origin": recording.origin,
            "abstained": result.abstained,
            "reason": result.reason,
            "causes": [
                {
                    "entity": c.entity,
                    "resource_class": c.resource_class,
                    "confidence": c.confidence,
                }
                for c in result.causes[:CAUSES_SHOWN]
            ],
            "ranking_sha256": sha256,
            "recorded_sha256": recording.ranking_sha256,
            "same": sha256 == recording.ranking_sha256,
            "granger": recording.question.granger,
            "seed": recording.question.seed,
            "rows": len(frame.times_s),
            "series": len(frame.series),
            "seconds": seconds,
        }
    )
    return facts
