"""Where the requests of a replay come from: the generator or a trace, scaled to a rate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ops.replay.draws import mix
from ops.replay.ledger import Arrivals
from ops.replay.scenario import Scenario
from serving.errors import ConfigError
from serving.state import Prefix
from serving.workload import (
    ReadReport,
    RequestTable,
    cut,
    generate,
    read_trace,
    to_rate,
    with_session_prefixes,
)
from serving.workload.replay import mean_rate_rps

START_HOUR = 13.0  # hour of day, UTC, at which a replay of the generator begins
SPACE_IDS = 1 << 32  # more than one generated part has prefix ids; parts share none
REGIONS_MAX = 64
BURST_SEED = 5_000_011  # a burst is another stretch of the same kind of traffic


@dataclass(slots=True)
class Traffic:
    """Source of arrivals of one scenario and seed."""

    scenario: Scenario
    seed: int
    table: RequestTable | None = None  # None = generator
    report: ReadReport | None = None

    @classmethod
    def open(cls, scenario: Scenario, *, seed: int, skip_bad_rows: bool = False) -> Traffic:
        """Read the trace that the scenario names.

        Raises:
            TraceFormatError: a row or the file is not what its format says.
            ConfigError: the engine caches prefixes and the trace has no ids of them.
        """
        spec = scenario.traffic
        if spec.trace == "generated":
            return cls(scenario, seed)
        table, report = read_trace(
            Path(spec.trace), trace_format=spec.trace_format, skip_bad_rows=skip_bad_rows
        )
        if scenario.engine.prefix_cache and not table.prefix_block_tokens:
            raise ConfigError(
                f"engine.prefix_cache is true, but {Path(spec.trace).name} has no prefix ids, so "
                "nothing can be reused; take a mooncake or bailian trace or generated traffic, or "
                "leave the key out"
            )
        return cls(scenario, seed, table, report)

    def arrivals(self, rate_rps: float, *, duration_s: float) -> Arrivals:
        """Arrivals of every region at a mean total rate; 0 keeps a trace's own rate.

        A trace that is too short at the wanted rate ends early; it is never repeated.
        """
        if self.table is not None:
            table = to_rate(self.table, rate_rps) if rate_rps > 0.0 else self.table
            return self._assign(cut(table, 0.0, duration_s), offset=0)
        spec, most = self.scenario.traffic, 1.0
        if spec.step_at_s > 0.0:
            most = max(1.0, spec.step_ratio)
        parts = []
        for k, region in enumerate(self.scenario.regions):
            table = self._generate(
                self.seed * 16 + k, rate_rps * most * region.traffic_share, duration_s,
                region.utc_offset_s, 0.0,
            )  # fmt: skip
            parts.append((region.name, table))
        arrivals = _merge(parts)
        return self._step(arrivals, most) if spec.step_at_s > 0.0 else arrivals

    def _step(self, arrivals: Arrivals, most: float) -> Arrivals:
        """Thin the arrivals before or after a lasting load step; each keeps its own draw."""
        spec = self.scenario.traffic
        keep = [
            k for k, at_s in enumerate(arrivals.at_s)
            if mix(self.seed, 17, k) * most < (spec.step_ratio if at_s >= spec.step_at_s else 1.0)
        ]  # fmt: skip
        return Arrivals(
            [arrivals.at_s[k] for k in keep],
            [arrivals.num_prompt_tokens[k] for k in keep],
            [arrivals.num_output_tokens[k] for k in keep],
            [arrivals.region[k] for k in keep],
            [arrivals.prefix[k] for k in keep] if arrivals.prefix else [],
        )

    def more(self, region: str, at_s: float, length_s: float, rate_rps: float) -> Arrivals:
        """Further arrivals of one region from `at_s` on, at a rate of their own."""
        if self.table is not None:
            table = to_rate(self.table, rate_rps)
            # Another stretch of the trace than the one under way, as far away as can be.
            whole_s = float(table.arrival_s[-1])
            start_s = (at_s + whole_s / 2) % max(whole_s - length_s, 1.0)
            table = cut(table, start_s, length_s)
        else:
            offset_s = {r.name: r.utc_offset_s for r in self.scenario.regions}[region]
            table = self._generate(self.seed + BURST_SEED, rate_rps, length_s, offset_s, at_s)
        # Ids of a trace are the same wherever they occur; a generated burst has ids of its own.
        rank = [r.name for r in self.scenario.regions].index(region)
        space = 0 if self.table is not None else (1 + int(at_s)) * REGIONS_MAX + rank
        arrivals = _merge([(region, table)], first_space=space)
        arrivals.at_s = [t + at_s for t in arrivals.at_s]
        return arrivals

    def own_rate_rps(self) -> float:
        """Mean rate of the trace as recorded; the generator has none.

        Raises:
            ConfigError: too few rows.
        """
        return mean_rate_rps(self.table) if self.table is not None else 0.0

    def _generate(
        self, seed: int, rate_rps: float, duration_s: float, offset_s: float, at_s: float
    ) -> RequestTable:
        spec = self.scenario.traffic
        table = generate(
            seed=seed,
            duration_s=duration_s,
            rate_rps=max(rate_rps, 1e-3),
            start_hour=(START_HOUR + (offset_s + at_s) / 3600.0) % 24.0,
            diurnal=spec.diurnal,
            conversation_ratio=spec.conversation_ratio,
        )
        return with_session_prefixes(table) if self.scenario.engine.prefix_cache else table

    def _assign(self, table: RequestTable, *, offset: int) -> Arrivals:
        """Split a trace over the regions: a session, or a request without one, stays in one."""
        names = [r.name for r in self.scenario.regions]
        edges = np.cumsum([r.traffic_share for r in self.scenario.regions])
        sessions = table.session_index.tolist()
        regions = []
        for k, session in enumerate(sessions):
            key = session if session >= 0 else k + offset
            draw = mix(self.seed, 11 if session >= 0 else 12, key)
            regions.append(names[min(int(np.searchsorted(edges, draw)), len(names) - 1)])
        return Arrivals(
            table.arrival_s.tolist(),
            table.num_prompt_tokens.tolist(),
            table.num_output_tokens.tolist(),
            regions,
            _prefixes(table, 0) if self.scenario.engine.prefix_cache else [],
        )


def _merge(parts: list[tuple[str, RequestTable]], *, first_space: int = 0) -> Arrivals:
    at_s = np.concatenate([t.arrival_s for _, t in parts])
    order = np.argsort(at_s, kind="stable")
    prompt = np.concatenate([t.num_prompt_tokens for _, t in parts])[order]
    output = np.concatenate([t.num_output_tokens for _, t in parts])[order]
    index = np.concatenate([np.full(len(t), k) for k, (_, t) in enumerate(parts)])[order]
    names = [name for name, _ in parts]
    prefixes = [p for k, (_, t) in enumerate(parts) for p in _prefixes(t, first_space + k)]
    return Arrivals(
        at_s[order].tolist(), prompt.tolist(), output.tolist(), [names[k] for k in index.tolist()],
        [prefixes[k] for k in order.tolist()] if prefixes else [],
    )  # fmt: skip


def _prefixes(table: RequestTable, space: int) -> list[Prefix]:
    """What each prompt begins with; equal ids of two spaces differ."""
    if not table.prefix_block_tokens:
        return []
    ids, offsets = (table.prefix_ids + space * SPACE_IDS).tolist(), table.prefix_offsets.tolist()
    return [
        Prefix(table.prefix_block_tokens, tuple(ids[first:end])) for first, end in pairwise(offsets)
    ]
