"""The reader of a Prometheus against a small server on the loopback interface.

One test for each sharp edge of prometheus-api-client, named by what holds for us instead.
"""

from __future__ import annotations

import inspect
import itertools
import socket
import threading
import time

import pytest
from prometheus_api_client import PrometheusConnect

from ops.adapters.prometheus import PrometheusReader
from ops.adapters.prometheus_selectors import Matcher
from ops.clock import Deadline
from ops.errors import PrometheusError, TooMuchError

T0 = 1_700_000_000_000  # ms


@pytest.fixture
def reader(fake_prometheus):
    with PrometheusReader(fake_prometheus.url, timeout_s=5.0) as one:
        yield one


def samples(reader, *names, after_ms=T0, until_ms=T0 + 60_000, matchers=(), seconds=5.0):
    return reader.samples(
        names or ("up",),
        after_ms=after_ms,
        until_ms=until_ms,
        matchers=matchers,
        deadline=Deadline.after(seconds),
    )


def test_raw_samples_come_back_as_stored(fake_prometheus, reader):
    fake_prometheus.add("up", [(T0 + 123, "1"), (T0 + 15_123, "0"), (T0 + 30_123, "NaN")], job="a")
    fake_prometheus.add("up", [(T0 + 5_000, "+Inf"), (T0 + 10_000, "1.7976931348623157e+308")])
    answer = samples(reader)
    assert answer.labels == ({"__name__": "up", "job": "a"}, {"__name__": "up"})
    assert answer.counts.tolist() == [3, 2]
    assert [round(t * 1000) - T0 for t in answer.times_s] == [123, 15_123, 30_123, 5_000, 10_000]
    assert answer.values.tolist()[:2] == [1.0, 0.0]
    assert answer.values[2] != answer.values[2]
    assert answer.values.tolist()[3:] == [float("inf"), 1.7976931348623157e308]


def test_start_and_end_are_always_told_and_exact_to_the_millisecond(fake_prometheus, reader):
    # The client's defaults are moments at which the class was loaded, rounded to seconds.
    for method in (reader.samples, reader.names):
        told = inspect.signature(method).parameters
        assert all(told[key].default is inspect.Parameter.empty for key in ("after_ms", "until_ms"))
    samples(reader, after_ms=T0 + 1, until_ms=T0 + 60_007)
    asked = fake_prometheus.asked[-1]
    assert asked.query == '{__name__="up"}[60006ms]'
    assert asked.at_s == "1700000060.007"


def test_a_long_query_travels_in_the_body_of_a_post(fake_prometheus, reader):
    # The client puts the query of a POST into the URL, which proxies cut off at 8 kB.
    names = [f"metric_{k:05d}_with_a_long_name" for k in range(1000)]
    samples(reader, *names)
    asked = fake_prometheus.asked[-1]
    assert (asked.method, asked.in_url) == ("POST", {})
    assert len(asked.query) > 20_000


def test_label_values_are_escaped(fake_prometheus, reader):
    # The client writes label='value' whatever the value holds.
    odd = "a\"b\\c\nd{}'e"
    fake_prometheus.add("up", [(T0 + 1000, "1")], pod=odd)
    fake_prometheus.add("up", [(T0 + 1000, "2")], pod="other")
    answer = samples(reader, matchers=[Matcher("pod", "=", odd)])
    assert answer.values.tolist() == [1.0]
    assert fake_prometheus.queries() == ['{__name__="up",pod="a\\"b\\\\c\\nd{}\'e"}[60000ms]']


@pytest.mark.parametrize("body", [None, (200, {}, itertools.repeat(b" "))], ids=["hang", "trickle"])
def test_nobody_waits_beyond_the_deadline(fake_prometheus, reader, body):
    # The client waits for ever; with a timeout it still waits as long as a byte comes now and then.
    fake_prometheus.script = [body, body]
    began = time.monotonic()
    with pytest.raises(TooMuchError, match=r"its time was over|no answer in time|too long"):
        samples(reader, seconds=0.15)
    assert time.monotonic() - began < 15.0
    assert len(fake_prometheus.asked) <= 1  # so busy may a machine be that it is too late to ask
    fake_prometheus.script = []
    assert samples(reader).counts.tolist() == []  # the reader still works


def test_the_server_is_told_when_nobody_waits_any_longer(fake_prometheus, reader):
    samples(reader, seconds=2.0)
    told_ms = int(fake_prometheus.asked[-1].in_body["timeout"][0].removesuffix("ms"))
    assert 0 < told_ms <= 2000


