"""A window of a Prometheus as a frame: gaps stay gaps, questions stay small, columns are series."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.adapters import prometheus_plan
from ops.adapters.prometheus import PrometheusReader
from ops.adapters.prometheus_answers import Answer
from ops.adapters.prometheus_frame import CELLS_MAX, open_reader, read_frame, read_window
from ops.adapters.prometheus_grid import Grid, fill, interval_ms
from ops.adapters.prometheus_selectors import Matcher
from ops.catalogue import Catalogue
from ops.errors import PrometheusError, TooMuchError
from rca.align import align

CATALOGUE = Catalogue.load()
TTFT_BUCKET = "dynamo_frontend_time_to_first_token_seconds_bucket"
T0_S = 1_700_000_000.0
T0 = 1_700_000_000_000
POD = {"region": "north", "pod": "p0"}


@pytest.fixture
def reader(fake_prometheus):
    with PrometheusReader(fake_prometheus.url, timeout_s=5.0) as one:
        yield one


def every(step_ms, values, *, offset_ms=0):
    return [
        (T0 + offset_ms + k * step_ms, value) for k, value in enumerate(values) if value is not None
    ]


def column(frame, name, **labels):
    (found,) = [
        c
        for c, one in enumerate(frame.series)
        if one.name == name and all(one.label(k) == v for k, v in labels.items())
    ]
    return frame.values[:, found]


def test_a_gap_stays_a_gap_and_nothing_is_known_before_it_was_scraped(fake_prometheus, reader):
    fake_prometheus.add("node_load1", every(15_000, ["1", None, None, "4", "5"]), **POD, node="a")
    fake_prometheus.add(
        "node_load1", every(15_000, ["1", "2", "3", "4"], offset_ms=7_123), **POD, node="b"
    )
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 60, 15.0)
    frame.check()
    assert frame.times_s.tolist() == [T0_S + 15 * k for k in range(5)]
    np.testing.assert_array_equal(column(frame, "node_load1", node="a"), [1, np.nan, np.nan, 4, 5])
    np.testing.assert_array_equal(column(frame, "node_load1", node="b"), [np.nan, 1, 2, 3, 4])
    assert frame.step_s == 15.0
    assert [role.role for role in frame.roles] == ["node_load1"] * 2


def test_the_window_is_read_in_pieces_without_losing_or_doubling_a_sample(
    fake_prometheus, reader, monkeypatch
):
    monkeypatch.setattr(prometheus_plan, "SAMPLES_PER_ANSWER", 40)
    texts = [str(k) for k in range(200)]
    for pod in ("a", "b"):
        fake_prometheus.add("vllm:num_requests_waiting", every(5_000, texts), region="n", pod=pod)
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 995, 5.0)
    assert frame.values.shape == (200, 2)
    np.testing.assert_array_equal(frame.values[:, 0], np.arange(200.0))
    ranges = [query for query in fake_prometheus.queries() if query.endswith("ms]")]
    assert len(ranges) == 10


def test_what_is_too_much_for_the_server_is_asked_in_halves(fake_prometheus, reader):
    fake_prometheus.samples_max = 60
    for name in ("vllm:num_requests_waiting", "vllm:num_requests_running"):
        fake_prometheus.add(name, every(5_000, [str(k) for k in range(100)]), **POD)
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 495, 5.0)
    assert np.isfinite(frame.values).all()
    fake_prometheus.samples_max = 0
    with pytest.raises(TooMuchError, match="too many samples"):
        read_frame(reader, CATALOGUE, T0_S, T0_S + 2, 1.0)


def test_counters_stay_cumulative_and_keep_their_small_steps(fake_prometheus, reader):
    # In float32 the steps of 100 bytes vanish, and the start time is off by up to 64 s.
    totals = [str(10**11 + 100 * k) for k in range(8)]
    fake_prometheus.add("container_network_receive_bytes_total", every(5_000, totals), **POD)
    fake_prometheus.add("container_start_time_seconds", every(5_000, ["1700000001.25"] * 8), **POD)
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 35, 5.0)
    assert set(column(frame, "container_start_time_seconds")) == {1700000001.25}
    levels = align(frame, now_s=T0_S + 35).levels
    np.testing.assert_array_equal(levels[1:, 0], np.full(7, 20.0))
    assert np.ptp(column(frame, "container_network_receive_bytes_total").astype(np.float32)) == 0.0


def test_a_spelling_that_changes_midway_is_one_series(fake_prometheus, reader):
    fake_prometheus.add("vllm:num_requests_waiting", every(5_000, ["1", "2", None, None]), **POD)
    fake_prometheus.add("vllm_num_requests_waiting", every(5_000, [None, None, "3", "4"]), **POD)
    reading = read_window(reader, CATALOGUE, T0_S, T0_S + 15, 5.0)
    assert reading.frame.values.tolist() == [[1.0], [2.0], [3.0], [4.0]]
    assert reading.names == ("vllm:num_requests_waiting", "vllm_num_requests_waiting")
    assert any("stored as vllm:num" in note for note in reading.notes)


def test_a_bound_written_otherwise_after_an_upgrade_is_the_same_series(fake_prometheus, reader):
    # Version 2 stores le="1" as the exporter wrote it, version 3 le="1.0".
    told = {"region": "n", "service": "door", "slo_class": "chat"}
    for le, texts in (("1", ["5", "6", None, None]), ("1.0", [None, None, "7", "8"])):
        fake_prometheus.add(TTFT_BUCKET, every(5_000, texts), le=le, **told)
    fake_prometheus.add(TTFT_BUCKET, every(5_000, ["9"] * 4), le="+Inf", **told)
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 15, 5.0)
    assert [role.upper_bound for role in frame.roles] == [np.inf, 1.0]
    assert frame.values.T.tolist() == [[9.0] * 4, [5.0, 6.0, 7.0, 8.0]]


def test_order_and_spelling_in_the_store_do_not_change_the_frame(fake_prometheus, reader):
    for pod in ("c", "a", "b"):
        fake_prometheus.add("node_load1", every(5_000, ["1", "2"]), region="n", node=pod)
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 5, 5.0)
    assert [one.label("node") for one in frame.series] == ["a", "b", "c"]


def test_series_without_a_role_are_left_out(fake_prometheus, reader):
    fake_prometheus.add("go_goroutines", every(5_000, ["1"]), **POD)
    fake_prometheus.add("node_load1", every(5_000, ["1"]), node="n")  # no region
    fake_prometheus.add("node_load1", every(5_000, ["2"]), node="n", region="north")
    fake_prometheus.add("kube_pod_status_phase", every(5_000, ["1"]), **POD, phase="Running")
    reading = read_window(reader, CATALOGUE, T0_S, T0_S + 5, 5.0)
    assert reading.frame.values[0].tolist() == [2.0]
    assert any("1 series have no label that gives a region" in note for note in reading.notes)
    assert not any("goroutines" in query for query in fake_prometheus.queries())


def test_a_region_that_the_store_lacks_can_be_added(fake_prometheus, reader):
    fake_prometheus.add("node_load1", every(5_000, ["1"]), node="n")
    with pytest.raises(PrometheusError, match=r"none of 1 series .*region=eu-west-1"):
        read_frame(reader, CATALOGUE, T0_S, T0_S + 5, 5.0)
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 5, 5.0, add_labels={"region": "south"})
    assert str(frame.roles[0].entity) == "node:south/n"


def test_further_matchers_stand_in_every_question(fake_prometheus, reader):
    for space in ("prod", "test"):
        fake_prometheus.add("node_load1", every(5_000, ["1"]), **POD, node="n", namespace=space)
    prod = [Matcher("namespace", "=", "prod")]
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 5, 5.0, matchers=prod)
    assert [one.label("namespace") for one in frame.series] == ["prod"]
    assert all('namespace="prod"' in query for query in fake_prometheus.queries())
    with pytest.raises(PrometheusError, match=r'no metrics .*that match namespace="staging"'):
        read_frame(
            reader, CATALOGUE, T0_S, T0_S + 5, matchers=[Matcher("namespace", "=", "staging")]
        )


@pytest.mark.parametrize(
    ("stored", "step_s", "told"),
    [(15_000, 5.0, "a step of 15 s fits"), (5_000, 15.0, "only the last of each 15 s")],
)
def test_a_step_that_does_not_fit_is_told(fake_prometheus, reader, caplog, stored, step_s, told):
    fake_prometheus.add("node_load1", every(stored, ["1"] * 20), **POD, node="n")
    with caplog.at_level(logging.WARNING):
        read_frame(reader, CATALOGUE, T0_S, T0_S + 90, step_s)
    assert told in caplog.text


def test_without_a_step_the_samples_tell_it(fake_prometheus, reader):
    for offset_ms in (0, 3_001):
        fake_prometheus.add(
            "node_load1", every(15_000, ["1", "2", None, "4", "5"], offset_ms=offset_ms),
            **POD, node=str(offset_ms),
        )  # fmt: skip
    frame = read_frame(reader, CATALOGUE, T0_S, T0_S + 75)
    assert frame.step_s == 15.0
    np.testing.assert_array_equal(frame.values[:, 0], [1, 2, np.nan, 4, 5, np.nan])
    np.testing.assert_array_equal(frame.values[:, 1], [np.nan, 1, 2, np.nan, 4, 5])


def test_warnings_and_native_histograms_become_notes(fake_prometheus, reader):
    fake_prometheus.add("node_load1", every(5_000, ["1", "2"]), **POD, node="n")
    fake_prometheus.warnings = ["store 7 is away"]
    notes = read_window(reader, CATALOGUE, T0_S, T0_S + 5, 5.0).notes
    assert notes == ("the server warns: store 7 is away",)


def test_a_window_of_unknown_names_or_without_samples_is_told(fake_prometheus, reader):
    with pytest.raises(PrometheusError, match=r"no metrics are stored .*retention"):
        read_frame(reader, CATALOGUE, T0_S, T0_S + 5, 5.0)
    fake_prometheus.add("go_goroutines", every(5_000, ["1"]))
    with pytest.raises(PrometheusError, match=r"of 1 metric names .*go_goroutines"):
        read_frame(reader, CATALOGUE, T0_S, T0_S + 5, 5.0)
    fake_prometheus.add("node_load1", every(5_000, ["1"]), **POD, node="n")
    with pytest.raises(PrometheusError, match=r"none with a role in that time"):
        read_frame(reader, CATALOGUE, T0_S + 3600, T0_S + 3700, 5.0)


@pytest.mark.parametrize(
    ("start_s", "end_s", "step_s", "told"),
    [
        (T0_S, T0_S, 5.0, "not after start"),
        (T0_S, T0_S - 1, 5.0, "not after start"),
        (T0_S, float("nan"), 5.0, "not after start"),
        (T0_S, T0_S + 10, 0.0, "step is 0 s"),
        (T0_S, T0_S + 10, 11.0, "step is 11 s"),
    ],
)
def test_a_window_that_is_none_is_refused(reader, start_s, end_s, step_s, told):
    with pytest.raises(PrometheusError, match=told):
        read_frame(reader, CATALOGUE, start_s, end_s, step_s)


def test_more_cells_than_fit_are_refused_before_they_are_read(fake_prometheus, reader):
    fake_prometheus.add("node_load1", [(T0, "1")], **POD, node="n")
    with pytest.raises(PrometheusError, match=f"more than {CELLS_MAX} cells; shorten"):
        read_frame(reader, CATALOGUE, T0_S, T0_S + CELLS_MAX * 0.01, 0.01)
    assert not any(query.endswith("ms]") for query in fake_prometheus.queries())


def test_a_deadline_holds_for_all_questions_together(fake_prometheus, reader):
    fake_prometheus.add("node_load1", [(T0, "1")], **POD, node="n")
    with pytest.raises(PrometheusError, match="time"):
        read_frame(reader, CATALOGUE, T0_S, T0_S + 5, 5.0, deadline_s=0.0)


def test_a_missing_extra_is_told_with_its_command(monkeypatch):
    monkeypatch.delitem(sys.modules, "ops.adapters.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_api_client", None)
    with pytest.raises(PrometheusError, match=r"prometheus_api_client; run pip install"):
        open_reader("http://prometheus:9090")


def test_a_reader_is_opened_with_its_options(fake_prometheus, tmp_path):
    fake_prometheus.add("node_load1", every(5_000, ["1", "2"]), **POD, node="n")
    (tmp_path / "token").write_text("t")
    with open_reader(
        fake_prometheus.url, token_file=tmp_path / "token", headers={"X-Scope-OrgID": "team"}
    ) as reader:
        read_frame(reader, CATALOGUE, T0_S, T0_S + 5, 5.0)
    assert fake_prometheus.asked[-1].headers["Authorization"] == "Bearer t"
    assert {one.headers["X-Scope-OrgID"] for one in fake_prometheus.asked} == {"team"}


def answer_of(*series):
    """Answer with one series per list of (ms since T0, value)."""
    flat = [pair for one in series for pair in one]
    return Answer(
        labels=tuple({"__name__": str(k)} for k in range(len(series))),
        counts=np.array([len(one) for one in series], dtype=np.intp),
        times_s=np.array([(T0 + ms) / 1000.0 for ms, _ in flat]),
        values=np.array([value for _, value in flat], dtype=float),
    )


@settings(max_examples=60, deadline=None)
@given(
    offset_ms=st.sampled_from([0, 20, 120, 150, 180, 7_000, 14_970, 14_999]),  # and edges of rows
    jitter=st.lists(st.integers(-40, 40), min_size=2, max_size=30),
    present=st.integers(0, 2**30),
)
def test_jitter_neither_opens_a_gap_nor_hides_one(offset_ms, jitter, present):
    samples = [
        (15_000 * k + offset_ms + late, float(k))
        for k, late in enumerate(jitter)
        if k == 0 or present >> k & 1
    ]
    grid = Grid(T0, T0 + 15_000 * (len(jitter) + 1), 15_000)
    values = fill(grid, [answer_of(samples)], [np.array([0])], 1)[:, 0]
    finite = values[np.isfinite(values)]
    rows = np.flatnonzero(np.isfinite(values))
    assert finite.tolist() == [value for _, value in samples]  # none lost, none merged
    assert np.diff(rows).tolist() == np.diff(finite).tolist()  # gaps as long as they were
    early = grid.times_s()[rows] - [(T0 + ms) / 1000.0 for ms, _ in samples]
    assert early.min() >= -0.151 - 0.081  # at most one hundredth of a step and the jitter


def test_samples_out_of_order_or_twice_give_the_latest_of_the_cell():
    answer = answer_of([(4_000, 4.0), (1_000, 1.0), (6_000, 6.0), (6_000, 6.5)], [(9_000, 9.0)])
    values = fill(Grid(T0, T0 + 10_000, 5_000), [answer], [np.array([0, 1])], 2)
    np.testing.assert_array_equal(values, [[np.nan, np.nan], [4.0, np.nan], [6.5, 9.0]])


def test_the_interval_is_the_median_distance_within_series():
    answers = [answer_of([(k * 15_003, 0.0) for k in range(9)], [(0, 0.0), (60_000, 0.0)])]
    assert interval_ms(answers) == 15_000
    assert interval_ms([answer_of([(0, 1.0)])]) == 0
    assert interval_ms([]) == 0
    assert interval_ms([answer_of([(k * 250, 0.0) for k in range(9)])]) == 250
