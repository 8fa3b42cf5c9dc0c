"""Body of `midwatch replay`: plan, run with progress, write, print, choose the exit code."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ops.commands.options import OURS, find_scenario
from ops.errors import ScenarioError
from ops.replay.again import is_recording, read_again
from ops.replay.experiment import Experiment, Plan, make_plan, run_experiment
from ops.replay.export import JOURNAL, journal_sha256, summary, write_run
from ops.replay.facts import GRANGER, Source
from ops.replay.options import ReplayOptions, with_options
from ops.replay.recorded import replay_recorded
from ops.reports import RunReport, findings, render_gap, render_terminal, sentence
from ops.reports.build import good_ratio
from rca.forecasters import Forecaster, NoForecaster
from rca.granger_choice import choose, resolve
from rca.granger_kind import GrangerChoice
from rca.pipeline import diagnose

SEED = 7
OUT, OUT_AGAIN = Path("out/replay"), Path("out/again")
WORLDS = ("with", "without")
COLUMNS, LABEL_COLUMNS = 80, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user typed."""

    subject: str
    options: ReplayOptions
    seed: int | None
    only: str | None
    out: Path | None
    as_json: bool
    check: bool


def run_replay(asked: Asked) -> None:
    """Run and print. Exit code 1 on a finding, 2 on wrong use, 130 after an interrupt."""
    folder = Path(asked.subject)
    if is_recording(folder):
        run_recording(folder, asked)
        return
    out = asked.out or OUT
    seed = SEED if asked.seed is None else asked.seed
    if seed < 0:
        raise typer.BadParameter(f"--seed {seed}: expected 0 or more")
    options, notes = _resolved(asked.options)
    source = Source(
        scenario=asked.subject,
        options=options,
        seed=seed,
        worlds=WORLDS if asked.only is None else (asked.only,),
    )
    done, report = simulate(source, out=out, check=asked.check, notes=notes)
    _tell(done, report, as_json=asked.as_json)
    if not done.complete:
        raise typer.Exit(130)
    missed = missed_steady_state(done)
    if missed:
        Console(stderr=True).print(missed)
        raise typer.Exit(1)


def _resolved(options: ReplayOptions) -> tuple[ReplayOptions, tuple[str, ...]]:
    """What runs here, so that whoever repeats the record gets the same journal, and why it does."""
    choice, why = resolve(GrangerChoice(options.granger))
    notes = () if choice == options.granger else (f"{choice} Granger: {why}",)
    return replace(options, granger=str(choice)), notes


def run_recording(folder: Path, asked: Asked) -> None:
    """Simulate a recorded run again, or pass a recording of metrics through the pipeline.

    Exit code 1 where the journal is not the one that was recorded.
    """
    if asked.options != ReplayOptions() or asked.seed is not None or asked.only is not None:
        raise typer.BadParameter(f"{folder} is replayed as it was: leave all options but --out")
    try:
        again = read_again(folder)
        if again is None:
            _run_open_loop(folder)
            return
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    out = asked.out or OUT_AGAIN
    if out.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise typer.BadParameter(f"--out {out} would overwrite {folder}; choose another folder")
    source = Source(
        scenario=again.scenario, options=again.options, seed=again.seed, worlds=WORLDS
    )  # fmt: skip
    done, report = simulate(source, out=out, check=asked.check)
    _tell(done, report, as_json=asked.as_json)
    seen = journal_sha256(out)
    recorded = again.journal_sha256
    same = seen == recorded or not recorded  # a run without the loop left no journal
    told = "the same as recorded" if same else f"another one was recorded: {recorded[:16]}"
    Console(stderr=True).print(f"journal {seen[:16]}: {told}")
    if not done.complete:
        raise typer.Exit(130)
    if not same:
        raise typer.Exit(1)


def _run_open_loop(folder: Path) -> None:
    console = Console(stderr=True)
    with _progress(console) as progress:
        found = replay_recorded(folder, progress=progress)
    verdict = found.verdict
    result = verdict.incident.result if verdict and verdict.incident else None
    typer.echo(verdict.reason if verdict else "No incident in this recording.")
    for cause in result.causes if result else ():
        typer.echo(
            f"{cause.rank:3} {cause.confidence:5.2f}  {cause.entity}  {cause.resource_class}"
        )
    typer.echo(f"decisions {len(found.decisions)}, sha256 {found.sha256}")


