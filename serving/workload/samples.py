"""Made-up files in every format that can be read: for trying a reader, tests and benches.

Lengths and shares are plausible, not fitted: `burstiness` and its like are for realism.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.errors import ConfigError
from serving.workload.export import write_trace
from serving.workload.export_tables import (
    write_cold_starts,
    write_invocations,
    write_quantiles,
    write_windows,
)
from serving.workload.formats import bailian, mooncake, write_csv
from serving.workload.starts import ColdStarts, Invocations, Pods
from serving.workload.table import Kind, Origin, RequestTable, Status
from serving.workload.windows import QUANTILES, WINDOW_S, GapLaw, LoadWindows, TokenQuantiles

RATE_RPS = 20.0
MODELS = ("ChatGPT", "GPT-4")
FIELDS = ("input_tokens", "output_tokens", "reason_ratio")
POD_SIZES = ((22, 300, 128), (23, 400, 256), (24, 600, 512), (26, 1000, 1024), (35, 6600, 8192))
SHARED_BLOCKS_MAX = 8  # a group's requests begin alike for so many blocks at most
Rng = np.random.Generator


def write_sample(path: Path, kind: str, *, rows: int, seed: int) -> None:
    """Write a made-up file of `rows` rows; `kind` is a key of SAMPLES.

    Raises:
        ConfigError: no such kind.
    """
    writer = SAMPLES.get(kind)
    if writer is None:
        raise ConfigError(f"there is no sample {kind!r}; take one of {', '.join(SAMPLES)}")
    writer(np.random.default_rng([seed, *b"workload/samples"]), rows, path)


def sample_requests(
    rng: Rng, rows: int, *, stamp_digits: int = 6, block_tokens: int = 0, prompt_mu: float = 6.5
) -> RequestTable:
    """Poisson arrivals and log-normal lengths, with sessions, failures, latencies, images.

    Args:
        stamp_digits: decimals of a second that the stamps have.
        block_tokens: prompt tokens per prefix id, 0 for none.
        prompt_mu: log of the median prompt.
    """
    gaps_s = rng.exponential(1.0 / RATE_RPS, rows)
    arrival_s: NDArray[np.float64] = np.cumsum(gaps_s).round(stamp_digits)
    prompt = np.clip(rng.lognormal(prompt_mu, 1.0, rows), 1, 120_000).astype(np.int32)
    failed = rng.random(rows) < 0.02
    output = np.where(failed, 0, np.clip(rng.lognormal(5.0, 0.9, rows), 1, 4000))
    lengths = -(-prompt // block_tokens) if block_tokens else prompt[:0]
    return RequestTable(
        trace_id="sample",
        arrival_s=arrival_s - arrival_s[0] if rows else arrival_s,
        num_prompt_tokens=prompt,
        num_output_tokens=output.astype(np.int32),
        kind=(rng.random(rows) < 0.3).astype(np.uint8) * np.uint8(Kind.API),
        model=(rng.random(rows) < 0.2).astype(np.uint8),
        models=MODELS,
        status=np.where(failed, Status.FAILED, Status.OK).astype(np.uint8),
        session_index=np.where(rng.random(rows) < 0.5, rng.integers(0, rows + 1, rows) // 4, -1),
        e2e_s=np.round(rng.lognormal(1.0, 0.8, rows), 2).astype(np.float32),
        prefix_block_tokens=block_tokens,
        prefix_ids=_prefix_ids(rng, lengths),
        prefix_offsets=np.concatenate(([0], np.cumsum(lengths))) if block_tokens else _none(),
        origin=Origin.GENERATED,
    )


def sample_windows(rng: Rng, rows: int, *, clients: int = 50) -> LoadWindows:
    """Windows of several clients, in order of time; a few of them idle."""
    at = np.arange(rows)
    idle = rng.random(rows) < 0.05
    rate = np.where(idle, 0.0, np.round(rng.lognormal(0.0, 1.5, rows) + 0.01667, 5))
    law = np.where(rng.random(rows) < 0.25, GapLaw.WEIBULL, GapLaw.GAMMA)
    shape = np.round(rng.uniform(0.2, 1.5, rows), 5)
    scale = np.round(1.0 / np.maximum(rate, 0.01) / shape, 5)
    return LoadWindows(
        trace_id="sample",
        client=(at % clients).astype(np.int32),
        start_s=np.multiply(at // clients, WINDOW_S, dtype=np.float64),
        rate_rps=rate,
        iat_cv=np.where(idle, np.nan, np.round(1.0 / np.sqrt(shape), 4)),
        law=np.where(idle, GapLaw.NONE, law).astype(np.uint8),
        shape=np.where(idle, np.nan, shape),
        scale=np.where(idle, np.nan, scale),
    )


def sample_quantiles(rng: Rng, rows: int, *, clients: int = 50) -> TokenQuantiles:
    """Rising quantiles per client, block of six hours and field."""
    at = np.arange(rows)
    num_fields = len(FIELDS)
    points = np.cumsum(rng.integers(0, 500, (len(QUANTILES) + 1, rows)), axis=0).astype(np.float64)
    points[:, at % num_fields == num_fields - 1] /= 8192.0
    return TokenQuantiles(
        trace_id="sample",
        client=((at // num_fields) % clients).astype(np.int32),
        start_s=np.multiply(at // (num_fields * clients), 6 * 3600.0, dtype=np.float64),
        field=(at % num_fields).astype(np.uint8),
        fields=FIELDS,
        mean=np.round(points.mean(axis=0), 2),
        quantiles=points[:-1],
        maximum=points[-1],
        support=rng.integers(1, 2000, rows).astype(np.int32),
    )


def sample_cold_starts(rng: Rng, rows: int) -> ColdStarts:
    """Cold starts whose parts add up, to the microsecond."""
    t_s: NDArray[np.float64] = np.cumsum(rng.exponential(0.7, rows)).round(3)
    parts = np.round(rng.lognormal(-2.0, 1.5, (4, rows)), 6)
    parts[2, rng.random(rows) < 0.6] = 0.0  # no dependencies to deploy
    return ColdStarts(
        trace_id="sample",
        t_s=t_s,
        day=(t_s // 86_400).astype(np.int32),
        cluster=rng.integers(1, 5, rows).astype(np.uint8),
        function_id=rng.integers(0, 3000, rows).astype(np.int32),
        tenant_id=rng.integers(0, 1200, rows).astype(np.int32),
        request_key=_keys(rng, rows),
        cold_start_s=np.round(parts.sum(axis=0), 6),
        pod_alloc_s=parts[0],
        deploy_code_s=parts[1],
        deploy_deps_s=parts[2],
        scheduling_s=parts[3],
        pod=_pods(rng, rows),
    )


def sample_invocations(rng: Rng, rows: int) -> Invocations:
    """Invocations, some of them without what the front end saw."""
    stamps = np.round(2_592_000 + np.cumsum(rng.exponential(0.01, rows)), 3)
    costs = np.round(rng.lognormal(-4.0, 1.5, (8, rows)), 6)
    unseen = rng.random(rows) < 0.1
    worker_total, worker, runtime, *front = costs
    front_total, front_own, bus, read, write = (np.where(unseen, np.nan, c) for c in front)
    return Invocations(
        trace_id="sample",
        worker_at_s=stamps,
        frontend_at_s=np.where(unseen, np.nan, np.round(stamps + 0.002, 3)),
        request_key=_keys(rng, rows),
        cluster=rng.integers(1, 5, rows).astype(np.uint8),
        function_id=rng.integers(0, 3000, rows).astype(np.int32),
        tenant_id=rng.integers(0, 1200, rows).astype(np.int32),
        pod=_pods(rng, rows),
        worker_total_s=worker_total,
        worker_s=worker,
        runtime_s=runtime,
        frontend_total_s=front_total,
        frontend_s=front_own,
        bus_s=bus,
        read_body_s=read,
        write_response_s=write,
        cpu_cores=np.round(rng.exponential(0.2, rows), 6),
        memory_mb=np.round(rng.uniform(20, 120, rows), 6),
        body_bytes=np.where(unseen, np.nan, rng.integers(0, 5000, rows).astype(np.float64)),
    )


def _none() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


def _keys(rng: Rng, rows: int) -> NDArray[np.uint64]:
    return rng.integers(0, 2**64 - 1, rows, dtype=np.uint64)


def _pods(rng: Rng, rows: int) -> Pods:
    pool, cpu, mem = np.array(POD_SIZES, dtype=np.int32)[rng.integers(0, len(POD_SIZES), rows)].T
    return Pods(pool=pool, cpu_milli=cpu, mem_mb=mem, number=rng.integers(0, 10_000_000, rows))


def _prefix_ids(rng: Rng, lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    """Ids of all rows: the first few those of the row's group, the rest new."""
    rows, total = len(lengths), int(lengths.sum())
    place = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    shared = np.repeat(rng.integers(0, SHARED_BLOCKS_MAX + 1, rows), lengths)
    group = np.repeat(rng.integers(0, rows // 10 + 1, rows), lengths)
    first_new = (rows // 10 + 1) * SHARED_BLOCKS_MAX
    old = group * SHARED_BLOCKS_MAX + place
    result: NDArray[np.int64] = np.where(place < shared, old, first_new + np.arange(total))
    return result


def _azure(rng: Rng, rows: int, path: Path) -> None:
    write_trace(sample_requests(rng, rows), path, "azure")


def _azure_multimodal(rng: Rng, rows: int, path: Path) -> None:
    table = sample_requests(rng, rows)
    table.num_images = rng.poisson(0.7, rows).astype(np.int16)
    write_trace(table, path, "azure")


def _burstgpt(rng: Rng, rows: int, path: Path) -> None:
    table = sample_requests(rng, rows, stamp_digits=0)
    table.session_index[:] = -1
    table.e2e_s[:] = np.nan
    write_trace(table, path, "burstgpt")


def _burstgpt_3(rng: Rng, rows: int, path: Path) -> None:
    write_trace(sample_requests(rng, rows, stamp_digits=0), path, "burstgpt")


def _mooncake(rng: Rng, rows: int, path: Path) -> None:
    table = sample_requests(rng, rows, block_tokens=mooncake.BLOCK_TOKENS, prompt_mu=8.77)
    table.arrival_s = np.floor(table.arrival_s / 3.0) * 3.0
    write_trace(table, path, "mooncake")


def _bailian(rng: Rng, rows: int, path: Path) -> None:
    table = sample_requests(rng, rows, stamp_digits=3, block_tokens=bailian.BLOCK_TOKENS)
    write_trace(table, path, "bailian")


def _requests(rng: Rng, rows: int, path: Path) -> None:
    write_csv(sample_requests(rng, rows), path)


def _servegen(rng: Rng, rows: int, path: Path) -> None:
    write_windows(sample_windows(rng, rows), path)


def _servegen_client(rng: Rng, rows: int, path: Path) -> None:
    write_windows(sample_windows(rng, rows, clients=1), path, client=0)


def _servegen_tokens(rng: Rng, rows: int, path: Path) -> None:
    write_quantiles(sample_quantiles(rng, rows), path)


def _cold_starts(rng: Rng, rows: int, path: Path) -> None:
    write_cold_starts(sample_cold_starts(rng, rows), path)


def _invocations(rng: Rng, rows: int, path: Path) -> None:
    write_invocations(sample_invocations(rng, rows), path)


SAMPLES: Mapping[str, Callable[[Rng, int, Path], None]] = {
    "azure": _azure,
    "azure-multimodal": _azure_multimodal,
    "burstgpt": _burstgpt,
    "burstgpt-3": _burstgpt_3,
    "mooncake": _mooncake,
    "bailian": _bailian,
    "requests": _requests,
    "servegen": _servegen,
    "servegen-client": _servegen_client,
    "servegen-tokens": _servegen_tokens,
    "huawei-cold-starts": _cold_starts,
    "huawei-requests": _invocations,
}
