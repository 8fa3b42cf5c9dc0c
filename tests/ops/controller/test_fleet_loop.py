"""When a fleet is stepped: at scrapes, after changes and faults; alerts wait for the write."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ops.clock import monotonic_s
from ops.controller.alerts.inbox import Receipt
from ops.controller.fleet import backoff
from ops.controller.fleet import loop as fleet_loop
from ops.controller.fleet.loop import FleetLoop
from ops.controller.fleet.threads import Threads
from ops.controller.operator_metrics import OperatorMetrics
from ops.errors import KubeError, NotLeadingError, OpsError
from ops.state import Alert

ALERT = Alert(group_key="g", fingerprint="f", starts_at_s=1.0, firing=True)


class Work:
    """Counts what is asked of it."""

    def __init__(self):
        self.next_read_at_s = 0.0
        self.gone = self.wants_history = self.wants_dry_run = False
        self.held = []  # decisions that wrote nothing
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

    def ask(self):
        self.reads += 1

    def ask_history(self):
        self.wants_history = False

    def dry_run(self):
        self.wants_dry_run = False
        self.decided_before_dry_run = len(self.decided)

    def decide(self, alerts, *, write):
        self.next_read_at_s = max(self.next_read_at_s, monotonic_s() + self.pause_s)
        if not write:
            self.held.append(alerts)
            return
        self._fail()
        self.decided.append(alerts)

    def publish(self):
        self.published += 1

    def _fail(self):
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("DEBOUNCE_S", "STEP_EVERY_S", "HISTORY_AGAIN_S"):
        monkeypatch.setattr(fleet_loop, name, 0.001)
    monkeypatch.setattr(backoff, "PAUSE_S", 0.001)


def run(work, scenario, **more):
    """Play a scenario; `more` takes the place of a thread pool, e.g. one that never answers."""

    async def main():
        async def in_pool(task):
            done = task()
            await asyncio.sleep(0)  # others run meanwhile
            return done

        pools = dict.fromkeys(("step", "read", "remember", "dry_run", "publish"), in_pool) | more
        loop = FleetLoop(
            work, name="shop/chat", threads=Threads(**pools), metrics=OperatorMetrics(),
            doubted=lambda: setattr(work, "doubted", True),
        )  # fmt: skip
        task = asyncio.create_task(loop.run())
        try:
            async with asyncio.timeout(30.0):
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


async def never(work):
    await asyncio.Event().wait()


def test_neither_a_change_nor_an_alert_waits_for_a_prometheus():
    work = Work()

    async def scenario(loop):
        loop.changed(monotonic_s())
        await until(lambda: work.decided)
        return await loop.inbox.put([ALERT])

    assert run(work, scenario, read=never, remember=never) == Receipt(written=1)


def test_neither_a_change_nor_an_alert_waits_for_the_status():
    work = Work()

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        loop.changed(monotonic_s())
        await until(lambda: len(work.decided) == 2)
        return await loop.inbox.put([ALERT])

    assert run(work, scenario, publish=never) == Receipt(written=1)


def test_one_status_of_a_fleet_is_under_way_at_a_time():
    work, under_way, go_on = Work(), [], asyncio.Event()

    async def slow(task):
        under_way.append(1)
        assert len(under_way) == 1
        await go_on.wait()
        under_way.pop()
        return task()

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)  # by the first reading, the only one
        for n in range(2, 6):
            loop.changed(monotonic_s())
            await until(lambda n=n: len(work.decided) == n)
        # Its receipt comes when that step is over: no decision is on its way to be told.
        await loop.inbox.put([ALERT])
        go_on.set()
        await until(lambda: work.published >= 2)

    run(work, scenario, publish=slow)
    assert work.published == 2  # what was decided meanwhile is told once


def test_what_was_read_is_taken_in_before_the_next_question():
    work, order = Work(), []
    work.pause_s = 0.0
    ask, decide = work.ask, work.decide
    work.ask = lambda: (order.append("ask"), ask())
    work.decide = lambda alerts, **how: (order.append("decide"), decide(alerts, **how))

    async def scenario(loop):
        await until(lambda: work.reads >= 4)

    run(work, scenario)
    assert "ask ask" not in " ".join(order)


def test_an_hour_of_history_is_asked_for_beside_the_rest():
    work = Work()
    work.wants_history = True

    async def scenario(loop):
        await until(lambda: not work.wants_history and work.decided)

    run(work, scenario)


def test_an_hour_that_is_wanted_later_is_asked_for_too():
    work = Work()

    async def scenario(loop):
        await until(lambda: work.decided)
        await asyncio.sleep(0.01)
        work.wants_history = True  # an invalid spec was mended
        await until(lambda: not work.wants_history)

    run(work, scenario)


def test_neither_a_change_nor_an_alert_waits_for_a_dry_run():
    work = Work()
    work.wants_dry_run = True

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        loop.changed(monotonic_s())
        await until(lambda: len(work.decided) == 2)
        return await loop.inbox.put([ALERT])

    assert run(work, scenario, dry_run=never) == Receipt(written=1)


def test_what_a_dry_run_said_is_taken_in_by_a_step_of_its_own():
    work = Work()
    work.wants_dry_run = True

    async def scenario(loop):
        await until(lambda: not work.wants_dry_run)
        await until(lambda: len(work.decided) > work.decided_before_dry_run)

    run(work, scenario)


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


def test_no_change_cuts_the_pause_of_a_fleet_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(backoff, "PAUSE_S", 60.0)
    monkeypatch.setattr(backoff, "PAUSE_S_MAX", 60.0)
    work = Work()

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        work.errors.append(KubeError("patch: 500", status=500))
        loop.wake()
        await until(lambda: loop.last_error)
        for n in range(1, 4):
            loop.changed(monotonic_s())
            await until(lambda n=n: len(work.held) >= n)  # decided, and nothing sent

    run(work, scenario)
    assert len(work.decided) == 1


def test_a_server_that_asks_for_a_pause_gets_it(monkeypatch):
    work = Work()

    async def scenario(loop):
        await until(lambda: len(work.decided) == 1)
        work.errors.append(KubeError("patch: 429", status=429, retry_after_s=0.1))
        failed_at_s = monotonic_s()
        with pytest.raises(KubeError):
            await loop.inbox.put([ALERT])
        await loop.inbox.put([ALERT])  # written by the first try after it
        return monotonic_s() - failed_at_s

    assert run(work, scenario) >= 0.1


def test_alerts_wait_for_no_long_pause(monkeypatch):
    monkeypatch.setattr(backoff, "PAUSE_S", 1.0)
    monkeypatch.setattr(backoff, "SPREAD_RATIO", 0.0)
    wait = backoff.Backoff(key="shop/chat", clock=lambda: 100.0)
    for _ in range(20):
        wait.failed(KubeError("500", status=500))
    assert wait.until_s() == pytest.approx(100.0 + backoff.PAUSE_S_MAX)
    assert wait.until_s(urgent=True) == pytest.approx(100.0 + backoff.ALERTS_PAUSE_S)
    wait.failed(KubeError("429", status=429, retry_after_s=9.0))
    assert wait.until_s(urgent=True) == pytest.approx(109.0)
    wait.succeeded()
    assert wait.until_s() == 0.0


def test_a_fleet_that_the_server_does_not_know_is_doubted():
    work = Work()

    async def scenario(loop):
        work.gone, work.doubted = True, False
        await until(lambda: work.doubted)

    run(work, scenario)


def test_what_was_not_written_is_told_in_the_status_and_tried_again():
    work = Work()

    async def scenario(loop):
        await until(lambda: work.decided)
        published = work.published
        work.errors += [KubeError("patch: 500", status=500)] * 1000  # until it is seen
        loop.wake()
        await until(lambda: loop.last_error)
        assert work.published > published
        work.errors.clear()
        loop.wake()
        await until(lambda: not loop.last_error)

    run(work, scenario)


def test_a_job_that_ends_by_a_fault_of_ours_begins_again():
    work = Work()
    work.gone = True

    def doubted(_):
        work.gone = False
        raise ValueError("a fault of ours")

    async def scenario(loop):
        loop._doubted = lambda: doubted(loop)
        await until(lambda: work.published == 1 and not work.gone)
        loop.changed(monotonic_s())
        await until(lambda: work.published >= 2)

    run(work, scenario)


class SlowWork(Work):
    """Counts how many of its decisions were under way at once, and ends none before it may."""

    under_way = most = 0

    def __init__(self):
        super().__init__()
        self.may_end = threading.Event()
        self.may_end.set()

    def decide(self, alerts, *, write):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        assert self.may_end.wait(30.0)
        super().decide(alerts, write=write)
        self.under_way -= 1


def test_a_job_that_begins_again_waits_for_the_thread_that_it_left():
    work = SlowWork()

    def threaded(task):
        return asyncio.get_running_loop().run_in_executor(None, task)

    def doubted():
        work.gone = False
        raise ValueError("a fault of ours")

    async def scenario(loop):
        loop._doubted = doubted
        await until(lambda: len(work.decided) == 1 and not work.under_way)
        work.may_end.clear()
        loop.changed(monotonic_s())
        await until(lambda: work.under_way)
        work.gone = True
        loop._unpublished.set()  # the job that raises ends the decision's, not its thread
        await until(lambda: not work.gone)
        await asyncio.sleep(0.03)  # time for another decision, were one to begin
        work.may_end.set()
        await until(lambda: len(work.decided) >= 3)  # what was cut off is done again

    run(work, scenario, step=threaded)
    assert work.most == 1
