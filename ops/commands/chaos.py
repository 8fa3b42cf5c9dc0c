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


@app.command()
def serve(
    scenario: Annotated[str, typer.Argument(help="Embedded name or a TOML file.")] = "chat",
    listen: Annotated[
        str, typer.Option(help="HOST:PORT of /metrics and /targets; port 0 takes a free one.")
    ] = "127.0.0.1:9400",
    admin: Annotated[
        str, typer.Option(help="HOST:PORT of /fault, /heal and /truth; empty = none.")
    ] = "127.0.0.1:9401",
    rate: Annotated[
        float | None,
        typer.Option(help="Requests per second; unset = the scenario's load of its capacity."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 7,
    warm_up_s: Annotated[
        float, typer.Option(help="Simulated seconds before the first scrape, at full speed.")
    ] = 600.0,
    lasts_s: Annotated[float, typer.Option(help="Seconds until no user comes any more.")] = 14400.0,
    history: Annotated[
        Path | None,
        typer.Option(
            help="Write the warm-up as OpenMetrics, for promtool tsdb create-blocks-from."
        ),
    ] = None,
    try_out: Annotated[
        Path | None,
        typer.Option(
            help="Write into this folder what Prometheus, Alertmanager, operator and worker need "
            "to watch this fleet, and its Fleet object; the commands are printed.",
            file_okay=False,
        ),
    ] = None,
    namespace: Annotated[str, typer.Option(help="Label namespace of every series.")] = "default",
    pods: Annotated[
        Path | None,
        typer.Option(
            help="Names and nodes to take: output of kubectl get pods,nodes -A -o json. "
            "Switches the simulated autoscalers off."
        ),
    ] = None,
    fault: Annotated[str, typer.Option(help="Fault kind to begin by itself; empty = none.")] = "",
    fault_at_s: Annotated[float, typer.Option(help="Seconds of scrapes before it.")] = 120.0,
    fault_length_s: Annotated[float, typer.Option(help="Seconds until it ends.")] = 300.0,
    fault_severity: Annotated[float, typer.Option(help="1 = the usual size of its kind.")] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print addresses and rate as one line of JSON.")
    ] = False,
) -> None:
    """Play a simulated fleet at wall clock as the exporters of a real one would show it.

    Faults and changes of the scenario file are left out; ask for them here or on the admin port.

    Example: `midwatch chaos serve chat --fault gpu-throttle --fault-at-s 120`

    Example: `midwatch chaos serve chat --namespace shop --try-out try`
    """
    from ops.commands.chaos_serve import Serving, run_serve

    run_serve(
        Serving(
            scenario=scenario, listen=listen, admin=admin, rate_rps=rate, seed=seed,
            warm_s=warm_up_s, lasts_s=lasts_s, history=history,
            try_out=try_out, namespace=namespace, pods=pods,
            fault=fault, fault_at_s=fault_at_s, fault_length_s=fault_length_s,
            fault_severity=fault_severity, as_json=as_json,
        )
    )  # fmt: skip
