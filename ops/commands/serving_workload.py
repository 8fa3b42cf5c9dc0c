"""`midwatch serving workload`: fit, generate, compare, prefix reuse, users in a closed loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Fit workloads, generate them anew, compare them; reuse, retry storms.")

Format = Annotated[
    str, typer.Option("--format", help="Of the trace; auto looks at its first line.")
]
SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Drop and count rows that cannot be used.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def fit(
    trace: Annotated[Path, typer.Argument(help="Requests in any format that we read.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="<trace>.workload.json")
    ] = None,
    start_hour: Annotated[float, typer.Option(help="Hour of day at second 0.")] = 0.0,
    trace_format: Format = "auto",
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Measure rates, bursts, lengths, sessions and failures of a trace; write a model file.

    The file holds quantiles and rates, no request: small enough to commit, safe to pass on.

    Example: `midwatch serving workload fit BurstGPT_3.csv --out burstgpt.workload.json`
    """
    from ops.commands.serving_workload_run import run_fit

    run_fit(
        trace, trace_format=trace_format, skip_bad_rows=skip_bad_rows, start_hour=start_hour,
        out=out, as_json=as_json,
    )  # fmt: skip


@app.command()
def generate(
    model: Annotated[
        Path, typer.Argument(help="File of workload fit, or ServeGen's windows per client.")
    ],
    out: Annotated[Path, typer.Option(help="Trace to write; .gz is packed, .parquet is Parquet.")],
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 7,
    duration: Annotated[
        float | None, typer.Option(help="Seconds.", show_default="as fitted")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="ServeGen's token quantiles; windows need them.")
    ] = None,
    start: Annotated[float, typer.Option(help="Second of the windows to begin at.")] = 0.0,
    rate_ratio: Annotated[
        float, typer.Option(help="Times the fitted rate; bursts grow with it.")
    ] = 1.0,
    shape: Annotated[
        str,
        typer.Option(help="windows: rates as fitted, window by window; curve: by hour and day."),
    ] = "windows",
    continuous: Annotated[
        bool, typer.Option("--continuous", help="Do not round to the ticks of the fitted clock.")
    ] = False,
    trace_format: Annotated[
        str, typer.Option("--format", help="requests keeps every column; or azure, burstgpt.")
    ] = "requests",
    as_json: AsJson = False,
) -> None:
    """Draw a trace from a model file, or from ServeGen's clients; same seed, same trace.

    Example: `midwatch serving workload generate burstgpt.workload.json --duration 3600
    --rate-ratio 2 --out busy.csv`

    Example: `midwatch serving workload generate m-small_windows.csv.gz --tokens
    m-small_token_quantiles.csv.gz --start 36000 --duration 600 --out small.csv`
    """
    from ops.commands.serving_workload_run import run_generate

    run_generate(
        model, tokens=tokens, start_s=start, seed=seed, duration_s=duration,
        rate_ratio=rate_ratio, shape=shape, continuous=continuous, trace_format=trace_format,
        out=out, as_json=as_json,
    )  # fmt: skip


@app.command()
def check(
    reference: Annotated[Path, typer.Argument(metavar="A", help="Trace to be like.")],
    candidate: Annotated[Path, typer.Argument(metavar="B", help="Trace to check.")],
    out: Annotated[Path | None, typer.Option(help="HTML page to write.")] = None,
    trace_format: Format = "auto",
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Tell how alike two workloads are: rate, bursts, lengths, sessions, failures.

    Exit code 1: an aspect differs by more than its bound.

    Example: `midwatch serving workload check azure_conv.csv mine.csv --out alike.html`
    """
    from ops.commands.serving_workload_run import run_check

    run_check(
        reference, candidate, trace_format=trace_format, skip_bad_rows=skip_bad_rows, out=out,
        as_json=as_json,
    )  # fmt: skip


@app.command()
def reuse(
    trace: Annotated[Path, typer.Argument(help="A trace with prefix ids: mooncake, bailian.")],
    blocks: Annotated[
        str, typer.Option(help="Cache sizes in blocks; inf keeps all.")
    ] = "1000,5000,20000,50000,inf",
    as_engine: Annotated[
        bool,
        typer.Option("--as-engine", help="Only full blocks; the last token is always computed."),
    ] = False,
    trace_format: Format = "auto",
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Tell how many prompt blocks one cache would find, by its size; it evicts the least recent.

    Example: `midwatch serving workload reuse conversation_trace.jsonl --blocks 10000,inf`
    """
    from ops.commands.serving_reuse_run import run_reuse

    run_reuse(
        trace, blocks=blocks, as_engine=as_engine, trace_format=trace_format,
        skip_bad_rows=skip_bad_rows, as_json=as_json,
    )  # fmt: skip


@app.command("closed-loop")
def closed_loop(
    load: Annotated[
        float, typer.Option(help="Share of the capacity, slots over service time.")
    ] = 0.8,
    think_s: Annotated[
        float, typer.Option(help="Mean think time; 0 = a new user for each request.")
    ] = 30.0,
    timeout_s: Annotated[float, typer.Option(help="Patience with one try.")] = 20.0,
    tries: Annotated[int, typer.Option(help="Tries before giving up.")] = 4,
    backoff_s: Annotated[float, typer.Option(help="First pause; it doubles.")] = 5.0,
    jitter: Annotated[float, typer.Option(help="Share of a pause that is drawn, 0..1.")] = 0.0,
    budget: Annotated[
        float | None,
        typer.Option(help="Retries per request, shared by all.", show_default="no limit"),
    ] = None,
    slots: Annotated[
        int, typer.Option(help="Requests served at once, by all instances together.")
    ] = 40,
    service_s: Annotated[float, typer.Option(help="Mean time of service.")] = 4.0,
    queue_max: Annotated[
        int | None, typer.Option(help="Longest queue.", show_default="no limit")
    ] = None,
    drop_expired: Annotated[
        bool, typer.Option("--drop-expired", help="Do not begin what nobody waits for.")
    ] = False,
    cut_ratio: Annotated[float, typer.Option(help="Slots left during the cut, 0..1.")] = 0.25,
    cut_s: Annotated[float, typer.Option(help="Length of the cut.")] = 120.0,
    duration_s: Annotated[float, typer.Option(help="Of a run; the cut is at 600.")] = 2100.0,
    seeds: Annotated[int, typer.Option(help="Runs, seeds from 0 on.")] = 5,
    out: Annotated[Path | None, typer.Option(help="HTML page to write.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play users who wait, retry and give up through a cut of capacity: is there a retry storm?

    A replay of the same demand stands beside them. Exit code 1: a run does not recover.

    Example: `midwatch serving workload closed-loop --think-s 0 --tries 4 --budget 0.1
    --out storm.html`
    """
    from ops.commands.serving_storm_run import Users, run_closed_loop
    from serving.workload.attempts import Server

    server = Server(
        slots=slots, service_s=service_s, queue_max=queue_max, drop_expired=drop_expired,
        cut_ratio=cut_ratio, cut_s=cut_s,
    )  # fmt: skip
    users = Users(
        load=load, think_s=think_s, timeout_s=timeout_s, tries_max=tries, backoff_s=backoff_s,
        jitter_ratio=jitter, budget_ratio=budget,
    )  # fmt: skip
    run_closed_loop(users, server, duration_s=duration_s, num_seeds=seeds, out=out, as_json=as_json)
