"""Body of `midwatch serving simulate`: requests, runs with progress, figures, page, exit code."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import typer
from rich.console import Console
from rich.table import Table

from ops.commands.options import OURS, command_line
from ops.commands.serving_runs import Done, Runner
from ops.commands.serving_traffic import GENERATED, Traffic, read_traffic
from ops.commands.serving_variants import check_caches, parse_policies, parse_variants
from ops.replay.provenance import commit, versions
from ops.reports.serving_cache import cache_rows
from ops.reports.serving_page import ServingRun, capacity_text, figure_rows, render_serving
from serving.errors import ConfigError
from serving.sim.profile_files import gpu_key, model_key
from serving.sim.world import FleetConfig
from serving.state import Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user typed."""

    trace: str
    trace_format: str
    rate_rps: float | None
    load: float | None
    duration_s: float | None
    tokens_max: int
    skip_bad_rows: bool
    seed: int
    gpu: str
    model: str
    instances: int
    tp: int
    sequences: int
    prefix_cache: bool
    policy: str
    chunk: int
    dispatch: str
    compare: str
    slo_ttft_s: float
    slo_tpot_s: float
    slo_target: float
    capacity: bool
    as_json: bool
    out: Path | None


def run_simulate(asked: Asked) -> None:
    """Run and print. Exit code 1 when no variant meets the SLO, 2 on wrong use, 130 interrupted."""
    console = Console(stderr=True)
    try:
        slo = Slo(ttft_s=asked.slo_ttft_s, tpot_s=asked.slo_tpot_s, target_ratio=asked.slo_target)
        fleet = _fleet(asked)
        base = parse_policies(batch=asked.policy, dispatch=asked.dispatch, token_budget=asked.chunk)
        variants = parse_variants(asked.compare, base)
        check_caches(variants, prefix_cache=asked.prefix_cache)
        source = "generating traffic" if asked.trace == GENERATED else f"reading {asked.trace}"
        console.print(f"seed {asked.seed}: {source}", soft_wrap=True)
        traffic = read_traffic(
            trace=asked.trace, trace_format=asked.trace_format, rate_rps=asked.rate_rps,
            load=asked.load, duration_s=asked.duration_s, tokens_max=asked.tokens_max,
            skip_bad_rows=asked.skip_bad_rows, seed=asked.seed, fleet=fleet, policies=variants[0],
        )  # fmt: skip
        for note in traffic.notes:
            console.print(f"note: {note}", soft_wrap=True)
        runner = Runner(
            console=console, requests=traffic.requests, fleet=fleet, slo=slo, seed=asked.seed
        )
        done = runner.run(variants, capacity=asked.capacity)
        if asked.out is not None and done.reports:
            _write(asked.out, asked, traffic, fleet, done)
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(f"--out {asked.out}: {error}; choose another folder") from error
    except KeyboardInterrupt:
        console.print("stopped before anything was simulated")
        raise typer.Exit(130) from None
    _print(asked, traffic, _fleet_text(fleet), done)
    if not done.complete:
        console.print("stopped early: the figures cover what had arrived by then")
        raise typer.Exit(130)
    if all(report.attainment_ratio < slo.target_ratio for report in done.reports):
        raise typer.Exit(1)


def _fleet(asked: Asked) -> FleetConfig:
    """The fleet; GPU names in any case.

    Raises:
        ConfigError: GPU or model unknown, or sizes that do not fit.
    """
    faults = [
        f"{name} is {value}, expected 1 or more"
        for name, value in (
            ("--instances", asked.instances),
            ("--tp", asked.tp),
            ("--sequences", asked.sequences),
        )
        if value < 1
    ]
    if asked.seed < 0:
        faults.append(f"--seed {asked.seed}: expected 0 or more")
    if faults:
        raise ConfigError("; ".join(faults))
    fleet = FleetConfig(
        num_instances=asked.instances,
        gpu=gpu_key(asked.gpu),
        model=model_key(asked.model),
        tp_degree=asked.tp,
        sequences_max=asked.sequences,
        prefix_cache=asked.prefix_cache,
    )
    fleet.instance_config(fleet.cost_model())
    return fleet


