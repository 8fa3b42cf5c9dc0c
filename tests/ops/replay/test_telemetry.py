"""Scrapes: what is visible when, what a failed scrape leaves, what the same seed repeats."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ops.catalogue import Catalogue
from ops.replay.exporters import JOBS
from ops.replay.scenario import TelemetrySpec
from ops.replay.telemetry import Telemetry
from rca.state import Entity, EntityKind, MetricFrame
from serving.sim.kernel import Kernel

SPEC = TelemetrySpec(gap_ratio=0.0)
CATALOGUE = Catalogue.load()


def observed(
    fleet: Any, spec: TelemetrySpec = SPEC, *, seed: int = 3, window_s: float = 600.0
) -> tuple[Kernel, Telemetry]:
    kernel = Kernel()
    telemetry = Telemetry(
        spec, regions=fleet.regions, catalogue=CATALOGUE, seed=seed, window_s=window_s
    )
    telemetry.start(kernel, fleet, 1e6)
    return kernel, telemetry


def column(frame: MetricFrame, name: str, **labels: str) -> np.ndarray[Any, Any]:
    """The only series of that name with these labels."""
    found = [
        index
        for index, series in enumerate(frame.series)
        if series.name == name and all(series.label(k) == v for k, v in labels.items())
    ]
    assert len(found) == 1, [frame.series[i] for i in found]
    return frame.values[:, found[0]]


def after(fleet: Any, until_s: float, spec: TelemetrySpec = SPEC, **kwargs: Any) -> MetricFrame:
    kernel, telemetry = observed(fleet, spec, **kwargs)
    kernel.run_until(until_s)
    return telemetry.frame(until_s, 600.0)


def test_rows_are_visible_after_the_delay_and_not_before(fake_fleet: Any) -> None:
    kernel, telemetry = observed(fake_fleet())
    kernel.run_until(25.9)
    assert telemetry.frame(25.9, 600.0).times_s.tolist() == [5.0, 10.0, 15.0, 20.0]
    kernel.run_until(26.0)
    assert telemetry.frame(26.0, 600.0).times_s.tolist() == [5.0, 10.0, 15.0, 20.0, 25.0]
    assert telemetry.frame(26.0, 10.0).times_s.tolist() == [20.0, 25.0]


def test_a_row_holds_what_was_scraped_within_its_interval(fake_fleet: Any) -> None:
    frame = after(fake_fleet(), 100.0)
    cpu = column(frame, "container_cpu_usage_seconds_total", pod="r1-back-0")
    age_s = frame.times_s - cpu
    assert (age_s > 0.0).all()
    assert (age_s <= 5.0).all()
    assert len(set(age_s.round(6))) > 1  # jitter


def test_every_series_has_a_role_and_the_scraper_s_region(fake_fleet: Any) -> None:
    frame = after(fake_fleet(), 60.0)
    frame.check()
    idle = {"db_client_connections_usage"}  # the idle half of the pool has no role of its own
    unknown = {s.name for s, role in zip(frame.series, frame.roles, strict=True) if role is None}
    assert unknown == idle
    assert {series.label("region") for series in frame.series} == {"r1", "r2"}
    assert {"scrape_up", "engine_waiting", "edge_latency", "gpu_sm_clock", "node_cpu"} <= {
        role.role for role in frame.roles if role
    }


def test_a_down_target_is_up_0_and_its_samples_are_missing(fake_fleet: Any) -> None:
    fleet = fake_fleet()
    kernel, telemetry = observed(fleet)
    kernel.run_until(50.0)
    fleet.pod("r1-back-0").up = False
    kernel.run_until(101.0)
    frame = telemetry.frame(101.0, 600.0)
    up = column(frame, "up", job="mesh", instance="r1-back-0")
    ok = column(frame, "istio_requests_total", pod="r1-back-0", response_code="200")
    late = frame.times_s > 51.0
    assert (up[late] == 0.0).all()
    assert (up[~late] == 1.0).all()
    assert np.isnan(ok[late]).all()
    assert not np.isnan(ok[~late]).any()
    other = column(frame, "istio_requests_total", pod="r1-back-1", response_code="200")
    assert not np.isnan(other).any()


def test_a_silenced_job_leaves_nothing_not_even_up(fake_fleet: Any) -> None:
    fleet = fake_fleet()
    kernel, telemetry = observed(fleet)
    kernel.run_until(50.0)
    fleet.silent.add(("r1", "mesh"))
    kernel.run_until(101.0)
    frame = telemetry.frame(101.0, 600.0)
    late = frame.times_s > 51.0
    assert np.isnan(column(frame, "up", job="mesh", instance="r1-back-0")[late]).all()
    assert not np.isnan(column(frame, "up", job="mesh", instance="r2-back-0")).any()
    good = telemetry.last_good(101.0)
    assert set(good) == {f"{region}/{job}" for region in ("r1", "r2") for job in JOBS}
    assert good["r1/mesh"] == 50.0
    assert good["r2/mesh"] == 100.0


def test_last_good_is_unknown_before_the_first_visible_row(fake_fleet: Any) -> None:
    kernel, telemetry = observed(fake_fleet())
    kernel.run_until(5.5)
    assert all(math.isnan(at_s) for at_s in telemetry.last_good(5.5).values())
    assert telemetry.frame(5.5, 600.0).values.shape == (0, 0)


def test_gpu_values_change_only_when_the_exporter_collects(fake_fleet: Any) -> None:
    frame = after(fake_fleet(), 301.0)
    energy = column(frame, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", pod="r1-llm-0")
    changes = np.flatnonzero(np.diff(energy))
    assert (np.diff(changes) == 6).all()  # 30 s at 5 s scrapes
    assert len(changes) >= 9


def test_a_new_pod_is_a_new_series_that_is_missing_before(fake_fleet: Any) -> None:
    fleet = fake_fleet()
    kernel, telemetry = observed(fleet)
    kernel.run_until(51.0)
    before = telemetry.frame(51.0, 600.0)
    fleet.add_pod("r1", "back", "r1-back-new")
    kernel.run_until(55.9)  # scraped, but its row is not visible yet
    assert telemetry.frame(55.9, 600.0).generation == before.generation
    kernel.run_until(56.0)
    frame = telemetry.frame(56.0, 600.0)
    assert frame.generation != before.generation
    cpu = column(frame, "container_cpu_usage_seconds_total", pod="r1-back-new")
    assert np.isnan(cpu[:-1]).all()
    assert not np.isnan(cpu[-1])
    assert frame.series[: len(before.series)] == before.series


def test_a_restarted_container_resets_its_counters(fake_fleet: Any) -> None:
    fleet = fake_fleet()
    kernel, telemetry = observed(fleet)
    pod = fleet.pod("r1-front-0")
    pod.source_edges["back"].retries = 9
    kernel.run_until(50.0)
    pod.source_edges = {"back": type(pod.source_edges["back"])()}
    kernel.run_until(61.0)
    retries = column(
        telemetry.frame(61.0, 600.0), "envoy_cluster_upstream_rq_retry", pod="r1-front-0"
    )
    assert retries.tolist() == [9.0] * 10 + [0.0] * 2


def test_roles_that_are_not_collected_have_no_series(fake_fleet: Any) -> None:
    left_out = ("gpu_sm_clock", "pool_in_use", "container_cpu", "scrape_up")
    full = after(fake_fleet(), 60.0)
    less = after(fake_fleet(), 60.0, replace(SPEC, not_collected=left_out))
    kept = [i for i, role in enumerate(full.roles) if role is None or role.role not in left_out]
    assert len(kept) < len(full.series)
    assert less.series == tuple(full.series[i] for i in kept)
    np.testing.assert_array_equal(less.values, full.values[:, kept])


def test_same_seed_gives_the_same_samples_and_another_seed_others(fake_fleet: Any) -> None:
    spec = replace(SPEC, gap_ratio=0.05)
    first, again = (after(fake_fleet(), 100.0, spec) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    assert first.series == again.series
    other = after(fake_fleet(), 100.0, spec, seed=4)
    assert not np.array_equal(first.values, other.values, equal_nan=True)


def test_gaps_of_a_target_depend_neither_on_other_targets_nor_on_names(fake_fleet: Any) -> None:
    spec = replace(SPEC, gap_ratio=0.1)
    few = after(fake_fleet(num_pods=1), 150.0, spec)
    many = after(fake_fleet(("r1", "r2", "r3"), num_pods=2), 150.0, spec)
    renamed = after(fake_fleet(("x", "a"), num_pods=1), 150.0, spec)
    up = column(few, "up", job="mesh", instance="r2-back-0")
    assert 0.0 < 1.0 - up.mean() < 0.4
    np.testing.assert_array_equal(up, column(many, "up", job="mesh", instance="r2-back-0"))
    np.testing.assert_array_equal(up, column(renamed, "up", job="mesh", instance="a-back-0"))
    np.testing.assert_array_equal(few.values, renamed.values)


def test_gap_ratio_is_the_share_of_failed_scrapes(fake_fleet: Any) -> None:
    frame = after(fake_fleet(), 400.0, replace(SPEC, gap_ratio=0.2))
    ups = [i for i, role in enumerate(frame.roles) if role and role.role == "scrape_up"]
    assert frame.values[:, ups].mean() == pytest.approx(0.8, abs=0.02)


def test_samples_go_on_in_their_series_after_the_buffer_was_renewed(fake_fleet: Any) -> None:
    fleet = fake_fleet()
    kernel, telemetry = observed(fleet, window_s=60.0)
    kernel.run_until(20.0)
    fleet.pods_by_region["r1"].remove(fleet.pod("r1-back-0"))
    kernel.run_until(401.0)
    frame = telemetry.frame(401.0, 60.0)
    frame.check()
    assert len(frame.times_s) == 12
    assert not any(series.label("pod") == "r1-back-0" for series in frame.series)
    cpu = column(frame, "container_cpu_usage_seconds_total", pod="r2-back-1")
    assert (frame.times_s - cpu <= 5.0).all()


def test_entities_are_those_of_the_diagnosis(fake_fleet: Any) -> None:
    frame = after(fake_fleet(), 60.0)
    entities = {(role.role, role.entity) for role in frame.roles if role}
    in_r2 = {
        "edge_latency": Entity(EntityKind.LINK, "r2", "front->back"),
        "hpa_desired": Entity(EntityKind.SERVICE, "r2", "llm"),
        "frontend_ttft": Entity(EntityKind.SERVICE, "r2", "front"),
        "gpu_xid": Entity(EntityKind.POD, "r2", "r2-llm-1"),
        "pool_pending": Entity(EntityKind.POD, "r2", "r2-front-1"),
        "node_ready": Entity(EntityKind.NODE, "r2", "r2-n1"),
        "image_pull_seconds": Entity(EntityKind.REGISTRY, "r2"),
        "scrape_up": Entity(EntityKind.TELEMETRY, "r2", "kubelet"),
    }
    assert set(in_r2.items()) <= entities
    groups = {role.group for role in frame.roles if role and role.role == "frontend_tpot"}
    assert groups == {"r1/interactive", "r2/interactive"}
