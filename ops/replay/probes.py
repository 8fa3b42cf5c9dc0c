"""Probes: how one meter becomes named samples. Mesh, client pools, frontends and engines live here.

Names and labels are those of the real exporters; a probe reads values in the order of its names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ops.replay.fleet_view import PodView
from ops.replay.meters import EdgeMeter, FrontendMeter, PoolMeter
from serving.metrics import EngineMeters, Histogram
from serving.state import FinishReason, RejectReason

Labels = Mapping[str, str]
Named = list[tuple[str, Labels]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Reads one sort of meter.

    Attributes:
        labels: owner -> target labels.
        names: (owner, other, meter) -> names and own labels, in the order of `read`.
        read: meter -> values.
        count: meter -> a number that rises whenever a value of it changes; None = no such number.
    """

    name: str
    labels: Callable[[Any], Labels]
    names: Callable[[Any, Any, Any], Named]
    read: Callable[[Any], Sequence[float]]
    count: Callable[[Any], int] | None = None


def pod_labels(pod: PodView) -> Labels:
    """Target labels of a scraped pod."""
    return {"region": pod.region, "pod": pod.name, "service": pod.service, "node": pod.node}


def histogram_names(name: str, bounds: Sequence[float], labels: Labels, scale: float) -> Named:
    """Name the cumulative buckets, sum and count; `scale` turns seconds into the stored unit."""
    buckets = [(f"{name}_bucket", {**labels, "le": repr(bound * scale)}) for bound in bounds]
    infinite = (f"{name}_bucket", {**labels, "le": "+Inf"})
    return [*buckets, infinite, (f"{name}_sum", labels), (f"{name}_count", labels)]


def histogram_values(histogram: Histogram, scale: float = 1.0) -> list[float]:
    """Read what `histogram_names` names."""
    return [*accumulate(histogram.counts), histogram.sum * scale, histogram.count]


def _num_observed(histogram: Histogram) -> int:
    return histogram.count


def read_number(count: float) -> tuple[float]:
    """Read a meter that is one number."""
    return (count,)


# Mesh and application: sidecars, client pools, frontends.
def _edge_names(source: bool) -> Callable[[PodView, str, EdgeMeter], Named]:
    def names(pod: PodView, other: str, meter: EdgeMeter) -> Named:
        caller, callee = (pod.service, other) if source else (other, pod.service)
        ends = {"source_workload": caller, "destination_workload": callee}
        side = {"reporter": "source" if source else "destination", **ends}
        cluster = {"envoy_cluster_name": f"outbound|8080||{callee}.default.svc.cluster.local"}
        latency = "istio_request_duration_milliseconds"
        return [
            ("istio_requests_total", {**side, "response_code": "200"}),
            ("istio_requests_total", {**side, "response_code": "503"}),
            *histogram_names(latency, meter.latency.bounds, side, 1000.0),
            *(
                [
                    ("envoy_cluster_upstream_rq_retry", cluster),
                    ("envoy_cluster_upstream_rq_timeout", cluster),
                    ("envoy_cluster_upstream_cx_connect_fail", cluster),
                ]
                if source
                else []
            ),
        ]

    return names


def _read_dest_edge(meter: EdgeMeter) -> list[float]:
    latency = meter.latency
    return [meter.requests_ok, meter.requests_error,
            *accumulate(latency.counts), latency.sum * 1000.0, latency.count]  # fmt: skip


def _read_source_edge(meter: EdgeMeter) -> list[float]:
    latency = meter.latency
    return [meter.requests_ok, meter.requests_error,
            *accumulate(latency.counts), latency.sum * 1000.0, latency.count,
            meter.retries, meter.timeouts, meter.connect_failures]  # fmt: skip


def _num_counted(meter: EdgeMeter) -> int:
    return (meter.requests_ok + meter.requests_error + meter.latency.count
            + meter.retries + meter.timeouts + meter.connect_failures)  # fmt: skip


def _pool_names(_pod: PodView, callee: str, _meter: PoolMeter) -> Named:
    pool = {"pool_name": callee}
    return [
        ("db_client_connections_usage", {**pool, "state": "used"}),
        ("db_client_connections_usage", {**pool, "state": "idle"}),
        ("db_client_connections_max", pool),
        ("db_client_connections_pending_requests", pool),
        ("db_client_connections_timeouts_total", pool),
    ]


def _read_pool(meter: PoolMeter) -> list[float]:
    idle = max(meter.size - meter.in_use, 0)
    return [meter.in_use, idle, meter.size, meter.pending, meter.timeouts]


def _frontend_names(_pod: PodView, slo_class: str, _meter: FrontendMeter) -> Named:
    return [("http_server_active_requests", {"slo_class": slo_class})]


