"""`midwatch replay`: a scenario or a bundle, with and without the loop, and its report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rca.granger_kind import GrangerChoice


class Only(StrEnum):
    """Which of the two worlds is run."""

    WITH = "with"
    WITHOUT = "without"


def replay(
    subject: Annotated[
        str, typer.Argument(metavar="[SCENARIO|BUNDLE]", help="Embedded name, TOML file, bundle.")
    ] = "chat",
    trace: Annotated[str, typer.Option(help="Requests from this file, not generated.")] = "",
    trace_format: Annotated[
        str, typer.Option("--format", help="Format of --trace; auto knows it by its first line.")
    ] = "auto",
    load: Annotated[
        float | None,
        typer.Option(help="Share of the healthy fleet's capacity; 0 = the trace's own rate."),
    ] = None,
    regions: Annotated[str, typer.Option(help="How many regions of the scenario, or names.")] = "",
    instances: Annotated[int | None, typer.Option(help="LLM instances per region.")] = None,
    gpu: Annotated[
        str, typer.Option(help="GPU of the instances, as H100, A100@vllm-0.14.0, RTX-4090.")
    ] = "",
    model: Annotated[str, typer.Option(help="Model of the instances, as llama-2-70b.")] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of every draw; 7 where none is set.")] = (
        None
    ),
    only: Annotated[Only | None, typer.Option(help="Run one of the two worlds only.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report, journal and bundles.",
            show_default="out/replay, out/again for a bundle",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Drop and count rows that cannot be used.")
    ] = False,
    granger: Annotated[
        GrangerChoice,
        typer.Option(
            help="What leads what, by which model; auto is neural with torch, else linear. "
            "linear gives the same journal on every machine."
        ),
    ] = GrangerChoice.LINEAR,
    check: Annotated[
        bool, typer.Option("--check", help="Verify invariants at every scrape.")
    ] = False,
) -> None:
    """Replay traffic and a fault, with the loop and without, and write what it was worth.

    Example: `midwatch replay chat --load 0.7 --seed 7 --out out/demo`
    """
    from ops.commands.replay_run import Asked, run_replay
    from ops.replay.options import ReplayOptions

    options = ReplayOptions(
        trace=trace, trace_format=trace_format, load=load, regions=regions, instances=instances,
        gpu=gpu, model=model, skip_bad_rows=skip_bad_rows, granger=granger,
    )  # fmt: skip
    run_replay(
        Asked(
            subject=subject, options=options, seed=seed, only=None if only is None else only.value,
            out=out, as_json=as_json, check=check,
        )
    )  # fmt: skip
