"""More alerts than anybody reads, and the leader dies in the middle: none is lost."""

from __future__ import annotations

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.installing import path_of
from tests.cluster.own_processes import Kept
from tests.cluster.processes import eventually

ALERTS_PER_S, FLOOD_S, PER_POST = 1000, 10.0, 50
POSTS = int(ALERTS_PER_S * FLOOD_S / PER_POST)
SENDERS = 40  # posts that wait for their answer at a time
INCIDENTS_MAX = 10
RECOVERY_S = 60.0
LEASE_LOST = 75  # exit status of one that is no longer sure that it leads: so busy may it be
ENDS_MAX = 4  # with the kill; more would be a crash loop
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure(
        f"{ALERTS_PER_S} alerts/s for {FLOOD_S:.0f} s with kill -9 in the middle: at most "
        f"{INCIDENTS_MAX} Incidents, every alert on one of them"
    ),
]


def notification(namespace, number):
    """Body number so and so of Alertmanager's webhook, version 4."""
    alerts = [
        {
            "status": "firing",
            "labels": {
                "alertname": "UsersWaitTooLong", "namespace": namespace, "severity": "page",
                "pod": f"chat-{number}-{k}",
            },
            "annotations": {"summary": "first tokens are late"},
            "startsAt": "2026-11-30T02:10:04Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus/graph",
            "fingerprint": f"{number * PER_POST + k:016x}",
        }
        for k in range(PER_POST)
    ]  # fmt: skip
    whole = {
        "version": "4", "groupKey": f"{{}}:{{group=\"{number}\"}}", "truncatedAlerts": 0,
        "status": "firing", "receiver": "midwatch", "groupLabels": {"group": str(number)},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager",
        "alerts": alerts,
    }  # fmt: skip
    return json.dumps(whole).encode()


class Sender:
    """Posts at its time, and again until it is taken, as Alertmanager does."""

    def __init__(self, operator, namespace):
        self.operator, self.namespace = operator, namespace
        self.began_s = time.monotonic()
        self.statuses, self.taken_s, self.lock = {}, {}, threading.Lock()

    def send(self, number):
        until = self.began_s + number * PER_POST / ALERTS_PER_S
        time.sleep(max(0.0, until - time.monotonic()))
        body, pause_s = notification(self.namespace, number), 0.2
        while True:
            status = self.operator.post_alerts(body)
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
            if 200 <= status < 300:
                self.taken_s[number] = time.monotonic() - self.began_s
                return
            assert status in (0, 503), f"a post was answered {status}: Alertmanager would drop it"
            assert time.monotonic() < self.began_s + FLOOD_S + RECOVERY_S, self.statuses
            time.sleep(pause_s)
            pause_s = min(2.0 * pause_s, 2.0)


def test_no_alert_of_a_flood_is_lost_though_the_leader_is_killed(
    watched, installed, make_operator, say
):
    with Kept(make_operator()) as kept:
        watched.wait()
        sender = Sender(kept.operator, watched.namespace)
        with ThreadPoolExecutor(SENDERS) as pool:
            sent = [pool.submit(sender.send, number) for number in range(POSTS)]
            time.sleep(FLOOD_S / 2.0)
            before = len(sender.taken_s)
            kept.operator.program.kill()
            for one in sent:
                one.result()
        took_s = max(sender.taken_s.values())
        incidents = installed.admin.items(path_of("incidents", watched.namespace))
        counted = sum(one["status"].get("alerts", 0) for one in incidents)
        recovered_s = watched.recovers()
    say(
        f"{POSTS * PER_POST} alerts, {before} of {POSTS} posts taken before kill -9, all after "
        f"{took_s:.1f} s, answers {sender.statuses}: {len(incidents)} Incidents count {counted}; "
        f"status follows after {recovered_s:.1f} s"
    )
    killed, *others = kept.statuses
    assert killed == -signal.SIGKILL and set(others) <= {LEASE_LOST}
    assert len(kept.statuses) <= ENDS_MAX
    assert 1 <= len(incidents) <= INCIDENTS_MAX
    assert counted == POSTS * PER_POST


def test_no_alert_is_taken_while_the_server_cannot_be_written_to(
    watched, installed, make_operator, say
):
    incidents = path_of("incidents", watched.namespace)
    with Kept(make_operator()) as kept:
        watched.wait()
        first, second = (notification(watched.namespace, number) for number in (0, 1))
        eventually(lambda: kept.operator.post_alerts(first) == 200, what="an answer")
        (before,) = installed.admin.items(incidents)
        installed.programs["kube-apiserver"].stop()
        told = [kept.operator.post_alerts(second, timeout_s=15.0) for _ in range(3)]
        installed.restart_api_server()
        took_s = eventually(
            lambda: kept.operator.post_alerts(second) == 200, timeout_s=RECOVERY_S, poll_s=0.5
        )
        (after,) = installed.admin.items(incidents)
    say(f"API server away: posts answered {told}; taken {took_s:.1f} s after it is back")
    assert set(told) <= {0, 503}
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["alerts"] == 2 * PER_POST
