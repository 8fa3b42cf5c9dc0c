"""A Replay whose leader ends while it runs: the next one runs it anew, and only that one's counts.

The worker lives through it, as it does in a cluster.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.installing import body, path_of
from tests.cluster.own_processes import Operator, Worker
from tests.cluster.processes import eventually
from tests.cluster.test_leading import writes_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.figure("leader killed or ended while a Replay runs: it is run anew, once"),
]
BEGUN_S = 60.0
RUN_S = 480.0  # of a small scenario in two worlds, on a busy machine
SPEC = {"scenario": "small", "seed": 11, "checks": ["CauseNamed"]}


def stored(plane, namespace, name):
    return plane.admin.get(path_of("replays", namespace, name)).get("status") or {}


def ended(plane, namespace, name):
    return stored(plane, namespace, name).get("phase") in ("Complete", "Failed")


@pytest.mark.parametrize("how", ["kill -9", "SIGTERM"])
def test_the_next_leader_runs_it_anew_and_its_answer_alone_counts(
    installed, namespace, empty_prometheus, tmp_path, how, say
):
    worker = Worker(tmp_path, metrics_url=empty_prometheus.url).start()
    first, second = (
        Operator(installed, tmp_path, worker=worker, metrics_url=empty_prometheus.url, name=name)
        for name in ("first", "second")
    )
    folder = path_of("replays", namespace)
    try:
        first.start()
        eventually(lambda: first.leads, timeout_s=30.0, what="the first replica leads")
        second.start()
        installed.admin.create(folder, body("Replay", "cut", SPEC))
        eventually(
            lambda: stored(installed, namespace, "cut").get("phase") == "Running"
            and worker_children(worker),
            timeout_s=BEGUN_S, what="it runs", poll_s=0.1,
        )  # fmt: skip
        began = stored(installed, namespace, "cut")["started"]
        if how == "kill -9":
            first.program.kill()
        else:
            first.program.process.terminate()
        eventually(lambda: second.leads, timeout_s=30.0, what="the second replica leads")
        mark, most = installed.audit.mark(), 0

        def over():
            nonlocal most
            most = max(most, len(worker_children(worker)))
            return ended(installed, namespace, "cut")

        took_s = eventually(over, timeout_s=RUN_S, what="its end", poll_s=0.1)
        cut = stored(installed, namespace, "cut")
        assert (cut["phase"], cut["started"]) == ("Complete", began), cut
        assert most == 1  # never two runs at once
        assert ("patch", "replays") not in writes_of(installed, first, since=mark)
        installed.admin.create(folder, body("Replay", "whole", SPEC))
        eventually(lambda: ended(installed, namespace, "whole"), timeout_s=RUN_S, poll_s=0.2)
        whole = stored(installed, namespace, "whole")
        same = ("phase", "verdict", "rankingSha256")
        assert [cut.get(key) for key in same] == [whole.get(key) for key in same]
        assert cut["report"]["sha256"] and cut["observedGeneration"] == 1
    finally:
        for one in (first, second, worker):
            one.stop()
    say(f"{how} while a Replay runs: its end {took_s:.0f} s after the next leader")


def worker_children(worker):
    """Processes of replays that it runs now."""
    pid = worker.program.process.pid
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        child for file in children for child in file.read_text().split()
        if "spawn_main" in command_of(child)
    ]  # fmt: skip


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
