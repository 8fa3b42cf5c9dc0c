"""A real Alertmanager in front of the receiver: groups, repeats, ends, our 503, our restart."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from tests.cluster.processes import eventually, free_ports
from tests.cluster.stack import Alertmanager

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("prometheus-alertmanager") is None,
        reason="Alertmanager is not installed (Debian package 'prometheus-alertmanager')",
    ),
]
RECEIVER = Path(__file__).with_name("storm_receiver.py")
ROOT = Path(__file__).resolve().parents[3]
STARTED = datetime.now(UTC) - timedelta(minutes=1)


class Receiver:
    """The receiver's process, its Incidents in files."""

    def __init__(self, folder, port):
        self.folder, self.port, self.process = folder, port, None

    def start(self):
        argv = [sys.executable, str(RECEIVER), str(self.folder), str(self.port)]
        self.process = subprocess.Popen(argv, cwd=ROOT, env={"PYTHONPATH": "."})

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def incidents(self, space="shop"):
        path = self.folder / f"{space}.json"
        return orjson.loads(path.read_bytes()) if path.exists() else []

    def alerts(self, space="shop"):
        return [i["alerts"] for i in self.incidents(space)]


@pytest.fixture
def receiver(tmp_path, door):
    (tmp_path / "token").write_text(door.TOKEN)
    (port,) = free_ports(1)
    made = Receiver(tmp_path, port)
    made.start()
    eventually(made.listens)
    yield made
    made.kill()


@pytest.fixture
def manager(tmp_path, receiver, door):
    made = Alertmanager(
        tmp_path / "alertmanager", f"http://127.0.0.1:{receiver.port}/alerts", token=door.TOKEN,
        wait_s=0.3, repeat_s=1.0,
    )  # fmt: skip
    made.start()
    yield made
    made.stop()


def alert(name, *, space="shop", ended=False, **labels):
    until = datetime.now(UTC) + timedelta(seconds=0 if ended else 600)
    return {
        "labels": {"alertname": name, "namespace": space} | labels,
        "startsAt": STARTED.isoformat(),
        "endsAt": until.isoformat(),
    }


def counted(manager, name):
    """A counter of Alertmanager's own about its webhook."""
    with urllib.request.urlopen(f"{manager.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    head = f'{name}{{integration="webhook"}} '
    return float(next(line.removeprefix(head) for line in lines if line.startswith(head)))


def settled(receiver, space, expected):
    eventually(lambda: receiver.alerts(space) == expected)


def test_groups_repeats_and_ends_make_one_incident_a_fleet(manager, receiver):
    manager.fire([alert("Slow", pod=f"p{n}") for n in range(3)] + [alert("Errors")])
    manager.fire([alert("Slow", space="chat")])
    settled(receiver, "shop", [4])
    settled(receiver, "chat", [1])
    sent = counted(manager, "alertmanager_notifications_total")
    eventually(lambda: counted(manager, "alertmanager_notifications_total") >= sent + 3)
    assert receiver.alerts() == [4], "a repeat was counted"
    assert counted(manager, "alertmanager_notification_requests_failed_total") == 0
    manager.fire([alert("Slow", pod=f"p{n}", ended=True) for n in range(3)])
    time.sleep(1.0)
    assert [i["phase"] for i in receiver.incidents()] == ["Open"], "one alert fires still"
    manager.fire([alert("Errors", ended=True)])
    eventually(lambda: [i["phase"] for i in receiver.incidents()] == ["Resolved"])
    assert [i["phase"] for i in receiver.incidents("chat")] == ["Open"]


def test_503_and_a_dead_receiver_are_tried_again_and_nothing_counts_twice(manager, receiver):
    manager.fire([alert("Slow")])
    settled(receiver, "shop", [1])
    (receiver.folder / "token").rename(receiver.folder / "gone")  # 503 from now on
    manager.fire([alert("Errors")])
    failed = "alertmanager_notification_requests_failed_total"
    eventually(lambda: counted(manager, failed) >= 1)
    assert receiver.alerts() == [1]
    (receiver.folder / "gone").rename(receiver.folder / "token")
    settled(receiver, "shop", [2])
    receiver.kill()
    before = counted(manager, failed)
    manager.fire([alert("Queue")])
    eventually(lambda: counted(manager, failed) > before)
    receiver.start()
    eventually(receiver.listens)
    settled(receiver, "shop", [3])
    quiet = counted(manager, failed)
    sent = counted(manager, "alertmanager_notifications_total")
    eventually(lambda: counted(manager, "alertmanager_notifications_total") >= sent + 3)
    assert receiver.alerts() == [3], "the restart made known alerts new"
    assert counted(manager, failed) == quiet


def test_the_receiver_of_the_documents_is_one_that_alertmanager_takes(tmp_path):
    text = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    found = text.partition("# alertmanager.yml\n")[2].partition("```")[0]
    path = tmp_path / "alertmanager.yml"
    path.write_text(found, encoding="utf-8")
    done = subprocess.run(
        ["amtool", "check-config", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
