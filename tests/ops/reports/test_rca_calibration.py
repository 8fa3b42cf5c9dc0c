"""Counts beside a confidence: shown only for the numbers that they were counted with."""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import pairwise

from ops.reports.calibration import calibrated, load_rca_calibration
from rca.presence import CONFIDENCE, PRESENCE_MIN


def test_counts_of_other_weights_are_not_shown():
    assert load_rca_calibration([*CONFIDENCE[:-1], CONFIDENCE[-1] - 0.5], PRESENCE_MIN) == ((), "")
    assert load_rca_calibration(CONFIDENCE, PRESENCE_MIN + 0.5) == ((), "")


def test_the_packaged_counts_are_counts():
    raw = json.loads((files("ops.reports") / "rca_calibration.json").read_text())
    bins, source = load_rca_calibration(raw["weights"], raw["presence_min"])
    assert source and len(bins) == 5
    assert sum(b.cases for b in bins) == raw["incidents"] + raw["quiet"]
    assert all(a.high <= b.low for a, b in pairwise(bins))
    found = calibrated(0.99, bins, source)
    assert found is not None and found.hits <= found.cases
