"""Body of `midwatch serving workload closed-loop`; its parameters: `serving_workload`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import typer

from ops.commands.options import OURS, command_line
from ops.reports.storm_page import facts, figure_rows, headline, render_storm
from serving.errors import ConfigError
from serving.workload.attempts import ONE_MINUTE, TWO_MINUTES, WINDOW_S, Floats, Server
from serving.workload.closed_loop import Crowd, population_for
from serving.workload.storm import Storm, measure, replaying, spread

SEEDS_MAX = 200
AFTER_MIN_S = 2 * WINDOW_S  # after the cut, to look for two good minutes in a row
PLOT_COLUMNS = 70
BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The crowd as its command names it."""

    load: float
    think_s: float
    timeout_s: float
    tries_max: int
    backoff_s: float
    jitter_ratio: float
    budget_ratio: float | None


def run_closed_loop(
    users: Users,
    server: Server,
    *,
    duration_s: float,
    num_seeds: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Play the users and a replay, print both, write the page; exit code 1 without recovery."""
    try:
        crowd = _crowd(users, server)
        _check(server, duration_s, num_seeds)
        seeds = range(num_seeds)
        storms = [
            measure(name, one, server, seeds=seeds, duration_s=duration_s)
            for name, one in (
                ("these users", crowd),
                ("open-loop replay", replaying(crowd, server)),
            )
        ]
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            command = _command(users, server, duration_s, num_seeds, out)
            out.write_text(render_storm(storms, command=command), encoding="utf-8")
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(
            f"{out} cannot be written: {error}; choose another --out"
        ) from error
    if as_json:
        figures = {"headline": headline(storms[0]), "crowds": [_figures(s) for s in storms]}
        typer.echo(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(storms)
        if out is not None:
            typer.echo(f"Report {out}")
    if storms[0].never:
        raise typer.Exit(1)


def _crowd(users: Users, server: Server) -> Crowd:
    if not 0.0 < users.load <= 10.0:
        raise ConfigError(f"--load is {users.load:g}, expected a number above 0, at most 10")
    if not users.think_s >= 0.0:
        raise ConfigError(f"--think-s is {users.think_s:g}, expected 0 or more")
    if server.slots < 1 or not server.service_s > 0.0:
        raise ConfigError(
            f"--slots and --service-s are {server.slots} and {server.service_s:g}, expected 1 or "
            "more and a number above 0"
        )
    rate_rps = users.load * server.capacity_rps
    how = {k: v for k, v in asdict(users).items() if k not in ("load", "think_s")}
    if users.think_s == 0.0:
        return Crowd(rate_rps=rate_rps, **how)
    people = max(population_for(rate_rps, server, users.think_s), 1)
    return Crowd(population=people, think_s=users.think_s, **how)


def _check(server: Server, duration_s: float, num_seeds: int) -> None:
    if not 1 <= num_seeds <= SEEDS_MAX:
        raise ConfigError(f"--seeds is {num_seeds}, expected 1 to {SEEDS_MAX}")
    end_s = server.cut_from_s + server.cut_s
    if not duration_s >= end_s + AFTER_MIN_S:
        raise ConfigError(
            f"--duration-s is {duration_s:g}, expected {end_s + AFTER_MIN_S:g} or more: the cut "
            f"ends at {end_s:g} s and recovery is looked for in whole minutes after it"
        )


def _print(storms: Sequence[Storm]) -> None:
    typer.echo(headline(storms[0]))
    for name, text in facts(storms[0]):
        typer.echo(f"  {name:<9} {text}")
    typer.echo(f"{'least / median / largest':<34}" + "".join(f"{s.name:>24}" for s in storms))
    for name, cells in figure_rows(storms):
        typer.echo(f"{name:<34}" + "".join(f"{cell:>24}" for cell in cells))
    server, duration_s = storms[0].server, storms[0].duration_s
    top = max(server.capacity_rps, *(float(s.slice_tries_rps.max()) for s in storms))
    for storm in storms:
        typer.echo(f"{storm.name}, full height {top:.3g}/s, mean of the seeds")
        for name, values in (
            ("goodput", storm.slice_goodput_rps),
            ("tries", storm.slice_tries_rps),
        ):
            typer.echo(f"  {name:<8}{_bars(values, top)}")
    marks = [" "] * PLOT_COLUMNS
    first, last = (
        int(at_s / duration_s * PLOT_COLUMNS)
        for at_s in (server.cut_from_s, server.cut_from_s + server.cut_s)
    )
    marks[first : last + 1] = "^" * (last + 1 - first)
    typer.echo(f"  {'cut':<8}{''.join(marks).rstrip()}")


def _bars(values: Floats, top: float) -> str:
    columns = np.array_split(values, min(PLOT_COLUMNS, len(values)))
    levels = [float(part.mean()) / top for part in columns]
    return "".join(BARS[min(round(level * (len(BARS) - 1)), len(BARS) - 1)] for level in levels)


def _figures(storm: Storm) -> dict[str, Any]:
    return {
        "name": storm.name,
        "crowd": asdict(storm.crowd),
        "server": asdict(storm.server),
        "duration_s": storm.duration_s,
        "seeds": list(storm.seeds),
        "seeds_that_never_recover": storm.never,
        "goodput_rps": {when: spread(v) for when, v in storm.goodput_rps.items()},
        "tries_per_request": {when: spread(v) for when, v in storm.amplification.items()},
        "recovery_s": {
            "one_minute_at_90": spread(storm.recovery_s[ONE_MINUTE]),
            "two_minutes_at_95": spread(storm.recovery_s[TWO_MINUTES]),
        },
        "over_time": {
            "at_s": storm.slice_at_s.tolist(),
            "goodput_rps": storm.slice_goodput_rps.tolist(),
            "tries_rps": storm.slice_tries_rps.tolist(),
        },
    }


def _command(users: Users, server: Server, duration_s: float, num_seeds: int, out: Path) -> str:
    """What repeats the run."""
    options: list[tuple[str, object]] = [
        ("--load", users.load),
        ("--think-s", users.think_s),
        ("--timeout-s", users.timeout_s),
        ("--tries", users.tries_max),
        ("--backoff-s", users.backoff_s),
        ("--jitter", users.jitter_ratio),
        ("--budget", users.budget_ratio),
        ("--slots", server.slots),
        ("--service-s", server.service_s),
        ("--queue-max", server.queue_max),
        ("--drop-expired", server.drop_expired),
        ("--cut-ratio", server.cut_ratio),
        ("--cut-s", server.cut_s),
        ("--duration-s", duration_s),
        ("--seeds", num_seeds),
        ("--out", out),
    ]
    return command_line("midwatch", "serving", "workload", "closed-loop", options=options)
