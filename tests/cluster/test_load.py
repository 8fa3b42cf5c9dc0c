"""A tenth of the stated load: the same limits must hold with room to spare."""

from __future__ import annotations

import json

import pytest

from tests.cluster.load import Load, measure

LOAD = Load(fleets=20, pods=50, changes_per_s=50.0, warm_s=10.0, seconds=20.0)
CORES_MAX, RSS_MIB_MAX, P99_S_MAX = 1.0, 512.0, 2.0
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure(
        f"{LOAD.fleets} fleets of {LOAD.pods} pods, {LOAD.changes_per_s:.0f} pod changes/s: below "
        f"{CORES_MAX:.0f} core, {RSS_MIB_MAX:.0f} MiB, {P99_S_MAX:.0f} s from a change to a "
        "decision (p99)"
    ),
]


def test_many_fleets_stay_within_the_limits_of_one_operator(installed, tmp_path, say):
    figures = measure(installed, tmp_path, LOAD)
    say(json.dumps(figures))
    assert figures["operator_cores"] < CORES_MAX
    assert figures["operator_rss_peak_mib"] < RSS_MIB_MAX
    assert figures["watch_to_decision_s"]["p99"] <= P99_S_MAX
    assert figures["incidents"] == 0
