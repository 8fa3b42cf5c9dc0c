"""Body of `midwatch serving workload reuse`; parameters are declared in `serving_workload`."""

from __future__ import annotations

import math
from pathlib import Path

import orjson
import typer

from ops.commands.options import OURS
from ops.reports.serving_cache import percent
from serving.errors import ConfigError
from serving.workload import Reuse, read_trace, replay_reuse

INFINITE = "inf"


def run_reuse(
    trace: Path,
    *,
    blocks: str,
    as_engine: bool,
    trace_format: str,
    skip_bad_rows: bool,
    as_json: bool,
) -> None:
    """Read, replay once for each size, print a row each."""
    try:
        sizes = [_size(text.strip()) for text in blocks.split(",")]
        table, report = read_trace(trace, trace_format=trace_format, skip_bad_rows=skip_bad_rows)
        found = [replay_reuse(table, capacity_blocks=n, as_engine=as_engine) for n in sizes]
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        figures = {
            "trace": str(trace),
            "requests": len(table),
            "rows_dropped": report.rows_read - report.rows_kept,
            "block_tokens": table.prefix_block_tokens,
            "as_engine": as_engine,
            "sizes": [_row(reuse) for reuse in found],
        }
        typer.echo(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
        return
    if report.rows_read > report.rows_kept:
        typer.echo(f"{trace.name}: {report.rows_read - report.rows_kept} bad rows dropped")
    typer.echo(
        f"{trace.name}: {len(table):,} requests, {found[0].num_blocks:,} blocks of "
        f"{table.prefix_block_tokens} tokens"
    )
    typer.echo(f"{'cache, blocks':>14}{'blocks hit':>12}{'tokens hit':>12}{'median request':>16}")
    for reuse in found:
        size = "all" if reuse.capacity_blocks is None else f"{reuse.capacity_blocks:,}"
        typer.echo(
            f"{size:>14}{percent(reuse.hit_ratio):>12}{percent(reuse.token_hit_ratio):>12}"
            f"{percent(reuse.hit_share_p50):>16}"
        )


def _size(text: str) -> int | None:
    if text == INFINITE:
        return None
    if not (text.isdigit() and text.isascii() and int(text)):
        raise ConfigError(
            f"--blocks: {text!r} is no cache size; give whole numbers from 1 on, or {INFINITE}"
        )
    return int(text)


def _row(reuse: Reuse) -> dict[str, float | int | None]:
    return {
        "capacity_blocks": reuse.capacity_blocks,
        "num_blocks": reuse.num_blocks,
        "num_hits": reuse.num_hits,
        "hit_ratio": _known(reuse.hit_ratio),
        "token_hit_ratio": _known(reuse.token_hit_ratio),
        "hit_share_p50": _known(reuse.hit_share_p50),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
