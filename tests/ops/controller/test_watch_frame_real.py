"""A real Prometheus with the troubles of its own: none of them is trouble of the users.

Detection runs ten times as fast as shipped, at two scrapes a second. At the end users really
suffer, so that the silence before means something.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field, fields, replace

import pytest

from ops.adapters.prometheus import PrometheusReader
from ops.catalogue import Catalogue
from ops.clock import Deadline
from ops.config import DetectConfig, LoopConfig
from ops.controller.metrics_watch.frame import WatchFrame
from ops.controller.metrics_watch.state import DataState
from ops.pipeline import step
from ops.pipeline_state import LoopState
from ops.state import DecisionKind, SloTarget, Snapshot
from tests.cluster.processes import WAIT_S
from tests.cluster.stack import Prometheus, scrape_config
from tests.ops.controller.played_exporters import Frontend

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="prometheus is not installed (Debian package 'prometheus')",
    ),
]
SCRAPE_S, FASTER = 0.5, 10.0
CHAT = SloTarget(name="chat", ttft_s=2.0, tpot_s=0.2)


def fast_config():
    """The shipped thresholds, with every time a tenth."""
    detect = DetectConfig()
    times = {
        one.name: getattr(detect, one.name) / FASTER
        for one in fields(detect)
        if one.name.endswith(("_s", "_s_short", "_s_long", "_s_fast", "_s_missing"))
    }
    assert times["window_s_short"] == 3.0
    return LoopConfig(detect=replace(detect, **times))


@dataclass
class Watching:
    """The loop over a fleet's frame, as the operator runs it."""

    reader: PrometheusReader
    watch: WatchFrame
    config: LoopConfig = field(default_factory=fast_config)
    state: LoopState = field(default_factory=LoopState)
    opened: list = field(default_factory=list)
    states: list = field(default_factory=list)
    newest: DataState = DataState.MISSING

    def run(self, seconds, *, until=lambda self: False):
        """Read and step for so long; the states that the data were in."""
        end_s, seen = time.monotonic() + seconds, []
        while time.monotonic() < end_s and not until(self):
            reading = self.watch.advance(self.reader, deadline=Deadline.after(1.5))
            seen.append((reading.state, reading.detail))
            self.newest = reading.state
            snapshot = Snapshot(
                now_s=reading.server_now_s, frame=self.watch.trusted(), pods=(), nodes=(),
                services=(), changes=(), events=(), slos=(CHAT,),
                scrape_jobs=reading.scrape_jobs,
            )  # fmt: skip
            self.state, decisions = step(
                self.state, snapshot, diagnoser=lambda *a, **k: None, config=self.config
            )
            self.opened += [d for d in decisions if d.kind is DecisionKind.OPEN]
            time.sleep(max(0.05, min(SCRAPE_S, reading.next_at_s - reading.server_now_s)))
        self.states += seen
        return {state for state, _ in seen}

    def until(self, state):
        """Within the time that a busy machine needs; then a little more of it."""
        self.run(WAIT_S, until=lambda w: w.newest is state)
        assert self.newest is state, self.states[-3:]
        self.run(4.0)


@pytest.fixture
def frontends():
    made = [Frontend(pod=f"gw-{k}").start() for k in range(3)]
    yield made
    for one in made:
        one.stop()


@pytest.fixture
def prometheus(tmp_path, frontends):
    config = scrape_config(
        {f"gateway-{k}": [f"127.0.0.1:{one.port}"] for k, one in enumerate(frontends)},
        scrape_s=SCRAPE_S, labels={"namespace": "shop", "region": "eu"},
    )  # fmt: skip
    for job in config["scrape_configs"]:
        job["honor_labels"] = True
    server = Prometheus(tmp_path / "prometheus", config).start()
    yield server
    server.stop()


def test_troubles_of_measuring_open_no_incident_and_those_of_users_do(frontends, prometheus):
    _, second, third = frontends
    watch = WatchFrame(Catalogue.load(), namespace="shop", step_s=SCRAPE_S, window_s=60.0)
    with PrometheusReader(prometheus.url, timeout_s=1.0) as reader:
        watching = Watching(reader=reader, watch=watch)
        watching.run(20.0)
        watching.until(DataState.FRESH)

        second.stop()  # a target vanishes, and comes back as a new process
        watching.run(6.0)
        second.restart()
        watching.run(4.0)

        third.delay_s = 0.4  # slow scrapes, then ones that time out
        watching.run(5.0)
        third.delay_s = 0.7
        watching.run(4.0)
        third.delay_s = 0.0
        watching.run(3.0)

        for one in frontends:  # every process restarts at once, as in a rollout
            one.restart()
        watching.run(5.0)

        prometheus.stop()
        watching.until(DataState.STALE)
        prometheus.start()
        watching.until(DataState.FRESH)

        prometheus.program.pause()  # it hangs, and catches up
        watching.until(DataState.STALE)
        prometheus.program.resume()
        watching.until(DataState.FRESH)

        for one in frontends:  # nothing answers, then only NaN
            one.stop()
        watching.until(DataState.STALE)
        for one in frontends:
            one.nan = True
            one.start()
        assert DataState.FRESH not in watching.run(3.0)
        for one in frontends:
            one.nan = False
        watching.until(DataState.FRESH)
        assert watching.opened == [], watching.opened

        for one in frontends:
            one.fall_ill(0.5)
        watching.run(WAIT_S, until=lambda w: w.opened)
        assert len(watching.opened) == 1
        assert watching.opened[0].incident.symptom.reason == "errors"
