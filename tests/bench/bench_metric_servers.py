"""One live incident seen through several metric servers at once: when found, what is accused.

Run: PYTHONPATH=. python tests/bench/bench_metric_servers.py; about eight minutes of wall clock. It
starts `midwatch chaos serve`, Debian's Prometheus, and those of MIDWATCH_TEST_PROMETHEUS3 and
MIDWATCH_TEST_VICTORIAMETRICS that name a program. All scrape the same exporters; beside each runs
the operator's reading and the loop. Prints a table, writes tests/bench/results/metric_servers.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from circumstances import circumstances

from ops.adapters.prometheus import PrometheusReader
from ops.catalogue import Catalogue
from ops.clock import Deadline
from ops.config import LoopConfig
from ops.controller.metrics_watch.frame import WatchFrame
from ops.controller.metrics_watch.reading import WatchReading
from ops.controller.metrics_watch.state import DataState
from ops.pipeline import step
from ops.pipeline_state import LoopState
from ops.replay.scenarios import load_embedded
from ops.state import DecisionKind, SloTarget, Snapshot
from tests.ops.adapters.real_servers import SERVERS, free_address, program_of, scraping

RESULT = Path(__file__).parent / "results" / "metric_servers.json"
NAMESPACE, STEP_S = "shop", 5.0
QUIET_S, FOUND_S = 240.0, 240.0  # before the fault; for finding it
RANKED_S = 90.0  # of the fault that a ranking sees
LEFT_OUT = 77


@dataclass
class Watched:
    """The operator's reading of one server and the loop over it."""

    name: str
    url: str
    slos: tuple[SloTarget, ...]
    stack: ExitStack
    state: LoopState = field(default_factory=LoopState)
    opened_s: list[float] = field(default_factory=list)  # on the server's clock
    states: Counter = field(default_factory=Counter)
    details: Counter = field(default_factory=Counter)
    ages_s: list[float] = field(default_factory=list)  # of the newest sample, when it was read
    told: list[str] = field(default_factory=list)
    samples: int = 0

    def __post_init__(self) -> None:
        self.reader = self.stack.enter_context(PrometheusReader(self.url, timeout_s=4.0))
        self.watch = WatchFrame(Catalogue.load(), namespace=NAMESPACE, step_s=STEP_S)

    def turn(self) -> WatchReading:
        """One reading and one step."""
        reading = self.watch.advance(self.reader, deadline=Deadline.after(4.0))
        self.samples += reading.num_samples
        self.states[str(reading.state)] += 1
        if reading.scraped_at_s is not None:
            self.ages_s.append(reading.server_now_s - reading.scraped_at_s)
        if reading.detail:
            self.details[reading.detail.replace(self.url, "")[:120]] += 1
        snapshot = Snapshot(
            now_s=reading.server_now_s, frame=self.watch.trusted(), pods=(), nodes=(), services=(),
            changes=(), events=(), slos=self.slos, scrape_jobs=reading.scrape_jobs,
        )  # fmt: skip
        self.state, decisions = step(
            self.state, snapshot, diagnoser=lambda *_, **__: None, config=LoopConfig()
        )
        opened = [d for d in decisions if d.kind is DecisionKind.OPEN]
        self.opened_s += [d.at_s for d in opened]
        self.told += [f"{d.at_s:.0f}: {d.reason}" for d in opened]
        return reading


def run(watched: list[Watched], until_s: float) -> None:
    """Each as often as the operator would read, until that moment of our clock."""
    due_s = [0.0] * len(watched)
    while time.time() < until_s:
        for k, one in enumerate(watched):
            if time.time() >= due_s[k]:
                reading = one.turn()
                due_s[k] = time.time() + max(0.2, reading.next_at_s - reading.server_now_s)
        time.sleep(0.1)


@contextmanager
def exporters(seed: int) -> Iterator[tuple[str, str]]:
    """The simulated fleet: address of its scrape jobs, and of its faults."""
    listen, admin = free_address(), free_address()
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "chaos", "serve", "--listen", listen, "--admin", admin,
         "--namespace", NAMESPACE, "--seed", str(seed), "--json"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it serves now
        yield f"http://{listen}", f"http://{admin}"
    finally:
        process.terminate()
        process.wait(30.0)


def post(url: str, told: dict[str, Any]) -> Any:
    """Answer to a command of the exporters."""
    with urllib.request.urlopen(url, data=json.dumps(told).encode(), timeout=10.0) as answer:
        return json.load(answer)


def ranked(url: str, start_s: float, fault_s: float) -> list[str]:
    """First services and pod that `midwatch rca rank` accuses."""
    done = subprocess.run(
        [sys.executable, "-m", "ops", "rca", "rank", "--prometheus", url, "--where",
         f"namespace={NAMESPACE}", "--start", f"{start_s:.0f}", "--end",
         f"{fault_s + RANKED_S:.0f}", "--fault-at", f"{fault_s:.0f}", "--granger", "off", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        return [done.stderr.strip()[-160:]]
    told = json.loads(done.stdout)
    return [str(one.get("name", one)) if isinstance(one, dict) else str(one)
            for one in (*told["services"][:3], *told["instances"][:1])]  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", default="bad-code", help="fault kind")
    parser.add_argument("--seed", type=int, default=3)
    asked = parser.parse_args()
    names = [name for name in SERVERS if program_of(name)]
    if len(names) < 2:
        print("no second server: MIDWATCH_TEST_PROMETHEUS3 and the like name no program")
        sys.exit(LEFT_OUT)
    slos = load_embedded("chat").slos
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        metrics, admin = stack.enter_context(exporters(asked.seed))
        with urllib.request.urlopen(f"{metrics}/scrape-configs", timeout=10.0) as answer:
            jobs = json.load(answer)
        if isinstance(jobs, dict):
            jobs = jobs["scrape_configs"]
        watched = []
        for name in names:
            (folder / name).mkdir()
            server = scraping(name, jobs, folder / name)
            stack.callback(server.stop)
            watched.append(Watched(name, server.url, tuple(slos), stack))
        began_s = time.time()
        run(watched, began_s + QUIET_S)
        false = {one.name: len(one.opened_s) for one in watched}
        fault_s = time.time()
        truth = post(f"{admin}/fault", {"kind": asked.kind})
        run(watched, fault_s + FOUND_S)
        rows = [row(one, fault_s, began_s, false[one.name]) for one in watched]
    report = {"kind": asked.kind, "truth": truth, **circumstances(seed=asked.seed), "servers": rows}
    RESULT.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(json.dumps(truth))
    for one in rows:
        print(f"{one['server']:16} found after {one['found_after_s']} s, {one['states']}, "
              f"{one['false']} before, newest sample {one['newest_s']} s old")  # fmt: skip
        print(f"    opened {one['opened']}, accused {one['accused']}")
        for detail, times in one["details"].items():
            print(f"    {times} x {detail}")


def row(one: Watched, fault_s: float, began_s: float, false: int) -> dict[str, Any]:
    """What one server led to."""
    found = [at_s - fault_s for at_s in one.opened_s if at_s >= fault_s]
    return {
        "server": one.name,
        "found_after_s": round(found[0], 1) if found else None,
        "false": false, "states": dict(one.states), "details": dict(one.details.most_common(4)),
        "newest_s": round(statistics.median(one.ages_s), 2), "opened": one.told,
        "samples": one.samples, "fresh": one.states[str(DataState.FRESH)],
        "accused": ranked(one.url, began_s + 30.0, fault_s),
    }  # fmt: skip


if __name__ == "__main__":
    main()