def test_a_refused_connection_is_told_at_once(fake_prometheus):
    # The client tries it for six seconds.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's
        port = taken.getsockname()[1]
        began = time.monotonic()
        with (
            PrometheusReader(f"127.0.0.1:{port}") as reader,
            pytest.raises(PrometheusError) as caught,
        ):
            samples(reader)
        assert time.monotonic() - began < 5.0
    assert f"http://127.0.0.1:{port}: connection refused" in str(caught.value)
    assert "asked for" not in str(caught.value)  # no question makes a difference to it
    assert "port-forward" in str(caught.value)


def test_the_clients_own_retries_are_not_in_use(reader):
    adapters = reader._wire._session.adapters.values()
    assert [adapter.max_retries.total for adapter in adapters] == [0] * len(adapters)


def test_a_busy_server_is_asked_once_more(fake_prometheus, reader, monkeypatch):
    monkeypatch.setattr("ops.adapters.prometheus_wire.PAUSE_S", 0.01)
    fake_prometheus.add("up", [(T0 + 1000, "1")])
    fake_prometheus.script = [(503, {}, b"Service Unavailable")]
    assert samples(reader).values.tolist() == [1.0]
    fake_prometheus.script = [(503, {}, b"Service Unavailable")] * 2
    with pytest.raises(PrometheusError, match=r"answered 503: Service Unavailable .*try again"):
        samples(reader)
    assert len(fake_prometheus.asked) == 4


def test_no_series_is_an_empty_answer(reader):
    # The client's data frame raises KeyError('timestamp').
    answer = samples(reader)
    assert (answer.labels, answer.counts.tolist(), len(answer.values)) == ((), [], 0)


def test_native_histograms_are_left_out_and_counted(fake_prometheus, reader):
    # The client raises KeyError('values').
    fake_prometheus.script = [
        (
            200,
            {},
            b'{"status":"success","data":{"resultType":"matrix","result":['
            b'{"metric":{"__name__":"h"},"histograms":[[1700000001,{"count":"3","sum":"2"}]]},'
            b'{"metric":{"__name__":"m"},"values":[[1700000001,"7"]],"histograms":[[1,{}]]},'
            b'{"metric":{"__name__":"g"},"values":[[1700000001,"5"]]}]}}',
        )
    ]
    answer = samples(reader)
    assert [one["__name__"] for one in answer.labels] == ["m", "g"]
    assert answer.values.tolist() == [7.0, 5.0]
    assert answer.num_histograms == 2


def test_warnings_of_the_server_are_kept(fake_prometheus, reader):
    # The client drops them, and with them the news that a store did not answer.
    fake_prometheus.warnings = ["store 10.0.0.7 did not answer"]
    assert samples(reader).warnings == ("store 10.0.0.7 did not answer",)


@pytest.mark.parametrize(
    ("status", "headers", "body", "told"),
    [
        (400, {}, b'{"status":"error","errorType":"bad_data","error":"parse error: x"}',
         ["400: parse error: x", "matchers"]),
        (401, {}, b"Unauthorized", ["401: Unauthorized", "bearer token"]),
        (403, {}, b"", ["403", "bearer token"]),
        (404, {}, b"404 page not found", ["404", "no Prometheus answers there", "/api/v1"]),
        (302, {"Location": "https://login.example/"}, b"", ["302", "https://login.example/"]),
        (500, {}, b"oops", ["500: oops", "log"]),
        (200, {}, b"<html><title>Grafana</title>", ["no JSON", "Grafana", "no Prometheus"]),
        (200, {}, b'{"hello":"world"}', ["hello", "no Prometheus"]),
        (200, {}, b'{"status":"success","data":{"resultType":"vector","result":[]}}',
         ["'vector', expected a matrix"]),
        (200, {}, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},'
         b'"values":[[1,"2"],[3', ["ends within a series"]),
        (200, {}, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},'
         b'"values":[[1,"two"]]}]}}', ["cannot be read"]),
        (200, {}, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},'
         b'"values":[[1,"2"],["3"]]}]}}', ["cannot be read"]),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_with_url_query_and_next_step(
    fake_prometheus, reader, status, headers, body, told
):
    fake_prometheus.script = [(status, headers, body)]
    with pytest.raises(PrometheusError) as caught:
        samples(reader)
    assert not isinstance(caught.value, TooMuchError)
    for text in (fake_prometheus.url, '{__name__="up"}[60000ms]', *told):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, b'{"status":"error","errorType":"execution","error":"query processing would load '
              b'too many samples into memory in query execution"}'),
        (422, b'{"status":"error","errorType":"execution","error":"the query exceeded the maximum '
              b'number of chunks"}'),
        (413, b"Request Entity Too Large"),
    ],
)  # fmt: skip
def test_a_limit_of_the_server_is_an_error_of_its_own(fake_prometheus, reader, status, body):
    fake_prometheus.script = [(status, {}, body)]
    with pytest.raises(TooMuchError, match=str(status)):
        samples(reader)