def _frontend_histogram(attribute: str, name: str) -> Probe:
    def names(_pod: PodView, slo_class: str, histogram: Histogram) -> Named:
        return histogram_names(name, histogram.bounds, {"slo_class": slo_class}, 1.0)

    return Probe(name=attribute, labels=pod_labels, names=names, read=histogram_values,
                 count=_num_observed)  # fmt: skip


def _answer_names(_pod: PodView, other: tuple[str, ...], _counts: Mapping[str, int]) -> Named:
    slo_class, *codes = other
    return [
        ("http_requests_total", {"slo_class": slo_class, "code": code, "status": f"{code[0]}xx"})
        for code in codes
    ]


def _read_answers(by_status: Mapping[str, int]) -> list[float]:
    return list(by_status.values())


SOURCE_EDGE = Probe(
    name="source", labels=pod_labels, names=_edge_names(True), read=_read_source_edge,
    count=_num_counted,
)  # fmt: skip
DEST_EDGE = Probe(
    name="destination", labels=pod_labels, names=_edge_names(False), read=_read_dest_edge,
    count=_num_counted,
)  # fmt: skip
POOL = Probe(name="pool", labels=pod_labels, names=_pool_names, read=_read_pool)
FRONTEND = Probe(
    name="frontend", labels=pod_labels, names=_frontend_names, read=lambda m: (m.in_flight,)
)
FRONTEND_TTFT = _frontend_histogram("ttft", "gen_ai_server_time_to_first_token_seconds")
FRONTEND_TPOT = _frontend_histogram("tpot", "gen_ai_server_time_per_output_token_seconds")
ANSWERS = Probe(name="answers", labels=pod_labels, names=_answer_names, read=_read_answers)


# Engines.
def _engine_labels(model: str) -> Labels:
    return {"model_name": model, "engine": "0"}


def _engine_histogram(name: str) -> Probe:
    def names(_pod: PodView, other: tuple[str, int], histogram: Histogram) -> Named:
        return histogram_names(name, histogram.bounds, _engine_labels(other[0]), 1.0)

    return Probe(name=name, labels=pod_labels, names=names, read=histogram_values,
                 count=_num_observed)  # fmt: skip


_ENGINE_HISTOGRAMS = (
    ("vllm:time_to_first_token_seconds", "ttft"),
    ("vllm:inter_token_latency_seconds", "inter_token_latency"),
    ("vllm:e2e_request_latency_seconds", "e2e"),
    ("vllm:request_queue_time_seconds", "queue_time"),
    ("vllm:request_prefill_time_seconds", "prefill_time"),
    ("vllm:request_decode_time_seconds", "decode_time"),
    ("vllm:iteration_tokens_total", "iteration_tokens"),
)


def _engine_names(_pod: PodView, other: tuple[str, int], meter: EngineMeters) -> Named:
    own = _engine_labels(other[0])
    cache = {
        "engine": "0",
        "num_gpu_blocks": str(meter.cache_config.num_gpu_blocks),
        "block_size": str(meter.cache_config.block_size),
    }
    named: Named = [
        ("vllm:num_requests_running", own),
        ("vllm:num_requests_waiting", own),
        ("vllm:kv_cache_usage_perc", own),
        ("vllm:num_preemptions_total", own),
        ("vllm:prompt_tokens_total", own),
        ("vllm:generation_tokens_total", own),
        ("vllm:cache_config_info", cache),
    ]
    for finish in FinishReason:
        named.append(("vllm:request_success_total", {**own, "finished_reason": finish.value}))
    for reject in RejectReason:
        named.append(("vllm:admission_rejections_total", {**own, "reason": reject.value}))
    return named


def _read_engine(meter: EngineMeters) -> list[float]:
    return [
        meter.running,
        meter.waiting,
        meter.kv_usage_ratio,
        meter.preemptions,
        meter.prompt_tokens,
        meter.generation_tokens,
        1.0,
        *[meter.success.get(finish, 0) for finish in FinishReason],
        *[meter.rejections.get(reject, 0) for reject in RejectReason],
    ]


ENGINE = Probe(name="engine", labels=pod_labels, names=_engine_names, read=_read_engine)


def _cache_names(_pod: PodView, other: tuple[str, int], _meter: EngineMeters) -> Named:
    own = _engine_labels(other[0])
    return [("vllm:prefix_cache_queries_total", own), ("vllm:prefix_cache_hits_total", own)]


def _read_cache(meter: EngineMeters) -> list[float]:
    return [meter.prefix_cache_queries, meter.prefix_cache_hits]


PREFIX_CACHE = Probe(name="prefix-cache", labels=pod_labels, names=_cache_names, read=_read_cache)
# Attribute of the engine's meters -> its probe.
ENGINE_HISTOGRAMS = {attribute: _engine_histogram(name) for name, attribute in _ENGINE_HISTOGRAMS}
