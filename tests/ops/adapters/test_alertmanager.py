"""Alertmanager bodies: lenient about what is extra, exact about what is wrong."""

from __future__ import annotations

import orjson
import pytest

from ops.adapters.alertmanager import BODY_BYTES_MAX, FAULTS_MAX, parse_alerts
from ops.errors import AlertError

GOOD = {
    "status": "firing",
    "labels": {"alertname": "SloBurn", "region": "east"},
    "annotations": {"summary": "too many bad requests"},
    "startsAt": "2026-01-02T03:04:05.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus.example/graph",
    "fingerprint": "c0ffee",
}


def body(*alerts, **more):
    return orjson.dumps({"version": "4", "groupKey": "{}:{}", "alerts": list(alerts), **more})


def without(key):
    return {name: value for name, value in GOOD.items() if name != key}


def test_a_whole_body_is_read():
    (alert,) = parse_alerts(
        body(GOOD, truncatedAlerts=0, receiver="r", notification_reason="new", status="firing")
    )
    assert alert.firing
    assert alert.labels["region"] == "east"
    assert alert.starts_at_s == pytest.approx(1767323045.123456)
    assert alert.ends_at_s is None
    assert alert.key == ("{}:{}", "c0ffee", alert.starts_at_s)


def test_a_resolved_alert_has_an_end():
    resolved = GOOD | {"status": "resolved", "endsAt": "2026-01-02T05:04:05+01:00"}
    (alert,) = parse_alerts(body(resolved))
    assert not alert.firing
    assert alert.ends_at_s == 1767326645.0


def test_a_repeated_alert_counts_once():
    assert len(parse_alerts(body(GOOD, GOOD, GOOD | {"fingerprint": "other"}))) == 2


def test_without_a_fingerprint_the_labels_identify():
    one, two = parse_alerts(
        body(without("fingerprint"), without("fingerprint") | {"labels": {"a": "b"}})
    )
    assert one.fingerprint == "alertname=SloBurn,region=east"
    assert two.fingerprint == "a=b"


def test_no_alerts_are_no_error():
    assert parse_alerts(body()) == ()


BAD = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"\x00\xff\xfe", "not JSON"),
    (b"[]", r"is \[\], expected an object"),
    (b"null", "is None, expected an object"),
    (b'"alert"', "expected an object"),
    (b"NaN", "not JSON"),
    (body(GOOD)[:-20], "not JSON"),
    (b"[" * 5000, "not JSON"),
    (b'{"alerts":' + b"[" * 1000 + b"]" * 1000 + b"}", r"alerts\[0\]: \[\["),
    (b" " * (BODY_BYTES_MAX + 1), "limit"),
    (orjson.dumps({"version": "4"}), "alerts: None, expected a list"),
    (orjson.dumps({"version": "3", "alerts": []}), "version: '3', expected '4'"),
    (orjson.dumps({"version": "4", "alerts": {}}), "alerts: {}, expected a list"),
    (body(3), r"alerts\[0\]: 3, expected an object"),
    (body(None), r"alerts\[0\]: None"),
    (body(GOOD | {"status": "smouldering"}), r"alerts\[0\].status: 'smouldering'"),
    (body(without("status")), r"alerts\[0\].status: None"),
    (body(without("labels")), r"alerts\[0\].labels: None"),
    (body(GOOD | {"labels": ["a"]}), r"alerts\[0\].labels"),
    (body(GOOD | {"labels": {"a": 1}}), r"alerts\[0\].labels.a: 1, expected text"),
    (body(GOOD | {"annotations": 4}), r"alerts\[0\].annotations: 4"),
    (body(without("startsAt")), r"alerts\[0\].startsAt: None, expected a time"),
    (body(GOOD | {"startsAt": "yesterday"}), r"alerts\[0\].startsAt: 'yesterday'"),
    (body(GOOD | {"startsAt": 17}), r"alerts\[0\].startsAt: 17"),
    (body(GOOD | {"startsAt": "2026-01-02T03:04:05"}), "expected a time"),
    (body(GOOD | {"startsAt": "2026-13-02T03:04:05Z"}), "expected a time"),
    (body(GOOD | {"status": "resolved", "endsAt": "late"}), r"endsAt: 'late'"),
    (body(GOOD | {"fingerprint": 12}), r"alerts\[0\].fingerprint: 12, expected text"),
    (body(GOOD, groupKey=["k"]), "groupKey"),
]


@pytest.mark.parametrize(("raw", "says"), BAD)
def test_a_bad_body_is_an_error_of_our_own(raw, says):
    with pytest.raises(AlertError, match=says):
        parse_alerts(raw)


def test_every_fault_is_listed_at_once():
    with pytest.raises(AlertError) as caught:
        parse_alerts(body(without("labels"), without("startsAt"), GOOD | {"status": 1}))
    assert "3 faults" in str(caught.value)
    assert all(f"alerts[{i}]" in str(caught.value) for i in range(3))


def test_reading_ends_after_the_first_faults():
    with pytest.raises(AlertError, match="at least 20 faults") as caught:
        parse_alerts(body(*[3] * 100_000))
    assert len(caught.value.faults) == FAULTS_MAX
    assert len(str(caught.value)) < 2_000
    with pytest.raises(AlertError, match="at least 20 faults"):
        parse_alerts(body(GOOD | {"labels": {str(n): n for n in range(50_000)}}))


def test_very_long_names_are_remembered_by_short_ones():
    long = GOOD | {"fingerprint": "f" * 10_000}
    one, two = parse_alerts(body(long, without("fingerprint"), groupKey="g" * 10_000))
    assert len(one.fingerprint) == len(one.group_key) == 64
    assert two.fingerprint == "alertname=SloBurn,region=east"
    assert parse_alerts(body(long, groupKey="g" * 10_000))[0].key == one.key