def test_an_answer_beyond_our_own_limit_is_not_read_to_its_end(fake_prometheus):
    fake_prometheus.add("up", [(T0 + k, "1") for k in range(5000)])
    with (
        PrometheusReader(fake_prometheus.url, answer_bytes_max=10_000) as reader,
        pytest.raises(TooMuchError, match="more than 10000 bytes"),
    ):
        samples(reader)


def test_the_token_is_read_anew_for_each_request_and_never_told(fake_prometheus, tmp_path):
    path = tmp_path / "token"
    with PrometheusReader(fake_prometheus.url, token_file=path) as reader:
        for token in ("first", "second"):
            path.write_text(f"{token}\n")
            samples(reader)
            assert fake_prometheus.asked[-1].headers["Authorization"] == f"Bearer {token}"
        fake_prometheus.script = [(401, {}, b"")]
        with pytest.raises(PrometheusError, match="is not accepted") as caught:
            samples(reader)
        assert str(path) in str(caught.value) and "second" not in str(caught.value)
        for content, told in (
            ("", "no token"),
            ("two words", "no token"),
            (None, "cannot be read"),
        ):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_text(content)
            with pytest.raises(PrometheusError, match=told):
                samples(reader)


def test_a_password_in_the_url_is_sent_but_never_told(fake_prometheus):
    url = fake_prometheus.url.replace("http://", "http://kim:s%40cret@") + "/"
    fake_prometheus.script = [(403, {}, b"")]
    with PrometheusReader(url) as reader, pytest.raises(PrometheusError) as caught:
        samples(reader)
    assert fake_prometheus.asked[-1].headers["Authorization"] == "Basic a2ltOnNAY3JldA=="
    assert "cret" not in str(caught.value)


def test_a_netrc_file_does_not_replace_our_token(fake_prometheus, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1\nlogin kim\npassword other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "token").write_text("ours")
    with PrometheusReader(fake_prometheus.url, token_file=tmp_path / "token") as reader:
        reader._wire._session.trust_env = True  # as for every host but this one
        samples(reader)
    assert fake_prometheus.asked[-1].headers["Authorization"] == "Bearer ours"


def test_a_path_before_the_api_is_kept(fake_prometheus):
    with (
        PrometheusReader(f"{fake_prometheus.url}/select/0/") as reader,
        pytest.raises(PrometheusError, match="404"),
    ):
        samples(reader)
    assert fake_prometheus.asked[-1].path == "/select/0/api/v1/query"


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "unix:///run/x", "http:///path"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(PrometheusError, match="URL is"):
        PrometheusReader(url)


def test_an_unknown_host_is_told(monkeypatch):
    def unknown(*args, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with (
        PrometheusReader("http://prometheus.monitoring:9090") as reader,
        pytest.raises(PrometheusError, match=r"monitoring:9090: unknown host; .*DNS"),
    ):
        samples(reader)


def test_a_resolver_that_hangs_does_not_hold_us(monkeypatch):
    over = threading.Event()

    def hang(*args, **more):
        over.wait(20.0)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with (
        PrometheusReader("http://prometheus.monitoring:9090") as reader,
        pytest.raises(PrometheusError, match="its time was over"),
    ):
        samples(reader, seconds=0.1)
    over.set()


def test_names_and_counts_are_probed_under_the_matchers(fake_prometheus, reader):
    fake_prometheus.add("up", [(T0, "1")], namespace="prod")
    fake_prometheus.add("up", [(T0, "1")], namespace="prod", pod="b")
    fake_prometheus.add("down", [(T0, "1")], namespace="test")
    where = {"matchers": [Matcher("namespace", "=", "prod")], "deadline": Deadline.after(5.0)}
    assert reader.names(after_ms=T0, until_ms=T0 + 1, **where) == ("up",)
    assert reader.num_series(["up", "down"], at_ms=T0, **where) == {"up": 2}


def test_the_package_behaves_as_our_session_expects():
    # What `Wire` stands in for; a new version of the package that differs shall fail here.
    session = inspect.signature(PrometheusConnect.__init__).parameters
    assert {"url", "session", "retry", "method", "timeout"} <= set(session)
    assert "params" in inspect.signature(PrometheusConnect.custom_query).parameters
