"""Answers as other servers than Prometheus 2 write them; the shapes are written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ops.adapters.prometheus import PrometheusReader
from ops.adapters.prometheus_answers import PARTIAL, read_matrix, read_moment, read_raw_matrix
from ops.clock import Deadline
from ops.errors import PrometheusError, TooMuchError

VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[%b]},"stats":{}}'


def matrix(rest=b"", first=b"", values=b'[1700000001,"7"]'):
    one = b'{"metric":{"__name__":"up","job":"a"},"values":[' + values + b"]}"
    return (
        b'{"status":"success",' + first + b'"data":{"resultType":"matrix","result":['
        + one + b"]}" + rest + b"}"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answered", "now_s"),
    [
        (b'[1700000031,"1700000001.25"]', 1700000031.0),  # lags by -search.latencyOffset
        (b'[1700000031,"1700000031.25"]', 1700000031.25),  # asked with nocache=1
    ],
)
def test_now_is_not_what_victoriametrics_showed_thirty_seconds_ago(answered, now_s):
    assert read_moment(VECTOR % (b'{"metric":{},"value":%b}' % answered)) == now_s


def test_now_of_prometheus_is_a_scalar(fake_prometheus):
    fake_prometheus.clock_s = 1700000031.25
    with PrometheusReader(fake_prometheus.url) as reader:
        assert reader.now_s(deadline=Deadline.after(5.0)) == 1700000031.25
    assert fake_prometheus.asked[-1].in_body["nocache"] == ["1"]


@pytest.mark.parametrize("body", [VECTOR % b"", VECTOR % b'{"metric":{}}', VECTOR % b"7", matrix()])
def test_an_answer_without_a_moment_is_refused(body):
    with pytest.raises(PrometheusError, match=r"moment and a number|expected a scalar"):
        read_moment(body)


def test_a_partial_answer_without_warnings_is_a_warning():
    # A cluster of VictoriaMetrics answers so while one of its stores is away.
    for read in (read_matrix, read_raw_matrix):
        assert read(matrix(first=b'"isPartial":true,')).warnings == (PARTIAL,)
        assert read(matrix(first=b'"isPartial":false,')).warnings == ()


def test_remarks_on_a_query_are_no_warnings():
    # Prometheus 3 writes them beside the warnings; nothing lacks in such an answer.
    body = matrix(rest=b',"infos":["PromQL info: metric might not be a counter"]')
    assert read_matrix(body).warnings == ()
    both = matrix(rest=b',"warnings":["store a is away"],"infos":["x"]')
    assert read_matrix(both).warnings == ("store a is away",)


def test_a_mark_of_the_end_of_a_series_is_a_missing_sample():
    # VictoriaMetrics gives the stale markers of targets that went, as NaN among the samples.
    values = b'[1700000001,"7"],[1700000006.5,"NaN"],[1700000011,"+Inf"],[1700000016,"1e+21"]'
    answer = read_matrix(matrix(values=values))
    np.testing.assert_array_equal(answer.values, [7.0, np.nan, np.inf, 1e21])
    assert answer.times_s.tolist() == [1700000001.0, 1700000006.5, 1700000011.0, 1700000016.0]


@pytest.mark.parametrize(
    "text",
    [
        "cannot select more than -search.maxSamplesPerQuery=1000 samples; reduce time range",
        "too long query; got 20000 bytes; mustn't exceed `-search.maxQueryLen=16384` bytes",
    ],
)
def test_limits_of_victoriametrics_make_a_smaller_question(fake_prometheus, text):
    body = b'{"status":"error","errorType":"422","error":"%b"}' % text.encode()
    fake_prometheus.script = [(422, {}, body)]
    with PrometheusReader(fake_prometheus.url) as reader, pytest.raises(TooMuchError):
        reader.samples(["up"], after_ms=0, until_ms=1000, matchers=(), deadline=Deadline.after(5.0))
