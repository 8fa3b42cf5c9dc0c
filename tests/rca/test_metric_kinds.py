"""Words of metric names -> kind, bad direction."""

from __future__ import annotations

import pytest

from rca.metric_kinds import Measured, sense


@pytest.mark.parametrize(
    ("name", "kind", "bad"),
    [
        ("cpu", Measured.CPU, 0),
        ("container-cpu-usage-seconds-total", Measured.CPU, 0),
        ("load15", Measured.CPU, 0),
        ("mem-rss", Measured.MEMORY, 0),
        ("jvm-heap-used", Measured.MEMORY, 0),
        ("mem-cache", Measured.DISK, 0),
        ("mem-failures", Measured.DISK, 0),
        ("kv-cache-usage", Measured.GPU, 0),
        ("DCGM-FI-DEV-GPU-TEMP", Measured.GPU, 0),
        ("diskio", Measured.DISK, 0),
        ("disk-read-latency", Measured.DISK, 0),
        ("net-rx-pkts", Measured.NETWORK, 0),
        ("socket", Measured.NETWORK, 0),
        ("latency-90", Measured.LATENCY, 1),
        ("responseTime", Measured.LATENCY, 1),
        ("client-latency-95", Measured.CLIENT_LATENCY, 1),
        ("error", Measured.ERRORS, 1),
        ("http-5xx", Measured.ERRORS, 1),
        ("success-rate", Measured.SUCCESS, -1),
        ("availability", Measured.AVAILABILITY, -1),
        ("restarts", Measured.AVAILABILITY, 1),
        ("num-requests-waiting", Measured.QUEUE, 1),
        ("workload", Measured.TRAFFIC, 0),
        ("requests", Measured.TRAFFIC, 0),
        ("node-cpu", Measured.NODE, 0),
        ("frobnication", Measured.OTHER, 0),
    ],
)
def test_names_are_read_by_their_words(name, kind, bad):
    found = sense(name)
    assert (found.kind, found.bad) == (kind, bad)
    assert 0.0 < found.weight <= 1.0


def test_a_resource_says_more_about_its_owner_than_what_others_cause():
    weights = [
        sense(n).weight for n in ("cpu", "latency", "requests", "client-latency", "node-cpu")
    ]
    assert weights == sorted(weights, reverse=True)
