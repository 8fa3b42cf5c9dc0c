"""A storm of alerts on two real replicas: each alert counts once, whatever is killed meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue

import pytest

from tests.cluster.installing import path_of
from tests.cluster.own_processes import Kept, Operator, add_fleet
from tests.cluster.processes import eventually

NUM_ALERTS, BATCH, RATE, SENDERS = 10_000, 100, 1_000.0, 16
RECOVERY_S, MEMORY_MIB = 60.0, 128.0
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure(
        "10,000 alerts, 1,000 a second for 10 s, with kill -9 in the middle: at most 10 Incidents, "
        f"every alert counted once, recovery within {RECOVERY_S:.0f} s"
    ),
]


def notification(namespace, first):
    """One group as Alertmanager sends it."""
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": f"Slow{n % 7}", "namespace": namespace, "region": "north",
                       "pod": f"chat-{n}", "severity": "page"},
            "annotations": {"summary": "requests miss their limits"},
            "startsAt": "2026-11-30T02:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": f"{n:016x}",
        }
        for n in range(first, first + BATCH)
    ]  # fmt: skip
    return json.dumps(
        {"version": "4", "groupKey": f"{{}}:{{group={first}}}", "alerts": alerts}
    ).encode()


class Storm:
    """Senders that try each notification until it is answered 200, as Alertmanager does."""

    def __init__(self, replicas, namespace):
        self.replicas, self.answers, self.queue = replicas, Counter(), Queue()
        self.killed_s = self.longest_s = 0.0
        self.down = False  # nobody has taken an alert since the last kill
        self.lock = threading.Lock()
        self.namespace = namespace
        self.threads = [threading.Thread(target=self._send, daemon=True) for _ in range(SENDERS)]
        self.over = threading.Event()

    def kill(self, leader):
        """Kill it; waits count from the first kill since an alert was taken."""
        with self.lock:
            leader.program.kill()
            if not self.down:
                self.down, self.killed_s = True, time.monotonic()

    def run(self, at):
        """Offer RATE alerts a second; `at` is called after that many alerts, by number."""
        for thread in self.threads:
            thread.start()
        began_s = time.monotonic()
        for n in range(0, NUM_ALERTS, BATCH):
            time.sleep(max(0.0, began_s + n / RATE - time.monotonic()))
            self.queue.put((n, notification(self.namespace, n)))
            if n in at:
                at[n]()
        self.over.set()
        for thread in self.threads:
            thread.join(timeout=3.0 * RECOVERY_S)
        assert not any(thread.is_alive() for thread in self.threads), self.answers

    def _send(self):
        while True:
            try:
                n, body = self.queue.get(timeout=0.2)
            except Empty:
                if self.over.is_set():
                    return
                continue
            began_s, pause_s, tries = time.monotonic(), 0.1, 0
            while True:
                replica = self.replicas[(n // BATCH + tries) % len(self.replicas)]
                status = replica.post_alerts(body)
                tries += 1
                with self.lock:
                    self.answers[status] += 1
                    if status == 200:
                        self.down = False
                        waited_s = time.monotonic() - max(began_s, self.killed_s)
                        self.longest_s = max(self.longest_s, waited_s)
                        break
                assert status == 0 or status >= 500, status
                time.sleep(pause_s)
                pause_s = min(2.0 * pause_s, 2.0)


@pytest.fixture
def pair(installed, tmp_path):
    """Two replicas that take the same token; who ends is started again."""
    first, second = (Operator(installed, tmp_path, name=name) for name in ("first", "second"))
    second.webhook_token = first.webhook_token
    (second.folder / "webhook-token").write_text(first.webhook_token)
    with Kept(first):
        eventually(lambda: first.leads, what="a leader")
        with Kept(second):
            yield [first, second]


def eventually_leading(replicas):
    """The one that leads, once one does."""
    leading = []
    eventually(
        lambda: leading.extend(one for one in replicas if one.leads) or leading,
        timeout_s=RECOVERY_S, what="a leader",
    )  # fmt: skip
    return leading[0]


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "kills"])
def test_a_storm_is_one_incident_and_every_alert_counts_once(
    installed, namespace, pair, capsys, killed
):
    add_fleet(installed, namespace)
    storm = Storm(pair, namespace)
    eventually(lambda: pair[0].post_alerts(notification("nowhere", 0)) == 200, what="an answer")
    memory, kills = {}, []

    def note_memory(one):
        with suppress(AssertionError, OSError):  # it may have just ended
            memory[one.name] = max(memory.get(one.name, 0.0), one.program.rss_mib_peak())

    def kill_leader():
        with killing:
            leader = eventually_leading(pair)
            note_memory(leader)
            storm.kill(leader)

    killing = threading.Lock()
    with ThreadPoolExecutor() as killers:

        def kill_soon():
            kills.append(killers.submit(kill_leader))

        storm.run({3_000: kill_soon, 7_000: kill_soon} if killed else {})
    assert [one.result() for one in kills] == [None] * (2 if killed else 0)
    for one in pair:
        note_memory(one)
    incidents = installed.admin.items(path_of("incidents", namespace))
    counted = sum(one["status"].get("alerts", 0) for one in incidents)
    answers = {str(key): value for key, value in sorted(storm.answers.items())}
    with capsys.disabled():
        print(
            f"\n{NUM_ALERTS} alerts, {len(incidents)} Incidents, {counted} counted, answers "
            f"{answers}, longest wait {storm.longest_s:.1f} s, peak memory "
            f"{max(memory.values(), default=0.0):.0f} MiB ", end="",
        )  # fmt: skip
    assert len(incidents) <= 10
    assert counted == NUM_ALERTS
    assert storm.longest_s <= RECOVERY_S
