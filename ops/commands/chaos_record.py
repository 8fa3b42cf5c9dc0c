"""Body of `midwatch chaos record`: simulate incidents with progress and write them as cases."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ops.commands.chaos_options import parse_kinds, parse_load, parse_seeds
from ops.commands.options import find_scenario
from ops.errors import NoTargetError
from ops.replay.recordings import Recording, record, recordings
from ops.replay.scenario import Scenario

_ONE_SERVICE = "both faults hit one service"


def run_record(
    *,
    scenario: str,
    kinds: str,
    seeds: str,
    load: str,
    pairs: int,
    quiet: int,
    mild: int,
    after_s: float,
    jobs: int,
    resume: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Run and print. Exit code 2 on wrong use."""
    base = find_scenario(scenario)
    names = parse_kinds(kinds)
    first, last = parse_seeds(seeds)
    limits = parse_load(load)
    if not 30.0 <= after_s <= 300.0:
        raise typer.BadParameter(f"--after-s {after_s:g}: expected 30 to 300 seconds")
    if pairs and len(names) < 2:
        raise typer.BadParameter("--pairs needs at least two kinds; give more or --pairs 0")
    wanted = [
        one
        for seed in range(first, last)
        for one in recordings(names, seed, pairs=pairs, quiet=quiet, mild=mild)
    ]
    if not wanted:
        raise typer.BadParameter("nothing to record: no seed was asked for")
    there = [r for r in wanted if (out / r.dataset(base.name) / r.name / "case.json").is_file()]
    todo = [r for r in wanted if not (resume and r in there)]
    console = Console(stderr=True)
    skipped: Counter[str] = Counter()
    with Progress(
        TextColumn("{task.description:36}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), console=console, disable=not sys.stderr.isatty(),
    ) as bar, ProcessPoolExecutor(max(1, jobs)) as pool:  # fmt: skip
        shown = bar.add_task("record", total=len(todo))
        work = partial(_try, base, root=out, load=limits, after_s=after_s)
        waiting = {pool.submit(work, one): one for one in todo}
        for done in as_completed(waiting):
            reason = done.result()
            if reason:
                skipped[reason] += 1
            bar.update(shown, advance=1, description=waiting[done].name)
    sets = Counter(
        r.dataset(base.name)
        for r in wanted
        if (out / r.dataset(base.name) / r.name / "case.json").is_file()
    )
    figures = {"out": str(out), "sets": dict(sorted(sets.items())), "skipped": dict(skipped)}
    if as_json:
        typer.echo(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
        return
    for name, count in sorted(sets.items()):
        typer.echo(f"{out / name}: {count} cases")
    for reason, count in sorted(skipped.items()):
        typer.echo(f"not written: {count} ({reason})")
    typer.echo(f"evaluate them: midwatch rca evaluate --data {out}")


def _try(
    base: Scenario, one: Recording, *, root: Path, load: tuple[float, float], after_s: float
) -> str:
    """Reason why nothing was written, empty if it was."""
    try:
        folder = record(base, one, root=root, load=load, after_s=after_s)
    except NoTargetError:
        return "no target for the fault"
    return "" if folder is not None else _ONE_SERVICE
