"""Speed of the simulated fleet behind its service graph. Run: make bench, or this file alone.

Writes tests/bench/results/graph.json. Row graph_16: the embedded scenario `small` four times as
large (16 x A100 with Llama-2-7B, chunk 512; gateway -> auth, retrieval, llm), Azure 2023
conversation of at most 4,096 tokens at 48 requests/s, users' and callers' timeouts, every exporter
scraped each 5 s; generated chat stands in where the trace is absent (MIDWATCH_DATA). CPU seconds of
one process from traffic to ledger, minimum, median and maximum of five runs after one to warm up.
`unscraped` is the same without telemetry, `engines_alone` the same requests straight into 16
instances. `loop_ns` is what a plain Python loop took a turn: shared machines vary.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson

from ops.catalogue import Catalogue
from ops.replay.run import run_world
from ops.replay.scenario import Scenario
from ops.replay.scenarios import load_embedded
from ops.replay.traffic import Traffic
from serving.policies import batch_policy, dispatch_policy
from serving.sim.cluster import Cluster
from serving.sim.cost_model import CostModel
from serving.sim.instances import make_instance
from serving.sim.kernel import Kernel
from serving.sim.outcomes import Arrivals
from serving.sim.run import playable
from serving.state import InstanceConfig
from serving.workload import RequestTable, generate, read_trace, to_rate

RUNS, SEED, RATE_RPS, SCALE = 5, 7, 48.0, 4
WANTED = 20_000  # requests per CPU second of graph_16, median
REPO = Path(__file__).parents[2]
DATA = Path(os.environ.get("MIDWATCH_DATA", REPO.parent / "shared" / "data")) / "traces"
AZURE = DATA / "azure_llm_2023" / "azure_llm_2023_conv.csv.gz"
RESULT = Path(__file__).parent / "results" / "graph.json"


def requests() -> RequestTable:
    if AZURE.is_file():
        return playable(read_trace(AZURE)[0], tokens_max=4096)
    table = generate(seed=SEED, duration_s=3600.0, rate_rps=5.0, failures=False)
    return playable(table, tokens_max=4096)


def scenario() -> Scenario:
    """`small`, four times as large, without faults or changes."""
    small = load_embedded("small")
    return replace(
        small,
        name="graph_16",
        duration_s=400.0,
        faults=(),
        changes=(),
        regions=tuple(
            replace(r, cpu_nodes=SCALE * r.cpu_nodes, gpu_nodes=SCALE * r.gpu_nodes)
            for r in small.regions
        ),
        services=tuple(
            replace(s, replicas=SCALE * s.replicas, replicas_max=SCALE * s.replicas_max)
            for s in small.services
        ),
        engine=replace(small.engine, instances=16, instances_max=32),
    )


def engines_alone(table: RequestTable) -> int:
    """The same requests through 16 instances, least loaded, with nothing around them."""
    cost_model, kernel = CostModel.of(gpu="A100", model="llama-2-7b"), Kernel()
    sent = Arrivals(
        table.arrival_s.tolist(), table.num_prompt_tokens.tolist(), table.num_output_tokens.tolist()
    )
    instances = [
        make_instance(
            kernel,
            f"i{k}",
            config=InstanceConfig(num_blocks=cost_model.kv_blocks()),
            policy=batch_policy("chunked-prefill", token_budget=512),
            cost_model=cost_model,
            times={},
        )
        for k in range(16)
    ]
    fleet = Cluster(kernel, instances, dispatch=dispatch_policy("least-loaded"), arrivals=sent)
    fleet.run_until(sent.at_s[-1] + 600.0)
    assert fleet.is_over
    return len(sent)


def loop_ns() -> float:
    """Nanoseconds of one turn of `total += i * 2`."""
    start, total = time.process_time(), 0
    for i in range(300_000):
        total += i * 2
    return (time.process_time() - start) / 300_000 * 1e9


def speed(work: Callable[[], int]) -> dict[str, dict[str, float]]:
    """Requests per CPU second of `work`, which returns how many requests it simulated."""
    speeds, loops = [], []
    work()
    for _ in range(RUNS):
        loops.append(loop_ns())
        gc.collect()
        start = time.process_time()
        num = work()
        speeds.append(num / (time.process_time() - start))
    return {"requests_per_cpu_s": spread(speeds), "loop_ns": spread(loops)}


def spread(values: list[float]) -> dict[str, float]:
    return {
        "min": round(min(values)),
        "median": round(statistics.median(values)),
        "max": round(max(values)),
    }


def main() -> None:
    catalogue, table, one = Catalogue.load(), requests(), scenario()
    world = None

    def graph(catalogue: Catalogue | None) -> int:
        nonlocal world
        world = run_world(
            one, Traffic(one, SEED, table), seed=SEED, rate_rps=RATE_RPS, controller=None,
            catalogue=catalogue,
        )  # fmt: skip
        return world.ledger.arrived

    at_rate = to_rate(table, RATE_RPS)
    figures = {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": SEED,
        "trace": AZURE.name if AZURE.is_file() else "generated",
        "graph_16": {"wanted_requests_per_cpu_s": WANTED, **speed(lambda: graph(catalogue))},
        "unscraped": speed(lambda: graph(None)),
        "engines_alone": speed(lambda: engines_alone(at_rate)),
    }
    assert world is not None
    figures["requests"] = world.ledger.arrived
    figures["ok_ratio"] = round(world.ledger.ok / world.ledger.arrived, 4)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
