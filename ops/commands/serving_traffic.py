"""Requests for `midwatch serving simulate`: a trace or generated ones, at the wanted rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serving.errors import ConfigError
from serving.sim.capacity import saturated_rps
from serving.sim.run import playable
from serving.sim.world import FleetConfig, Policies
from serving.workload import (
    RequestTable,
    cut,
    generate,
    read_trace,
    replay_reuse,
    to_rate,
    with_session_prefixes,
)
from serving.workload.replay import mean_rate_rps

GENERATED = "generated"
DURATION_S = 300.0  # of generated traffic
LOAD = 0.7  # of generated traffic without --rate and --load
SAMPLE_REQUESTS = 600  # to measure a throughput before the rate is known
SETTLED_S = 60.0  # a shorter trace gets a note
CONVERSATION_RATIO = 1.0  # generated traffic: chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests, and what was done to get them."""

    requests: RequestTable
    text: str
    notes: list[str]
    reuse_ratio: float  # prompt tokens found if one cache kept all; NaN without prefix caches


def read_traffic(
    *,
    trace: str,
    trace_format: str,
    rate_rps: float | None,
    load: float | None,
    duration_s: float | None,
    tokens_max: int,
    skip_bad_rows: bool,
    seed: int,
    fleet: FleetConfig,
    policies: Policies,
) -> Traffic:
    """Read or generate, leave out what cannot run, stretch to the rate, cut.

    A load is measured without prefix caches, so that it means the same with and without.

    Raises:
        ConfigError: values outside their domains, or nothing is left to simulate.
        TraceFormatError: the file cannot be used.
    """
    _check(rate_rps, load, duration_s, tokens_max)
    notes: list[str] = []
    plain = replace(fleet, prefix_cache=False)
    if trace == GENERATED:
        if rate_rps is None:
            sample = playable(_generate(seed, SAMPLE_REQUESTS, 1.0), tokens_max=tokens_max)
            rate_rps = _load_rate(sample, load or LOAD, plain, policies, seed, notes)
        table = playable(_generate(seed, duration_s or DURATION_S, rate_rps), tokens_max=tokens_max)
        if fleet.prefix_cache:
            table = with_session_prefixes(table)
        name = f"generated chat, seed {seed}"
    else:
        table, report = read_trace(
            Path(trace), trace_format=trace_format, skip_bad_rows=skip_bad_rows
        )
        if report.dropped:
            notes.append(f"{report.rows_read - report.rows_kept} bad rows dropped")
        num_rows = len(table)
        table = playable(table, tokens_max=tokens_max)
        if len(table) < num_rows:
            why = f"no tokens, or more than {tokens_max:,}" if tokens_max else "no tokens"
            notes.append(f"{num_rows - len(table):,} of {num_rows:,} rows left out: {why}")
        if load is not None:
            rate_rps = _load_rate(table, load, plain, policies, seed, notes)
        if rate_rps is not None:
            table = to_rate(table, rate_rps)
        table = replace(table, arrival_s=table.arrival_s - table.arrival_s[:1])
        if rate_rps is not None and duration_s is None and table.arrival_s[-1] < SETTLED_S:
            notes.append(
                f"at this rate the trace lasts {table.arrival_s[-1]:.2g} s: queues hardly settle, "
                "so latencies and limits look better than they are; take a longer trace"
            )
        name = Path(trace).name
    if duration_s is not None:
        table = cut(table, 0.0, duration_s)
    if len(table) < 2:
        raise ConfigError(
            f"{name}: {len(table)} requests are left; take a longer --duration or other limits"
        )
    notes += _size_notes(table, fleet)
    reuse_ratio = _reuse_ratio(table, name, notes) if fleet.prefix_cache else math.nan
    text = f"{name}: {len(table):,} requests at {mean_rate_rps(table):.3g}/s"
    return Traffic(requests=table, text=text, notes=notes, reuse_ratio=reuse_ratio)


def _size_notes(table: RequestTable, fleet: FleetConfig) -> list[str]:
    """Requests that are too long for the model, or for the memory of an instance."""
    cost_model = fleet.cost_model()
    prompt = table.num_prompt_tokens.astype(np.int64)
    context = cost_model.model.context_tokens
    room = fleet.instance_config(cost_model).context_limit
    num_long = np.count_nonzero(prompt + table.num_output_tokens > context)
    num_refused = np.count_nonzero(prompt + 1 > room)
    notes = []
    if num_long:
        notes.append(
            f"{num_long:,} of {len(table):,} requests are longer than the {context:,} tokens of "
            f"{fleet.model}, prompt and output: a real engine refuses or cuts them, here they run; "
            f"leave them out with --tokens-max {context}"
        )
    if num_refused:
        notes.append(
            f"{num_refused:,} of {len(table):,} prompts are rejected: an instance has KV memory "
            f"for {room:,} tokens"
        )
    return notes


def _reuse_ratio(table: RequestTable, name: str, notes: list[str]) -> float:
    if not table.prefix_block_tokens:
        raise ConfigError(
            f"--prefix-cache: {name} has no prefix ids, so no prompt is known to begin like "
            "another and nothing can be reused; take a mooncake or bailian trace or generated "
            "traffic, or leave --prefix-cache out"
        )
    ratio = replay_reuse(table).token_hit_ratio
    if ratio == 0.0:
        notes.append("no prompt begins like an earlier one: prefix caches find nothing here")
    return ratio


def _generate(seed: int, duration_s: float, rate_rps: float) -> RequestTable:
    return generate(
        seed=seed,
        duration_s=duration_s,
        rate_rps=rate_rps,
        failures=False,
        conversation_ratio=CONVERSATION_RATIO,
    )


def _load_rate(
    table: RequestTable,
    load: float,
    fleet: FleetConfig,
    policies: Policies,
    seed: int,
    notes: list[str],
) -> float:
    most_rps = saturated_rps(table, fleet, policies, seed)
    notes.append(
        f"load {load:g} of the {most_rps:.3g} requests/s that the fleet answers when saturated"
    )
    return load * most_rps


def _check(
    rate_rps: float | None, load: float | None, duration_s: float | None, tokens_max: int
) -> None:
    faults = [
        f"{name} is {value}, expected more than 0"
        for name, value in (("--rate", rate_rps), ("--load", load), ("--duration", duration_s))
        if value is not None and not value > 0.0
    ]
    if rate_rps is not None and load is not None:
        faults.append("--rate and --load exclude each other; give one")
    if tokens_max < 0:
        faults.append(f"--tokens-max is {tokens_max}, expected 0 or more")
    if faults:
        raise ConfigError("; ".join(faults))
