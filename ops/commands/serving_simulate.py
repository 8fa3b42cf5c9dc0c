"""`midwatch serving simulate`: a trace, a fleet and policies; latencies, goodput, a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def _option(panel: str, help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel)


TRAFFIC, FLEET, POLICY, LIMITS, RESULT = "Traffic", "Fleet", "Policies", "Limits", "Result"

# Held to what the simulator knows by a test: reading it here would slow every --help down.
GPUS = "A10, A100, B200, H100, H20, H200, L4, L40S, RTX-4090, RTX-PRO-6000"
MODELS = "llama-2-7b, llama-2-70b, llama-3.1-8b, qwen3-32b, yi-34b"

Trace = Annotated[
    str, _option(TRAFFIC, "Trace file (public ones, or CSV like Azure's), or: generated.")
]
Format = Annotated[str, _option(TRAFFIC, "Of the trace; auto looks at its first line.", "--format")]
Rate = Annotated[
    float | None, _option(TRAFFIC, "Requests/s; stamps are stretched to it. Without, as recorded.")
]
Load = Annotated[
    float | None, _option(TRAFFIC, "Rate as a share of what the saturated fleet answers.")
]
Duration = Annotated[float | None, _option(TRAFFIC, "Seconds of traffic, at that rate.")]
TokensMax = Annotated[
    int, _option(TRAFFIC, "Leave out requests with more, prompt + output; 0 = none.")
]
SkipBadRows = Annotated[
    bool, _option(TRAFFIC, "Drop and count rows that cannot be used.", "--skip-bad-rows")
]
Seed = Annotated[int, _option(TRAFFIC, "Of generated traffic.")]
Gpu = Annotated[str, _option(FLEET, f"{GPUS}, or a file of fit-profile.")]
Model = Annotated[str, _option(FLEET, f"{MODELS}.")]
Instances = Annotated[int, _option(FLEET, "Number of instances.")]
Tp = Annotated[int, _option(FLEET, "GPUs per instance (tensor parallel).")]
Sequences = Annotated[int, _option(FLEET, "Most sequences in a batch (max_num_seqs).")]
PrefixCache = Annotated[
    bool,
    _option(
        FLEET,
        "Instances keep the KV of prompts for later ones that begin alike; needs a trace with "
        "prefix ids (mooncake, bailian) or generated traffic. Runs once more without. Slower.",
        "--prefix-cache",
    ),
]
Policy = Annotated[
    str, _option(POLICY, "Batch policy: chunked-prefill, fcfs (also called prefill-first).")
]
Chunk = Annotated[
    int,
    _option(
        POLICY,
        "Tokens per iteration (max_num_batched_tokens); 0 = 512 for chunked-prefill, 2048 for "
        "fcfs.",
    ),
]
Dispatch = Annotated[
    str, _option(POLICY, "Dispatch policy: least-loaded, prefix-aware, round-robin.")
]
Compare = Annotated[
    str,
    _option(
        POLICY,
        "Up to six variants on the same requests, comma separated; each names a batch policy, "
        "a dispatch policy, a chunk, or some of them joined by +.",
    ),
]
SloTtft = Annotated[float, _option(LIMITS, "Limit of TTFT in seconds; inf = none.")]
SloTpot = Annotated[float, _option(LIMITS, "Limit of TPOT in seconds; inf = none.")]
SloTarget = Annotated[float, _option(LIMITS, "Share of the requests within both.")]
FindCapacity = Annotated[
    bool, _option(LIMITS, "Also search the highest rate within the limits.", "--capacity")
]
AsJson = Annotated[bool, _option(RESULT, "Print the figures as JSON.", "--json")]
Out = Annotated[Path | None, _option(RESULT, "Folder for report.html and result.json.")]


def simulate(
    trace: Trace = "generated",
    trace_format: Format = "auto",
    rate: Rate = None,
    load: Load = None,
    duration: Duration = None,
    tokens_max: TokensMax = 0,
    skip_bad_rows: SkipBadRows = False,
    seed: Seed = 7,
    gpu: Gpu = "a100",
    model: Model = "llama-3.1-8b",
    instances: Instances = 4,
    tp: Tp = 1,
    sequences: Sequences = 128,
    prefix_cache: PrefixCache = False,
    policy: Policy = "chunked-prefill",
    chunk: Chunk = 0,
    dispatch: Dispatch = "least-loaded",
    compare: Compare = "",
    slo_ttft: SloTtft = 1.0,
    slo_tpot: SloTpot = 0.05,
    slo_target: SloTarget = 0.9,
    capacity: FindCapacity = False,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Simulate a vLLM-like fleet: TTFT, TPOT, TBT, attainment, utilisation; compare policies.

    Exit code 1: no variant keeps the wanted share of requests within the limits.

    Example: `midwatch serving simulate --trace azure_conv.csv --gpu a100 --model llama-2-7b
    --instances 16 --tokens-max 4096 --rate 48 --compare fcfs,chunked-prefill --out out/serving`

    Highest rate at a TTFT p90 of 1 s: `midwatch serving simulate --capacity --slo-ttft 1
    --slo-tpot inf --slo-target .9`

    What the options and figures mean: docs/simulate.md

    What prefix caches are worth: `midwatch serving simulate --trace conversation_trace.jsonl
    --gpu h100 --instances 16 --prefix-cache --compare round-robin,least-loaded,prefix-aware`
    """
    from ops.commands.serving_simulate_run import Asked, run_simulate

    run_simulate(
        Asked(
            trace=trace, trace_format=trace_format, rate_rps=rate, load=load, duration_s=duration,
            tokens_max=tokens_max, skip_bad_rows=skip_bad_rows, seed=seed, gpu=gpu, model=model,
            instances=instances, tp=tp, sequences=sequences, prefix_cache=prefix_cache,
            policy=policy, chunk=chunk, dispatch=dispatch, compare=compare,
            slo_ttft_s=slo_ttft, slo_tpot_s=slo_tpot, slo_target=slo_target,
            capacity=capacity, as_json=as_json, out=out,
        )
    )  # fmt: skip
