"""`midwatch chaos`: faults x seeds x loads against the simulated fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Break a simulated fleet on purpose and score the loop.", no_args_is_help=True
)


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="Embedded name or a TOML file.")] = "chat",
    kinds: Annotated[str, typer.Option(help="Fault kinds, comma separated, or all.")] = "all",
    seeds: Annotated[str, typer.Option(help="FIRST:LAST, the last one excluded.")] = "0:10",
    load: Annotated[str, typer.Option(help="LOW:HIGH, shares of the measured capacity.")] = (
        ".5:.85"
    ),
    severity: Annotated[
        str, typer.Option(help="LOW:HIGH of the faults; 1 = usual, .05 is hardly ever felt.")
    ] = "1:1.6",
    healthy_days: Annotated[
        float, typer.Option(help="Simulated days without a fault, split into 12 h runs.")
    ] = 21.0,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Keep finished runs of --out.")] = False,
    worlds: Annotated[
        bool, typer.Option(help="Also simulate without us, oracle, restart-worst.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Folder for runs.jsonl and summary.json.")] = Path(
        "out/chaos"
    ),
    write_calibration: Annotated[
        Path | None,
        typer.Option(help="Also write how often each confidence was right, for reports."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Sweep kinds x seeds and print accuracy, speed, savings and false alarms.

    Example: `midwatch chaos run --kinds all --seeds 1000:1010 --load .5:.85 --jobs 2 --resume`
    """
    from ops.commands.chaos_run import run_chaos

    run_chaos(
        scenario=scenario, kinds=kinds, seeds=seeds, load=load, severity=severity,
        healthy_days=healthy_days, jobs=jobs, resume=resume, worlds=worlds, out=out,
        write_calibration=write_calibration, as_json=as_json,
    )  # fmt: skip


@app.command()
def record(
    scenario: Annotated[str, typer.Argument(help="Embedded name or a TOML file.")] = "chat",
    kinds: Annotated[str, typer.Option(help="Fault kinds, comma separated, or all.")] = "all",
    seeds: Annotated[str, typer.Option(help="FIRST:LAST, the last one excluded.")] = "0:6",
    load: Annotated[str, typer.Option(help="LOW:HIGH, shares of the measured capacity.")] = (
        ".5:.85"
    ),
    pairs: Annotated[int, typer.Option(help="Cases with two faults at once, per seed.")] = 2,
    quiet: Annotated[int, typer.Option(help="Stretches without a fault, per seed.")] = 4,
    mild: Annotated[
        int, typer.Option(help="Faults that are (mostly) too small to be felt, per seed.")
    ] = 2,
    after_s: Annotated[
        float, typer.Option(help="Seconds recorded after the start of the fault.")
    ] = 180.0,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Keep cases that are there.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the sets.")] = Path("out/incidents"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON.")
    ] = False,
) -> None:
    """Write incidents of the simulated fleet as cases that `midwatch rca evaluate` reads.

    One seed in three goes to a set of its own (`<scenario>-unseen`): tune on the other.

    Example: `midwatch chaos record --seeds 0:6 --out out/incidents`
    """
    from ops.commands.chaos_record import run_record

    run_record(
        scenario=scenario, kinds=kinds, seeds=seeds, load=load, pairs=pairs, quiet=quiet,
        mild=mild, after_s=after_s, jobs=jobs, resume=resume, out=out, as_json=as_json,
    )  # fmt: skip
