"""Frame -> text -> frame loses nothing, and other people's parsers read the text."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ops.catalogue import Catalogue
from ops.errors import MetricsTextError
from ops.replay import openmetrics
from ops.replay.buffer import FrameBuffer
from ops.replay.openmetrics import REAL_NAN, metrics_text
from ops.replay.openmetrics_read import parse_metrics
from ops.replay.scenario import TelemetrySpec
from ops.replay.telemetry import Telemetry
from rca.state import MetricFrame, Series
from serving.sim.kernel import Kernel

CATALOGUE = Catalogue.load()
NAMES = [
    "vllm:num_requests_waiting",
    "vllm:num_preemptions_total",
    "vllm:iteration_tokens_total_bucket",
    "vllm:iteration_tokens_total_sum",
    "istio_request_duration_milliseconds_sum",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "up",
    # Clash with each other or with the families above, as strange exporters do.
    "x",
    "x_total",
    "x_sum",
    "vllm:iteration_tokens",
    "vllm:num_preemptions",
]
Cells = dict[tuple[float, Series], bytes]


def cells(frame: MetricFrame) -> Cells:
    """Samples of a frame bit by bit: tells a scraped NaN from an absent sample, -0 from 0."""
    frame.check()
    absent = np.float64(np.nan).tobytes()
    values = np.asarray(frame.values, dtype=np.float64)
    found = {
        (float(frame.times_s[t]), series): values[t, n].tobytes()
        for t in range(len(frame.times_s))
        for n, series in enumerate(frame.series)
    }
    return {key: value for key, value in found.items() if value != absent}


def scraped(fleet: Any, until_s: float, window_s: float) -> MetricFrame:
    kernel = Kernel()
    telemetry = Telemetry(
        TelemetrySpec(gap_ratio=0.05), regions=fleet.regions, catalogue=CATALOGUE, seed=1
    )
    telemetry.start(kernel, fleet, until_s)
    kernel.run_until(until_s)
    return telemetry.frame(until_s, window_s)


labels = st.dictionaries(
    st.sampled_from(["region", "pod", "le", "reporter"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
one_series = st.builds(
    lambda name, pairs: Series(name, tuple(sorted(pairs.items()))), st.sampled_from(NAMES), labels
)
numbers = st.one_of(st.floats(allow_nan=False), st.just(REAL_NAN), st.integers(0, 2**53).map(float))


some_rows = st.lists(st.dictionaries(one_series, numbers, max_size=5), max_size=6)


@settings(max_examples=15, deadline=None)
@given(rows=some_rows)
def test_buffer_to_text_to_frame_is_the_same_frame(rows: list[dict[Series, float]]) -> None:
    check_round_trip(rows)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(rows=some_rows)
def test_many_buffers_to_text_to_frame_are_the_same(rows: list[dict[Series, float]]) -> None:
    check_round_trip(rows)


def check_round_trip(rows: list[dict[Series, float]]) -> None:
    buffer = FrameBuffer(rows_min=8, step_s=5.0, origin_s=1.7e9)
    for samples in rows:
        buffer.open_row()
        columns = [buffer.column(series, CATALOGUE.resolve(series)) for series in samples]
        buffer.write(np.array(columns, dtype=np.intp), list(samples.values()))
    frame = buffer.frame(0, len(rows) - 1)
    again = parse_metrics(metrics_text(frame), step_s=5.0, catalogue=CATALOGUE)
    assert cells(again) == cells(frame)
    roles = dict(zip(frame.series, frame.roles, strict=True))
    assert all(roles[s] == role for s, role in zip(again.series, again.roles, strict=True))
    assert metrics_text(again) == metrics_text(frame)


def test_a_scraped_window_survives_the_text(fake_fleet: Any) -> None:
    frame = scraped(fake_fleet(("r1",), num_pods=1), 41.0, 30.0)
    again = parse_metrics(metrics_text(frame), step_s=frame.step_s, catalogue=CATALOGUE)
    assert cells(again) == cells(frame)
    np.testing.assert_array_equal(again.times_s, frame.times_s)


def test_prometheus_client_reads_the_same_types_and_samples(fake_fleet: Any) -> None:
    frame = scraped(fake_fleet(("r1",), num_pods=1), 41.0, 30.0)
    types: dict[str, str] = {}
    # Row by row: its parser drops samples of a histogram that has several timestamps, because it
    # takes equal label sets at different times for duplicates.
    for row in range(len(frame.times_s)):
        here = slice(row, row + 1)
        one = replace(frame, times_s=frame.times_s[here], values=frame.values[here])
        read: dict[Series, float] = {}
        for family in text_string_to_metric_families(metrics_text(one)):
            types[family.name] = family.type
            for sample in family.samples:
                read[Series(sample.name, tuple(sorted(sample.labels.items())))] = sample.value
        present = {series: np.frombuffer(raw)[0] for (_, series), raw in cells(one).items()}
        assert read == present
    expected = {
        "vllm:num_preemptions": "counter",
        "vllm:iteration_tokens_total": "histogram",
        "istio_request_duration_milliseconds": "histogram",
        "kubelet_image_pull_duration_seconds": "summary",
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": "unknown",
        "up": "gauge",
    }
    assert {name: types[name] for name in expected} == expected


def test_names_that_clash_become_families_of_their_own() -> None:
    pod = (("pod", "p"), ("region", "r"))
    names = ("num_preemptions_total", "num_preemptions", "num_preemptions_created", "swaps")
    series = tuple(Series(f"vllm:{name}", pod) for name in names)
    roles = tuple(CATALOGUE.resolve(one) for one in series)
    frame = MetricFrame(np.ones(1), np.arange(1.0, 5.0)[None, :], series, roles, 1.0)
    families = list(text_string_to_metric_families(metrics_text(frame)))
    assert {f.name: (f.type, f.samples[0].value) for f in families} == {
        "vllm:num_preemptions_total": ("unknown", 1.0),
        "vllm:num_preemptions": ("unknown", 2.0),
        "vllm:num_preemptions_created": ("unknown", 3.0),
        "vllm:swaps": ("unknown", 4.0),
    }


def test_series_of_one_name_share_a_family_whether_known_or_not() -> None:
    pods = ({"state": "used"}, {"state": "idle"})
    series = tuple(
        Series("db_client_connections_usage", (("pod", "p"), ("region", "r"), *state.items()))
        for state in pods
    )
    roles = tuple(CATALOGUE.resolve(one) for one in series)
    assert [role is None for role in roles] == [False, True]
    frame = MetricFrame(np.ones(1), np.ones((1, 2)), series, roles, 1.0)
    families = list(text_string_to_metric_families(metrics_text(frame)))
    assert [(f.type, len(f.samples)) for f in families] == [("gauge", 2)]


def test_samples_of_a_histogram_are_together_time_by_time() -> None:
    parts = (("_sum", ()), ("_bucket", (("le", "+Inf"),)), ("_bucket", (("le", "0.5"),)))
    series = tuple(
        Series(f"vllm:time_to_first_token_seconds{part}", (*le, ("pod", "p"), ("region", "r")))
        for part, le in (*parts, ("_count", ()))
    )
    roles = tuple(CATALOGUE.resolve(one) for one in series)
    frame = MetricFrame(np.array([1.0, 2.0]), np.ones((2, 4)), series, roles, 1.0)
    lines = metrics_text(frame).splitlines()
    assert lines[0] == "# TYPE vllm:time_to_first_token_seconds histogram"
    assert [line.rsplit(" ", 1)[1] for line in lines[1:9]] == ["1.0"] * 4 + ["2.0"] * 4
    for first in (1, 5):
        assert 'le="0.5"' in lines[first]
        assert 'le="+Inf"' in lines[first + 1]
        assert "_count" in lines[first + 2]
        assert "_sum" in lines[first + 3]
    assert lines[9:] == ["# EOF"]


@pytest.mark.integration
def test_promtool_makes_blocks_of_the_text(fake_fleet: Any, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package 'prometheus')")
    frame = scraped(fake_fleet(), 301.0, 300.0)
    text = tmp_path / "metrics.om"
    text.write_text(metrics_text(frame), encoding="utf-8")
    blocks = tmp_path / "blocks"
    done = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(blocks)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [promtool, "tsdb", "list", str(blocks)], capture_output=True, text=True, check=True
    )
    columns = listed.stdout.splitlines()[-1].split()
    present = cells(frame)
    assert str(len(present)) in columns
    assert str(len({series for _, series in present})) in columns


def test_exemplars_comments_and_any_order_are_read() -> None:
    text = (
        "# TYPE a counter\n# HELP a Some text.\n"
        'a_total{x="1 } # \\"q\\" \\\\ \\n"} 3 20.5 # {trace_id="t"} 1.0\n'
        "a_total 2 10\n"
        "a_total 4e0 20.5\n"
        "# EOF\n"
    )
    frame = parse_metrics(text, step_s=10.0)
    assert frame.times_s.tolist() == [10.0, 20.5]
    assert frame.series == (Series("a_total", (("x", '1 } # "q" \\ \n'),)), Series("a_total"))
    np.testing.assert_array_equal(frame.values, [[np.nan, 2.0], [3.0, 4.0]])


def test_a_scraped_nan_is_not_an_absent_sample() -> None:
    frame = parse_metrics("a NaN 1\nb 1 2\n# EOF\n", step_s=1.0)
    assert cells(frame) == {
        (1.0, Series("a")): np.float64(REAL_NAN).tobytes(),
        (2.0, Series("b")): np.float64(1.0).tobytes(),
    }


BROKEN = [
    ("", "no '# EOF'"),
    ("a 1 1\n", "no '# EOF'"),
    ("a 1 1\n# EOF\nb 1 1\n", "line 3"),
    ("a 1\n# EOF\n", "no timestamp"),
    ("a\n# EOF\n", "line 1"),
    ("a one 1\n# EOF\n", "'one'"),
    ("a 1 noon\n# EOF\n", "'noon'"),
    ("a 1 NaN\n# EOF\n", "line 1: time"),
    ("a 1 inf\n# EOF\n", "line 1: time"),
    ("a 1 1\na 2 1\n# EOF\n", "line 2: second sample"),
    ("a 1 1\na{} 2 1\n# EOF\n", "line 2: second sample"),
    ('a{b="c} 1 1\n# EOF\n', "line 1"),
    ('a{b="c"}1 1\n# EOF\n', "line 1"),
    ('a{b="c",b="d"} 1 1\n# EOF\n', "a label twice"),
    ("1a 1 1\n# EOF\n", "line 1"),
    ("a  1 1\n# EOF\n", "line 1"),
    ("a 1 1 1\n# EOF\n", "after the timestamp"),
    ("\x00\x01\x02\n# EOF\n", "line 1"),
    ("\ufffd\ufffd 1 1\n# EOF\n", "line 1"),
    ("\n".join(f"a{i} 1 {i}" for i in range(5000)) + "\n# EOF\n", "more than"),
]


@pytest.mark.parametrize(("text", "told"), BROKEN)
def test_a_broken_text_is_refused_with_line_and_value(text: str, told: str) -> None:
    with pytest.raises(MetricsTextError) as caught:
        parse_metrics(text, step_s=1.0)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "series", [Series("gen_ai.server"), Series("a", (("b.c", "d"),)), Series("a", (("b:c", "d"),))]
)
def test_a_name_that_the_format_does_not_allow_is_told(series: Series) -> None:
    frame = MetricFrame(np.ones(1), np.ones((1, 1)), (series,), (None,), 1.0)
    with pytest.raises(MetricsTextError, match="no OpenMetrics name"):
        metrics_text(frame)


def test_a_frame_without_samples_is_an_empty_text() -> None:
    frame = MetricFrame(np.ones(1), np.full((1, 1), np.nan), (Series("a"),), (None,), 1.0)
    assert metrics_text(frame) == "# EOF\n"
    assert parse_metrics("# EOF\n", step_s=1.0).values.shape == (0, 0)


def test_a_large_text_comes_in_pieces(monkeypatch):
    monkeypatch.setattr(openmetrics, "CHUNK_CHARS", 200)
    series = tuple(Series("up", (("instance", f"{k:03d}"),)) for k in range(50))
    frame = MetricFrame(
        times_s=np.arange(2.0), values=np.ones((2, 50)), series=series, roles=(None,) * 50,
        step_s=1.0,
    )  # fmt: skip
    pieces = list(openmetrics.metric_chunks(frame))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 400
    assert "".join(pieces) == metrics_text(frame)
    assert parse_metrics("".join(pieces), step_s=1.0).series == series
