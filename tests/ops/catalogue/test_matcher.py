"""What the shipped catalogue says of real metric names, and how a broken one is refused."""

from __future__ import annotations

import pytest

from ops.catalogue import Catalogue
from ops.errors import CatalogueError
from rca.state import Direction, Entity, EntityKind, MetricKind, ResourceClass, Series

CATALOGUE = Catalogue.load()
POD = {"region": "r", "pod": "p", "service": "s", "node": "n"}
EDGE = {"region": "r", "source_workload": "a", "destination_workload": "b"}


def series(name: str, **labels: str) -> Series:
    return Series(name, tuple(sorted(labels.items())))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("vllm:num_requests_waiting", "engine_waiting"),
        ("vllm_num_requests_waiting", "engine_waiting"),  # what some scrape paths store
        ("sglang:num_queue_reqs", "engine_waiting"),
        ("sglang_num_queue_reqs", "engine_waiting"),
        ("trtllm_num_requests_waiting", "engine_waiting"),
        ("vllm:kv_cache_usage_perc", "engine_kv_usage"),
        ("vllm:gpu_cache_usage_perc", "engine_kv_usage"),  # gone since 2025
        ("sglang:token_usage", "engine_kv_usage"),
        ("vllm:num_preemptions_total", "engine_preemptions"),
        ("vllm:num_preemptions", "engine_preemptions"),
        ("sglang:num_retracted_requests_total", "engine_preemptions"),
        ("vllm:time_per_output_token_seconds_sum", "engine_itl"),  # gone since 2025
        ("vllm:inter_token_latency_seconds_count", "engine_itl"),
        ("vllm:iteration_tokens_total_sum", "engine_iteration_tokens"),  # a histogram, despite
        ("vllm:cache_config_info", "engine_kv_blocks"),
        ("DCGM_FI_DEV_SM_CLOCK", "gpu_sm_clock"),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "gpu_dram_active"),
        ("container_memory_working_set_bytes", "container_memory"),
        ("container_cpu_cfs_throttled_seconds_total", "container_throttled_seconds"),
        ("kube_pod_container_status_restarts_total", "pod_restarts"),
        ("gen_ai_server_time_to_first_token_seconds_bucket", "frontend_ttft"),
        ("gen_ai.server.time_to_first_token_seconds_bucket", "frontend_ttft"),  # Prometheus 3
        ("db_client_connections_pending_requests", "pool_pending"),
        ("node_load1", "node_load1"),
    ],
)
def test_names_of_every_scrape_path_give_the_role(name: str, role: str) -> None:
    found = CATALOGUE.resolve(series(name, **POD))
    assert found is not None
    assert found.role == role


@pytest.mark.parametrize(
    "name", ["vllm:num_requests_waiting_by_reason", "go_goroutines", "", "up_total", "wup"]
)
def test_other_names_are_unknown(name: str) -> None:
    assert CATALOGUE.resolve(series(name, **POD)) is None


def test_labels_tell_errors_of_an_edge_from_its_requests() -> None:
    name, source = "istio_requests_total", {**EDGE, "reporter": "source"}
    good = CATALOGUE.resolve(series(name, **source, response_code="200"))
    bad = CATALOGUE.resolve(series(name, **source, response_code="504"))
    assert good and bad
    assert (good.role, good.kind) == ("edge_requests", MetricKind.RATE)
    assert (bad.role, bad.kind) == ("edge_errors", MetricKind.ERRORS)
    assert good.entity == bad.entity == Entity(EntityKind.LINK, "r", "a->b")
    assert good.group == bad.group == "source"
    assert good.counter


def test_a_bucket_carries_its_bound_and_its_group() -> None:
    labels = {"region": "r", "service": "s", "slo_class": "batch", "le": "+Inf"}
    found = CATALOGUE.resolve(
        series("gen_ai_server_time_per_output_token_seconds_bucket", **labels)
    )
    assert found
    assert (found.part, found.upper_bound) == ("bucket", float("inf"))
    assert found.group == "r/batch"
    assert found.entity == Entity(EntityKind.SERVICE, "r", "s")


