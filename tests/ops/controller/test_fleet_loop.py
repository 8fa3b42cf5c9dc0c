"""When a fleet's loop runs: at scrapes, after changes, after faults; alerts wait for the write."""

from __future__ import annotations

import asyncio

import pytest

from ops.clock import monotonic_s
from ops.controller.alerts.inbox import Receipt
from ops.controller.fleet import loop as fleet_loop
from ops.controller.fleet.loop import FleetLoop
from ops.controller.operator_metrics import OperatorMetrics
from ops.errors import KubeError, NotLeadingError, OpsError
from ops.state import Alert

ALERT = Alert(group_key="g", fingerprint="f", starts_at_s=1.0, firing=True)


class Work:
    """Counts what is asked of it."""

    def __init__(self):
        self.next_read_at_s = 0.0
        self.begun = self.reads = self.published = 0
        self.decided = []
        self.digests = frozenset()
        self.errors = []
        self.pause_s = 3600.0

    num_open = num_series = 0

    def renew(self, fleet):
        self.fleet = fleet

    def begin(self):
        self.begun += 1
        self._fail()
        return self.digests

    def read(self):
        self.reads += 1
        self.next_read_at_s = monotonic_s() + self.pause_s

    def decide(self, alerts):
        self._fail()
        self.decided.append(alerts)

    def publish(self):
        self.published += 1

    def _fail(self):
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("DEBOUNCE_S", "STEP_EVERY_S", "FAILED_PAUSE_S"):
        monkeypatch.setattr(fleet_loop, name, 0.001)


def run(work, scenario):
    async def main():
        async def in_pool(task):
            done = task()
            await asyncio.sleep(0)  # others run meanwhile
            return done

        loop = FleetLoop(
            work,
            name="shop/chat",
            in_pool=in_pool,
            to_read=in_pool,
            to_publish=in_pool,
            metrics=OperatorMetrics(),
        )
        task = asyncio.create_task(loop.run())
        try:
            async with asyncio.timeout(5.0):
                return await scenario(loop)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(main())


async def until(check):
    while not check():
        await asyncio.sleep(0.001)


def test_it_reads_back_once_then_reads_and_decides_at_every_scrape():
    work = Work()
    work.pause_s = 0.01

    async def scenario(loop):
        await until(lambda: work.reads >= 3)

    run(work, scenario)
    assert work.begun == 1
    assert len(work.decided) >= 2


def test_a_change_wakes_it_without_another_read():
    work = Work()

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        loop.changed(monotonic_s())
        await until(lambda: len(work.decided) == 2)

    run(work, scenario)
    assert work.reads == 1


def test_an_alert_is_answered_when_it_is_written():
    work = Work()

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        return await loop.inbox.put([ALERT])

    assert run(work, scenario) == Receipt(written=1)
    assert work.decided[-1] == (ALERT,)


def test_an_alert_that_comes_while_metrics_are_read_is_of_the_same_step():
    work, told = Work(), []

    async def scenario(loop):
        def read():
            work.next_read_at_s = monotonic_s() + 3600.0
            told.append(asyncio.ensure_future(loop.inbox.put([ALERT])))

        work.read = read
        await until(lambda: told and told[0].done())

    run(work, scenario)
    assert work.decided[0] == (ALERT,)


def test_an_alert_that_cannot_be_written_is_refused_and_the_loop_goes_on():
    work = Work()

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        work.errors.append(KubeError("conflict", status=409))
        with pytest.raises(OpsError):
            await loop.inbox.put([ALERT])
        return await loop.inbox.put([ALERT])

    assert run(work, scenario) == Receipt(written=1)


def test_alerts_counted_before_a_restart_are_known():
    work = Work()
    from ops.alerts import alert_digest

    work.digests = frozenset({alert_digest(ALERT)})

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        return await loop.inbox.put([ALERT])

    assert run(work, scenario) == Receipt(known=1)


def test_a_fault_of_ours_does_not_end_it():
    work = Work()
    work.errors = [
        KubeError("busy", status=429),
        NotLeadingError("for a moment"),
        ValueError("a fault of ours"),
    ]

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)

    run(work, scenario)
    assert work.begun == 4


def test_a_change_that_waits_is_decided_before_a_read_that_is_due():
    work = Work()
    order = []
    read, decide = work.read, work.decide
    work.read = lambda: (order.append("read"), read())
    work.decide = lambda alerts: (order.append("decide"), decide(alerts))

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        work.next_read_at_s = 0.0
        loop.changed(monotonic_s())
        await until(lambda: work.reads == 2 and len(work.decided) == 3)

    run(work, scenario)
    assert order == ["read", "decide", "decide", "read", "decide"]


def test_what_was_not_written_is_told_in_the_status_and_tried_again():
    work = Work()

    async def scenario(loop):
        await until(lambda: work.decided)
        published = work.published
        work.errors.append(KubeError("patch: 500", status=500))
        loop.wake()
        await until(lambda: loop.last_error)
        assert work.published > published
        loop.wake()
        await until(lambda: not loop.last_error)

    run(work, scenario)
