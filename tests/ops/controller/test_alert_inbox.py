"""Alerts on their way: taken once, waited for by all who brought them, never told too early."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.alerts import alert_digest
from ops.controller.alerts.inbox import AlertInbox, Receipt
from ops.controller.alerts.routes import AlertRoutes
from ops.errors import KubeError, OpsError, OverloadedError
from ops.state import Alert

pytestmark = pytest.mark.filterwarnings("error")


def alert(n, *, firing=True, namespace="shop"):
    return Alert(
        group_key="g", fingerprint=f"f{n}", starts_at_s=1.0, firing=firing,
        labels={"namespace": namespace},
    )  # fmt: skip


def run(check):
    return asyncio.run(asyncio.wait_for(check, 5.0))


def test_two_senders_of_one_alert_wait_for_the_same_tick():
    async def check():
        inbox = AlertInbox(wake=lambda: None)
        first = asyncio.create_task(inbox.put([alert(1)]))
        second = asyncio.create_task(inbox.put([alert(1), alert(2)]))
        await asyncio.sleep(0)
        batch = inbox.take()
        assert [a.fingerprint for a in batch.alerts] == ["f1", "f2"]
        await asyncio.sleep(0)
        assert not first.done() and not second.done()
        batch.written()
        assert await first == Receipt(written=1)
        assert await second == Receipt(written=1, known=1)
        assert inbox.num_waiting == 0

    run(check())


def test_what_comes_during_a_tick_is_of_the_next_one():
    async def check():
        inbox = AlertInbox(wake=lambda: None)
        first = asyncio.create_task(inbox.put([alert(1)]))
        await asyncio.sleep(0)
        tick = inbox.take()
        second = asyncio.create_task(inbox.put([alert(2)]))
        await asyncio.sleep(0)
        tick.written()
        await first
        assert not second.done()
        with inbox.take() as batch:
            assert [a.fingerprint for a in batch.alerts] == ["f2"]
        await second

    run(check())


def test_a_tick_that_fails_tells_its_senders_and_forgets_nothing_as_written():
    async def check():
        inbox = AlertInbox(wake=lambda: None)
        told = asyncio.create_task(inbox.put([alert(1)]))
        await asyncio.sleep(0)
        with pytest.raises(KubeError), inbox.take():
            raise KubeError("PATCH: 500")
        with pytest.raises(KubeError):
            await told
        again = asyncio.create_task(inbox.put([alert(1)]))
        await asyncio.sleep(0)
        with inbox.take() as batch:
            assert len(batch.alerts) == 1
        assert (await again).written == 1

    run(check())


def test_a_cancelled_tick_asks_to_come_again():
    async def check():
        inbox = AlertInbox(wake=lambda: None)
        told = asyncio.create_task(inbox.put([alert(1)]))
        await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError), inbox.take():
            raise asyncio.CancelledError
        with pytest.raises(OverloadedError):
            await told

    run(check())


def test_alerts_that_came_before_the_record_was_read_back_do_not_count_twice():
    async def check():
        inbox = AlertInbox(wake=lambda: None)
        told = asyncio.create_task(inbox.put([alert(1), alert(2)]))
        await asyncio.sleep(0)
        inbox.restore([alert_digest(alert(1))])
        with inbox.take() as batch:
            assert [a.fingerprint for a in batch.alerts] == ["f2"]
        await told
        assert inbox.num_waiting == 0
        ended = asyncio.create_task(inbox.put([alert(1, firing=False)]))
        await asyncio.sleep(0)
        with inbox.take() as batch:
            assert len(batch.alerts) == 1, "the end of a known alert is news"
        await ended

    run(check())


def test_of_too_many_names_the_newest_are_kept():
    async def check():
        inbox = AlertInbox(wake=lambda: None, seen_max=10)
        inbox.restore(alert_digest(alert(n)) for n in range(40))
        assert (await inbox.put([alert(39)])).known == 1
        old = asyncio.create_task(inbox.put([alert(0)]))
        await asyncio.sleep(0)
        with inbox.take() as batch:
            assert len(batch.alerts) == 1
        await old

    run(check())


def test_one_notification_is_taken_whatever_its_size():
    async def check():
        inbox = AlertInbox(wake=lambda: None, waiting_max=3)
        told = asyncio.create_task(inbox.put([alert(n) for n in range(9)]))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await inbox.put([alert(10)])
        with inbox.take() as batch:
            assert len(batch.alerts) == 9
        await told

    run(check())


def test_a_fleet_that_cannot_write_does_not_keep_another_from_it():
    async def check():
        good, bad = (AlertInbox(wake=lambda: None) for _ in range(2))
        routes = AlertRoutes(lambda space, _: {"shop": [good], "pay": [bad]}.get(space, []))
        told = asyncio.create_task(routes.accept((alert(1), alert(2, namespace="pay"))))
        await asyncio.sleep(0.01)
        good.take().written()
        bad.take().failed(KubeError("500"))
        with pytest.raises(KubeError):
            await told
        assert (await good.put([alert(1)])).known == 1

    run(check())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(0, 6), min_size=1, max_size=4)),
        st.tuples(st.sampled_from(["take", "write", "fail"]), st.just([])),
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_in_any_order_of_events_each_alert_is_written_once_and_told_only_then(steps):
    """A sender is told "written" only when each of its alerts is; none is written twice."""

    async def check():
        inbox, batch, told, written = AlertInbox(wake=lambda: None, waiting_max=5), None, [], []

        async def send(numbers):
            wanted = [alert(n) for n in dict.fromkeys(numbers)]
            try:
                receipt = await inbox.put(wanted)
            except OpsError:
                return
            assert receipt.written + receipt.known == len(wanted)
            assert {a.fingerprint for a in wanted} <= set(written)

        for what, numbers in [*steps, ("take", []), ("write", []), ("take", []), ("write", [])]:
            match what:
                case "put":
                    told.append(asyncio.create_task(send(numbers)))
                case "take" if batch is None:
                    batch = inbox.take()
                case "write" if batch is not None:
                    written += [a.fingerprint for a in batch.alerts]
                    batch.written()
                    batch = None
                case "fail" if batch is not None:
                    batch.failed(KubeError("500"))
                    batch = None
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.gather(*told)
        assert max(Counter(written).values(), default=1) == 1
        assert inbox.num_waiting == 0

    run(check())


def test_receipts_add_up():
    one = Receipt(written=1, known=2, unrouted=3)
    assert one + replace(one, written=5) == Receipt(written=6, known=4, unrouted=6)
