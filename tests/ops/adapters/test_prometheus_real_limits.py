"""A series of more samples than a range query may give: it comes back whole, by one question."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import ops
from ops.adapters.prometheus import PrometheusReader
from ops.clock import Deadline

T0_S, STEP_S, NUM = 1_700_000_000, 5, 12_001


def test_no_range_query_is_asked_anywhere():
    # Its 11,000 points a series are the limit that prometheus-api-client does not keep.
    for path in Path(ops.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "query_range" not in text, path


@pytest.mark.integration
@pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool are not installed (Debian package 'prometheus')",
)
def test_more_points_than_a_range_query_gives_come_whole(tmp_path, serve_prometheus):
    lines = [f"m_total {k} {T0_S + STEP_S * k}" for k in range(NUM)]
    text = "\n".join(["# TYPE m counter", *lines, "# EOF", ""])
    url = serve_prometheus(text, tmp_path)
    end_s = T0_S + STEP_S * (NUM - 1)
    asked = {"query": "m_total", "start": T0_S, "end": end_s, "step": STEP_S}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(asked)}")
    with PrometheusReader(url) as reader:
        answer = reader.samples(
            ["m_total"], after_ms=1000 * T0_S - 1, until_ms=1000 * end_s, matchers=(),
            deadline=Deadline.after(60.0),
        )  # fmt: skip
        raw = reader.raw_samples(
            ["m_total"], after_ms=1000 * T0_S - 1, until_ms=1000 * end_s, matchers=(),
            deadline=Deadline.after(60.0),
        )  # fmt: skip
    assert answer.values.tolist() == list(range(NUM))
    np.testing.assert_array_equal(raw.values, answer.values)
    np.testing.assert_array_equal(raw.times_s, answer.times_s)