def _write(out: Path, asked: Asked, traffic: Traffic, fleet: FleetConfig, done: Done) -> None:
    out.mkdir(parents=True, exist_ok=True)
    made = {**versions(), "commit": commit()}
    page = render_serving(
        ServingRun(
            fleet=_fleet_text(fleet),
            traffic=traffic.text,
            reports=done.reports,
            figures=done.figures,
            uncached=done.uncached,
            reuse_ratio=traffic.reuse_ratio,
            capacities=done.capacities,
            facts=[
                ("Requests", traffic.text),
                ("Fleet", f"{_fleet_text(fleet)}, batches of at most {fleet.sequences_max}"),
                *(("Note", note) for note in traffic.notes),
                *((name, str(text)) for name, text in made.items()),
            ],
            banners=[] if done.complete else ["Incomplete: the run was stopped before its end."],
            command=_command(asked),
        )
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    (out / "result.json").write_bytes(_json(asked, traffic, _fleet_text(fleet), done, made))


def _json(asked: Asked, traffic: Traffic, fleet: str, done: Done, made: dict[str, str]) -> bytes:
    config = {**asdict(asked), "out": None if asked.out is None else str(asked.out)}
    return orjson.dumps(
        {
            "config": config,
            "made_by": made,
            "fleet": fleet,
            "traffic": traffic.text,
            "notes": traffic.notes,
            "complete": done.complete,
            "reuse_ratio": traffic.reuse_ratio,
            "runs": done.figures,
            "capacities": [asdict(item) for item in done.capacities],
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def _fleet_text(fleet: FleetConfig) -> str:
    gpus = fleet.cost_model().gpu.label_of(fleet.tp_degree)
    return f"{fleet.num_instances} × {gpus}, {fleet.model}"


def _command(asked: Asked) -> str:
    """What repeats the run."""
    options: list[tuple[str, object]] = [
        ("--trace", asked.trace),
        ("--format", asked.trace_format if asked.trace_format != "auto" else None),
        ("--rate", asked.rate_rps),
        ("--load", asked.load),
        ("--duration", asked.duration_s),
        ("--tokens-max", asked.tokens_max or None),
        ("--seed", asked.seed),
        ("--gpu", asked.gpu),
        ("--model", asked.model),
        ("--instances", asked.instances),
        ("--tp", asked.tp),
        ("--sequences", asked.sequences),
        ("--policy", asked.policy),
        ("--chunk", asked.chunk or None),
        ("--dispatch", asked.dispatch),
        ("--compare", asked.compare or None),
        ("--slo-ttft", asked.slo_ttft_s),
        ("--slo-tpot", asked.slo_tpot_s),
        ("--slo-target", asked.slo_target),
        ("--prefix-cache", asked.prefix_cache),
        ("--skip-bad-rows", asked.skip_bad_rows),
        ("--capacity", asked.capacity),
    ]
    return command_line("midwatch", "serving", "simulate", options=options)


def _print(asked: Asked, traffic: Traffic, fleet: str, done: Done) -> None:
    if asked.as_json:
        made = {**versions(), "commit": commit()}
        typer.echo(_json(asked, traffic, fleet, done, made).decode(), nl=False)
        return
    figures = done.figures
    typer.echo(f"{fleet}. {traffic.text}")
    table = Table(box=None)
    table.add_column("simulated", no_wrap=True)
    for report in done.reports:
        table.add_column(report.label, justify="right")
    rows = figure_rows(figures) + cache_rows(figures)
    rows.append(("Requests per CPU s", [f"{f['requests_per_cpu_s']:,.0f}" for f in figures]))
    for name, cells in rows:
        table.add_row(name, *cells)
    Console().print(table)
    for item in done.capacities:
        typer.echo(f"{item.label}: {capacity_text(item)}")
    if asked.out is not None:
        typer.echo(f"Report {asked.out / 'report.html'}")
