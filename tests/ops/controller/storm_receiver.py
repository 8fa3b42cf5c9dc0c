"""A process of its own: the real receiver and the real loop, Incidents in files. Killed by tests.

Usage: storm_receiver.py FOLDER PORT. The folder holds `token`; each namespace gets a file with its
incidents, replaced as a whole, as an API server would store them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import numpy as np
import orjson

from ops.adapters.fakes import FakeDiagnoser
from ops.config import LoopConfig, OutcomeConfig
from ops.controller.alerts.digests import add_digests, split_digests
from ops.controller.alerts.inbox import AlertInbox
from ops.controller.alerts.routes import AlertRoutes
from ops.controller.alerts.server import serve
from ops.controller.alerts.webhook import make_webhook
from ops.pipeline import step
from ops.pipeline_state import Case, LoopState
from ops.state import Incident, IncidentPhase, Snapshot
from rca.state import MetricFrame, Symptom

NO_FRAME = MetricFrame(
    series=(), roles=(), times_s=np.zeros(0), values=np.zeros((0, 0), np.float32), step_s=1.0
)
NAMESPACES = ("shop", "chat", "search")


class FleetOnDisk:
    """The loop of one fleet without metrics; everything it decides is in one file."""

    def __init__(self, path: Path) -> None:
        self.path, self.woken = path, asyncio.Event()
        self.inbox = AlertInbox(wake=self.woken.set)
        self.digests: dict[str, str] = {}
        stored = orjson.loads(path.read_bytes()) if path.exists() else []
        cases = tuple(self._restored(item) for item in stored)
        self.state = LoopState(cases=cases, num_incidents=len(cases))

    def _restored(self, item: dict) -> Case:
        self.inbox.restore(split_digests(item["digests"]))
        self.digests[item["id"]] = item["digests"]
        symptom = Symptom(
            region=item["region"], slo_class="", began_at_s=item["began"],
            detected_at_s=item["began"], bad_ratio=float("nan"), reason="alert",
        )  # fmt: skip
        incident = Incident(
            incident_id=item["id"], phase=IncidentPhase(item["phase"]), symptom=symptom,
            began_at_s=item["began"], detected_at_s=item["began"], alerts=item["alerts"],
        )  # fmt: skip
        return Case(incident=incident, keys=(), firing=frozenset(split_digests(item["firing"])))

    async def run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.woken.wait(), 0.5)
            self.woken.clear()
            with self.inbox.take() as batch:
                self._tick(batch.alerts)
            await asyncio.sleep(0.02)

    def _tick(self, alerts) -> None:
        snapshot = Snapshot(
            now_s=time.time(), frame=NO_FRAME, pods=(), nodes=(), services=(), changes=(),
            events=(), slos=(), alerts=alerts,
        )  # fmt: skip
        config = LoopConfig(outcome=OutcomeConfig(mitigated_after_s=0.5, resolved_after_s=1.0))
        diagnoser = FakeDiagnoser([None])
        self.state, _ = step(self.state, snapshot, diagnoser=diagnoser, config=config)
        newest = self.state.cases[-1].incident.incident_id if self.state.cases else ""
        firing = [alert for alert in alerts if alert.firing]
        if newest:
            self.digests[newest] = add_digests(self.digests.get(newest, ""), firing)
        self._store()

    def _store(self) -> None:
        items = [
            {
                "id": case.incident.incident_id, "phase": case.incident.phase,
                "region": case.incident.symptom.region, "began": case.incident.began_at_s,
                "alerts": case.incident.alerts, "firing": "".join(sorted(case.firing)),
                "digests": self.digests.get(case.incident.incident_id, ""),
            }
            for case in self.state.cases
        ]  # fmt: skip
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(items))
        fresh.replace(self.path)


async def main(folder: Path, port: int) -> None:
    fleets = {name: FleetOnDisk(folder / f"{name}.json") for name in NAMESPACES}
    routes = AlertRoutes(lambda space, _: [fleets[space].inbox] if space in fleets else [])
    app = make_webhook(routes.accept, token_file=folder / "token")
    await serve(app, listen=f"127.0.0.1:{port}")
    await asyncio.gather(*(fleet.run() for fleet in fleets.values()))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