@pytest.mark.parametrize(
    ("labels", "group", "kind"),
    [
        ({"status": "2xx"}, "2xx", MetricKind.RATE),
        ({"status": "429"}, "4xx", MetricKind.ERRORS),
        ({"http_response_status_code": "503"}, "5xx", MetricKind.ERRORS),
    ],
)
def test_answers_to_users_are_grouped_by_status_class(
    labels: dict[str, str], group: str, kind: MetricKind
) -> None:
    found = CATALOGUE.resolve(series("http_requests_total", **POD, slo_class="c", **labels))
    assert found
    assert (found.role, found.group, found.kind) == ("frontend_requests", group, kind)


def test_the_callee_of_an_envoy_cluster_is_its_service() -> None:
    for host in ("b.default.svc.cluster.local", "b"):
        found = CATALOGUE.resolve(
            series(
                "envoy_cluster_upstream_rq_timeout",
                **{**POD, "service": "a"},
                envoy_cluster_name=f"outbound|8080||{host}",
            )
        )
        assert found
        assert found.entity == Entity(EntityKind.LINK, "r", "a->b")


def test_labels_that_a_scrape_renamed_speak_of_the_workload() -> None:
    found = CATALOGUE.resolve(
        series("DCGM_FI_DEV_XID_ERRORS", region="r", pod="exporter", exported_pod="p", gpu="3")
    )
    assert found
    assert found.entity == Entity(EntityKind.POD, "r", "p")
    assert (found.group, found.hardware) == ("3", True)


def test_a_gpu_that_nobody_holds_belongs_to_its_node() -> None:
    found = CATALOGUE.resolve(series("DCGM_FI_DEV_GPU_TEMP", region="r", Hostname="n"))
    assert found
    assert found.entity == Entity(EntityKind.NODE, "r", "n")


def test_a_series_without_its_entity_or_region_is_unknown() -> None:
    assert CATALOGUE.resolve(series("vllm:num_requests_waiting", region="r")) is None
    assert CATALOGUE.resolve(series("vllm:num_requests_waiting", pod="p")) is None


def test_bad_direction_follows_the_label_where_it_must() -> None:
    idle = CATALOGUE.resolve(series("node_cpu_seconds_total", **POD, mode="idle"))
    busy = CATALOGUE.resolve(series("node_cpu_seconds_total", **POD, mode="system"))
    assert idle and busy
    assert (idle.role, idle.bad) == ("node_cpu_idle", Direction.DOWN)
    assert (busy.role, busy.bad) == ("node_cpu", Direction.UP)


def test_units_are_as_stored() -> None:
    info = CATALOGUE.info(series("istio_request_duration_milliseconds_sum", **EDGE))
    assert info
    assert (info.unit, info.type, info.resource) == (
        "milliseconds",
        "histogram",
        ResourceClass.NETWORK,
    )


HEAD = 'region = ["region"]\n[entities]\npod = [["pod"]]\n'
ENTRY = (
    '[[roles]]\nrole = "x"\nnames = ["a"]\ntype = "gauge"\nkind = "queue"\nresource = "load"\n'
    'bad = "up"\nentity = ["pod"]\n'
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("= 3", "not TOML"),
        ("", "no usable"),
        (HEAD, "no usable"),
        (HEAD + ENTRY.replace('"gauge"', '"gage"'), "gage"),
        (HEAD + ENTRY.replace('"up"', '"sideways"'), "sideways"),
        (HEAD + ENTRY.replace('["pod"]', '["node"]'), "node"),
        (HEAD + ENTRY + 'where = { a = "(" }\n', "roles[0] ('x')"),
        ("roles = [3]\n" + HEAD, "roles[0] (3)"),
    ],
)
def test_a_broken_catalogue_is_refused_with_the_fault_named(text: str, told: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(text)
    assert told in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    text = HEAD + ENTRY.replace('"gauge"', "1") + ENTRY.replace('"load"', '"loud"')
    with pytest.raises(CatalogueError, match=r"roles\[0\].*roles\[1\]"):
        Catalogue.load(text)
