"""Alerts from outside: each is counted on one incident, however often it is repeated."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import replace
from math import nan

import numpy as np

from ops.incidents import open_case
from ops.pipeline_state import Case, Turn
from ops.slo import bad_ratios, window_counts
from ops.slo_keys import Key
from ops.state import Alert, DecisionKind
from rca.state import Symptom

ALERTS_SEEN_MAX = 10_000  # the oldest half is forgotten beyond it
FIRING_MAX = 1_024  # alerts of one incident whose end is waited for; the others are only counted
DIGEST_CHARS = 8
REGION_UNKNOWN = "default"  # of an alert that names none, in a fleet without pods


def alert_digest(alert: Alert) -> str:
    """Name of what makes a repeated notification the same alert: groupKey, fingerprint, startsAt.

    Firing and resolved notifications of one alert have the same digest. Eight characters are 48
    bits: among 10,000 alerts a new one is taken for a known one with a chance of 4 in 10^11.
    """
    text = "\0".join((alert.group_key, alert.fingerprint, repr(alert.starts_at_s)))
    raw = hashlib.blake2b(text.encode(), digest_size=6).digest()
    return base64.urlsafe_b64encode(raw).decode()


def take_alerts(turn: Turn) -> None:
    """Count the alerts that are new; one entry per incident tells how many came."""
    _take_ends(turn)
    fresh = {a.key: a for a in turn.snapshot.alerts if a.key not in turn.state.alerts_seen}
    if not fresh:
        return
    seen = turn.state.alerts_seen
    if len(seen) > ALERTS_SEEN_MAX:
        seen = frozenset(sorted(seen, key=lambda key: key[2])[ALERTS_SEEN_MAX // 2 :])
    turn.state = replace(turn.state, alerts_seen=seen | frozenset(fresh))
    counted: dict[str, list[Alert]] = {}
    for alert in sorted(fresh.values(), key=lambda a: (a.starts_at_s, a.key)):
        if alert.firing:
            case = _case_for(turn, alert)
            counted.setdefault(case.incident.incident_id, []).append(alert)
    for incident_id, alerts in counted.items():
        case = next(c for c in turn.state.cases if c.incident.incident_id == incident_id)
        incident = replace(case.incident, alerts=case.incident.alerts + len(alerts))
        room = FIRING_MAX - len(case.firing)
        firing = case.firing | {alert_digest(alert) for alert in alerts[:room]}
        turn.put(replace(case, incident=incident, firing=firing))
        names = sorted({alert.labels.get("alertname", alert.fingerprint) for alert in alerts})
        turn.say(
            DecisionKind.ALERT,
            f"{len(alerts)} new alerts: {', '.join(names[:3])}",
            incident=incident,
            num_alerts=len(alerts),
        )


def _take_ends(turn: Turn) -> None:
    """Forget the alerts that have ended."""
    ended = frozenset(alert_digest(a) for a in turn.snapshot.alerts if not a.firing)
    for case in turn.open_cases if ended else ():
        if case.firing & ended:
            turn.put(replace(case, firing=case.firing - ended))


def _case_for(turn: Turn, alert: Alert) -> Case:
    """The open case of the alert's region, any open case, or a new one."""
    region = alert.labels.get("region", "")
    cases = turn.open_cases
    same = [c for c in cases if any(r == region for r, _ in c.keys)]
    if same or cases:
        return (same or cases)[-1]
    keys = [k for k in turn.state.meter.keys if k[0] == region] or list(turn.state.meter.keys)
    key, ratio = _worst(turn, tuple(keys), alert) if keys else (_place_of(turn, alert), nan)
    symptom = Symptom(
        region=key[0],
        slo_class=key[1],
        began_at_s=min(alert.starts_at_s, turn.now_s),
        detected_at_s=turn.now_s,
        bad_ratio=ratio,
        reason="alert",
    )
    return open_case(turn, symptom, keys=(key,) if keys else ())


def _place_of(turn: Turn, alert: Alert) -> Key:
    """Region and class of an alert where no SLO is measured: its own labels, else its pod's."""
    region = alert.labels.get("region", "")
    if not region:
        pods = turn.snapshot.pods
        same = [pod.region for pod in pods if pod.name == alert.labels.get("pod")]
        most = Counter(sorted(same or [pod.region for pod in pods])).most_common(1)
        region = most[0][0] if most else REGION_UNKNOWN
    return region, alert.labels.get("slo_class", "")


def _worst(turn: Turn, keys: tuple[Key, ...], alert: Alert) -> tuple[Key, float]:
    """The key that suffers most now, among those of the alert's class if it names one."""
    slo_class = alert.labels.get("slo_class", "")
    named = tuple(key for key in keys if key[1] == slo_class) or keys
    counts = window_counts(turn.state.meter, span_s=turn.config.detect.window_s_long)
    ratios = np.nan_to_num(bad_ratios(counts))
    positions = turn.positions(named)
    worst = max(positions, key=lambda i: float(ratios[i]))
    return turn.state.meter.keys[worst], float(ratios[worst])
