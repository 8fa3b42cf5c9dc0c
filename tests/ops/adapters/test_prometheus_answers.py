"""Answers of Prometheus: the fast way gives what the plain way gives, whatever the labels say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.adapters import prometheus_samples
from ops.adapters.prometheus_answers import (
    read_counts,
    read_error,
    read_matrix,
    read_names,
    read_raw_matrix,
)
from ops.errors import PrometheusError

texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(['"values":[[', '"]]', "]]", '\\"', 'x"]]},{"metric":{', '"values":0']),
)
numbers = st.one_of(
    st.sampled_from(["NaN", "+Inf", "-Inf", "-0", "1e-7", "0.1", "18446744073709551616"]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**60), 2**60).map(str),
)
samples = st.tuples(st.integers(0, 2**42).map(lambda ms: ms / 1000), numbers)
series = st.tuples(st.dictionaries(texts, texts, max_size=3), st.lists(samples, max_size=4))


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    all_series=st.lists(series, max_size=4),
    warnings=st.lists(texts, max_size=2),
    wide=st.booleans(),
)
def test_the_fast_way_equals_the_plain_way(all_series, warnings, wide):
    result = [{"metric": labels, "values": values} for labels, values in all_series]
    body = json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": result},
         "warnings": warnings},
        separators=None if wide else (",", ":"),
    ).encode()  # fmt: skip
    answer = read_matrix(body)
    shown = [(labels, values) for labels, values in all_series if values]
    assert list(answer.labels) == [labels for labels, _ in shown]
    assert answer.counts.tolist() == [len(values) for _, values in shown]
    assert answer.times_s.tolist() == [at_s for _, values in shown for at_s, _ in values]
    expected = np.array([float(text) for _, values in shown for _, text in values])
    np.testing.assert_array_equal(answer.values, expected)
    assert answer.warnings == tuple(warnings)
    raw = read_raw_matrix(body)
    assert [json.loads(one) for one in raw.metrics] == list(answer.labels)
    assert raw.counts.tolist() == answer.counts.tolist()
    np.testing.assert_array_equal(raw.times_s, answer.times_s)
    np.testing.assert_array_equal(raw.values, answer.values)
    assert raw.warnings == answer.warnings


def test_many_samples_are_read_in_blocks_without_a_seam(monkeypatch):
    result = [
        {"metric": {"k": str(k)}, "values": [[i, str(k * 100 + i)] for i in range(k + 1)]}
        for k in range(40)
    ]
    data = {"resultType": "matrix", "result": result}
    body = json.dumps({"status": "success", "data": data}, separators=(",", ":")).encode()
    whole = read_matrix(body)
    monkeypatch.setattr(prometheus_samples, "_BLOCK_BYTES", 50)
    parts = read_matrix(body)
    np.testing.assert_array_equal(parts.values, whole.values)
    assert whole.values[-1] == 3939.0


def test_an_empty_list_of_names_may_be_null():
    assert read_names(b'{"status":"success","data":null}') == ()
    assert read_names(b'{"status":"success","data":["b","a"]}') == ("a", "b")
    with pytest.raises(PrometheusError, match="list of texts"):
        read_names(b'{"status":"success","data":[1]}')


def test_counts_need_a_name():
    with pytest.raises(PrometheusError, match="counts cannot be read"):
        read_counts(
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},'
            b'"value":[1,"2"]}]}}'
        )


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"{}", b"x" * 10_000])
def test_any_refusal_gives_a_short_text(body):
    kind, text = read_error(body)
    assert kind == ""
    assert len(text) <= 160


def matrix(*samples: str) -> bytes:
    result = ",".join(
        f'{{"metric":{{"k":"{k}"}},"values":[[{"],[".join(one.split(" "))}]]}}'
        for k, one in enumerate(samples)
    )
    return f'{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}'.encode()


EDGES = ("NaN", "+Inf", "-Inf", "0", "5e-324", "1e308", "1.7976931348623157e+308",
         "2.2250738585072014e-308", "9007199254740993", "18446744073709551615", "1e-07",
         "0.30000000000000004", "-1.2345678901234567e+21", "123456789.12345679")  # fmt: skip


@pytest.mark.parametrize("read", [read_matrix, read_raw_matrix])
def test_every_number_is_read_to_the_last_bit(read):
    answer = read(matrix(" ".join(f'1700000000.{k:03d},"{one}"' for k, one in enumerate(EDGES))))
    expected = np.array([float(one) for one in EDGES])
    assert answer.values.tobytes() == expected.tobytes()
    assert answer.times_s.tolist() == [float(f"1700000000.{k:03d}") for k in range(len(EDGES))]
    answer = read(matrix(*(f'{k},"{one}"' for k, one in enumerate(EDGES))))
    assert answer.values.tobytes() == expected.tobytes()
    finite = np.isfinite(expected)  # with NaN or Inf in the block another way is taken
    texts = [one for one, kept in zip(EDGES, finite, strict=True) if kept]
    answer = read(matrix(*(f'{k},"{one}"' for k, one in enumerate(texts))))
    assert answer.values.tobytes() == expected[finite].tobytes()
    assert answer.counts.tolist() == [1] * len(texts)


@pytest.mark.parametrize(
    "samples", ['1,"2" 3', '1,"2",3', '1,"2" "3","4"x', '1,2 3,"4"', '1,"2" [3,"4"', '"x","y"']
)
def test_samples_of_another_form_are_refused(samples):
    with pytest.raises(PrometheusError, match=r"samples cannot be read|ends within a series"):
        read_raw_matrix(matrix(samples))
