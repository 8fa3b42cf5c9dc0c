"""Body of `midwatch chaos run`: parse ranges, run the sweep with progress, print the figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ops.commands.chaos_options import parse_kinds, parse_load, parse_seeds, parse_severity
from ops.commands.options import find_scenario
from ops.replay.hardware import engine_text
from ops.replay.summary import calibration, summarise
from ops.replay.sweep import HEALTHY_HOURS, Row, Task, sweep


def run_chaos(
    *,
    scenario: str,
    kinds: str,
    seeds: str,
    load: str,
    severity: str,
    healthy_days: float,
    jobs: int,
    resume: bool,
    worlds: bool,
    out: Path,
    write_calibration: Path | None,
    as_json: bool,
) -> None:
    """Run and print. Exit code 2 on wrong use."""
    base = find_scenario(scenario)
    names = parse_kinds(kinds)
    first, last = parse_seeds(seeds)
    low, high = parse_load(load)
    sizes = parse_severity(severity)
    tasks = [
        Task(kind, seed, (low, high), worlds=worlds, severity=sizes)
        for seed in range(first, last)
        for kind in names
    ]
    num_healthy = round(healthy_days * 24.0 / HEALTHY_HOURS)
    tasks += [
        Task("healthy", first + k, (low, high), hours=HEALTHY_HOURS) for k in range(num_healthy)
    ]
    if not tasks:
        raise typer.BadParameter("nothing to run: no seed and no healthy day was asked for")
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), console=console, disable=not sys.stderr.isatty(),
    ) as bar:  # fmt: skip
        shown = bar.add_task("chaos", total=len(tasks))

        def progress(row: Row) -> None:
            bar.update(shown, advance=1, description=f"{row['kind']} {row['seed']}")

        try:
            rows = sweep(base, tasks, out=out, jobs=jobs, resume=resume, progress=progress)
        except KeyboardInterrupt:
            console.print(f"stopped; finished runs are in {out / 'runs.jsonl'}: add --resume")
            raise typer.Exit(130) from None
    figures = summarise(rows)
    figures["seeds"], figures["load"], figures["scenario"] = seeds, load, base.name
    figures["severity"] = severity
    figures["engine"] = engine_text(base.engine)
    figures["calibration"] = calibration(rows)
    if write_calibration is not None:
        write_calibration.write_bytes(
            orjson.dumps(
                {
                    "source": f"sweep of {len(rows)} runs, seeds {seeds}",
                    "bins": figures["calibration"],
                },
                option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
            )
        )
    (out / "summary.json").write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))
    if as_json:
        typer.echo(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(Console(), figures)


def _print(console: Console, figures: dict[str, Any]) -> None:
    table = Table(
        title=f"{figures['scenario']}, {figures['engine']}, seeds {figures['seeds']}", box=None
    )
    columns = ("kind", "runs", "AC@1", "AC@3", "+class", "silent", "without", "with", "oracle")
    for name in columns:
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind, row in figures["by_kind"].items():
        cells = [row[k] for k in ("runs", "ac_at_1", "ac_at_3", "entity_and_class", "silent",
                                  "lost_without", "lost_with", "lost_oracle")]  # fmt: skip
        table.add_row(kind, *(_text(c) for c in cells))
    console.print(table)
    for key in ("ac_at_1", "ac_at_3", "entity_and_class", "time_to_cause_s", "slo",
                "without_effect", "healthy", "outcomes"):  # fmt: skip
        console.print(f"{key:18}", figures[key])
    for kind, reason in figures["skipped"].items():
        console.print(f"skipped {kind:10}", reason)
    for name, row in figures["peers"].items():
        console.print(f"peer {name:13}", row)


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