def _tell(done: Experiment, report: RunReport, *, as_json: bool) -> None:
    if as_json:
        figures = summary(done, report=report.report_path)
        typer.echo(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(report)


def simulate(
    source: Source, *, out: Path, check: bool, notes: tuple[str, ...] = ()
) -> tuple[Experiment, RunReport]:
    """Plan, run both worlds, write below `out`.

    Args:
        notes: told at the start and in the report, before those of the plan.

    Raises:
        typer.BadParameter: scenario, trace or options cannot be used.
        typer.Exit: 130 after an interrupt before anything was simulated, 1 on a broken invariant.
    """
    console = Console(stderr=True)
    try:
        scenario = with_options(find_scenario(source.scenario), source.options)
        diagnoser = partial(diagnose, forecaster=_forecaster(source.options.granger))
        console.print(f"seed {source.seed}: reading the traffic, measuring the capacity if needed")
        plan = make_plan(
            scenario, seed=source.seed, skip_bad_rows=source.options.skip_bad_rows
        )  # fmt: skip
        plan = replace(plan, notes=(*notes, *plan.notes))
        out.mkdir(parents=True, exist_ok=True)
        _announce(console, plan)
        with _progress(console) as progress:
            done = run_experiment(
                plan, journal=out / JOURNAL, worlds=source.worlds, diagnoser=diagnoser,
                check=check, progress=progress,
            )  # fmt: skip
        return done, write_run(done, source, out)
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(f"--out {out}: {error}; choose a folder for results") from error
    except AssertionError as error:
        console.print(f"an invariant broke: {error}\nrepeat it: {source.command('--check')}")
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        console.print("stopped before anything was simulated")
        raise typer.Exit(130) from None


def _forecaster(name: str) -> Forecaster:
    if name not in set(GrangerChoice):
        raise ScenarioError(
            f"recorded options: granger is {name!r}, expected {', '.join(GrangerChoice)}"
        )
    return choose(GrangerChoice(name)) or NoForecaster()


def _announce(console: Console, plan: Plan) -> None:
    load = f"load {plan.load:g} of a capacity of {plan.capacity_rps:.3g}/s: " if (
        plan.capacity_rps
    ) else ""  # fmt: skip
    console.print(
        f"seed {plan.seed}: {load}{plan.rate_rps:.3g} requests/s for "
        f"{plan.scenario.duration_s:.0f} simulated seconds"
    )
    for note in plan.notes:
        console.print(f"note: {note}", markup=False)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[float], None]]:
    with Progress(
        TextColumn("{task.description:10}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(), console=console, disable=not sys.stderr.isatty(), transient=True,
    ) as bar:  # fmt: skip
        shown = bar.add_task("replaying", total=1.0)
        yield lambda share: bar.update(shown, completed=share)


def missed_steady_state(done: Experiment) -> str:
    """What to say where a run without fault serves too few good requests; else empty."""
    scenario, world = done.plan.scenario, done.told
    if scenario.faults or not done.complete:
        return ""
    rows = [(m.region, m.slo_class, m.minute, m.requests, m.bad) for m in world.minutes]
    ratio = good_ratio(rows, from_s=scenario.warmup_s)
    wanted = scenario.steady_state.good_ratio
    if not ratio < wanted:
        return ""
    return f"steady state missed: {ratio:.4f} of the requests were good, {wanted:g} expected"


def _print(report: RunReport) -> None:
    for incident in report.incidents:
        typer.echo(render_terminal(replace(report, report_path=""), incident))
    for gap in report.gaps:
        typer.echo(render_gap(report, gap))
    rows = [] if len(report.incidents) == 1 else [("", sentence.run_headline(report))]
    rows += findings.run_rows_short(report)
    rows += [row for row in report.versions if row[0] == GRANGER]
    for name, text in rows:
        indent = " " * LABEL_COLUMNS if name else ""
        lines = textwrap.wrap(text, COLUMNS - len(indent), break_on_hyphens=False)
        typer.echo(f"{name:{len(indent)}}" + f"\n{indent}".join(lines))
    typer.echo(f"{'Report':{LABEL_COLUMNS}}{report.report_path}")
