"""When a fault could first be seen: the first scrape that a world without it answers otherwise.

For whoever scores a diagnosis. Two worlds of one plan are simulated again, with and without the
fault, and asked at the moments of the scrapes that were made.
"""

from __future__ import annotations

from ops.catalogue import Catalogue
from ops.replay.exporters import EXPORTERS
from ops.replay.exposition import TargetText
from ops.replay.faults import ActiveFault
from ops.replay.fleet import Fleet
from ops.replay.live_fleet import LiveFleet, Scrape, begin_fault, make_fleet, stop_fault

_EXPORTERS = {exporter.job: exporter for exporter in EXPORTERS}


def first_changed(live: LiveFleet, index: int, *, catalogue: Catalogue) -> Scrape | None:
    """The first scrape with a sample that fault number `index` changed; None = none so far.

    Faults before it happen in both worlds.
    """
    since_s = live.faults[index].spec.start_s
    with_it, without = (_Asked(live, skip=skip, catalogue=catalogue) for skip in (None, index))
    for scrape in list(live.scrapes):
        if scrape.at_s >= since_s and with_it.text(scrape) != without.text(scrape):
            return scrape
    return None


class _Asked:
    """A world that answers scrapes at their moments."""

    def __init__(self, live: LiveFleet, *, skip: int | None, catalogue: Catalogue) -> None:
        self._live, self._catalogue = live, catalogue
        self._fleet: Fleet = make_fleet(live.plan)
        self._fleet.start()
        self._texts: dict[tuple[str, str, str], TargetText] = {}
        # (moment, fault, whether it begins), what comes first at the end of the list
        self._to_come: list[tuple[float, int, bool]] = []
        self._faults: dict[int, ActiveFault] = {}
        for number, started in enumerate(live.faults):
            if number != skip:
                self._to_come.append((started.spec.start_s, number, True))
                if started.ended_at_s is not None:
                    self._to_come.append((started.ended_at_s - live.epoch_s, number, False))
        self._to_come.sort(reverse=True)

    def text(self, scrape: Scrape) -> str | None:
        fleet = self._fleet
        self._advance(scrape.at_s)
        fleet.refresh(scrape.region, scrape.at_s)
        found = _EXPORTERS[scrape.job].targets(fleet, scrape.region)
        target = next((one for one in found if one.name == scrape.target), None)
        if target is None or not target.up or fleet.silenced(scrape.region, scrape.job):
            return None
        key = (scrape.region, scrape.job, scrape.target)
        if key not in self._texts:
            self._texts[key] = TargetText(
                target, job=scrape.job, added={}, epoch_s=0.0, catalogue=self._catalogue
            )
        collection = self._live.collection(scrape.job, scrape.at_s)
        return self._texts[key].render(target, collection=collection)

    def _advance(self, until_s: float) -> None:
        fleet, live = self._fleet, self._live
        while self._to_come and self._to_come[-1][0] <= until_s:
            at_s, number, begins = self._to_come.pop()
            fleet.run_until(at_s)
            if begins:
                spec = live.faults[number].spec
                self._faults[number] = begin_fault(fleet, live.plan, spec, index=number)
            else:
                stop_fault(self._faults[number])
        fleet.run_until(until_s)
