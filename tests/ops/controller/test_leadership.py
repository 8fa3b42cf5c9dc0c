"""The thread that keeps the Lease: it tells once, ends the process on loss, gives up in order."""

from __future__ import annotations

import threading

import pytest

from ops.controller.leading.leadership import EXIT_LOST, PAUSE_S_MIN, Leadership
from ops.controller.leading.lease import Elector, LeaseRecord
from ops.controller.settings import LeaseSettings
from ops.errors import KubeError, NotLeadingError
from tests.ops.controller.test_lease import FakeClock, FakeLeases

FAST = LeaseSettings(duration_seconds=7, renew_seconds=4.5, retry_seconds=0.001)


class World:
    def __init__(self):
        self.clock = FakeClock()
        self.leases = FakeLeases(self.clock)
        self.led, self.ended = threading.Event(), threading.Event()
        self.codes = []
        self.leadership = Leadership(
            Elector(leases=self.leases, identity="a", settings=FAST, address="http://a"),
            clock=self.clock,
            on_lead=self.led.set,
            end=self.end,
        )

    def end(self, code):
        self.codes.append(code)
        self.ended.set()


@pytest.fixture
def world():
    made = World()
    yield made
    made.leadership.stop()


def test_it_leads_and_says_so_once(world):
    assert world.leadership.leader_address == ""
    with pytest.raises(NotLeadingError):
        world.leadership.check()
    world.leadership.start()
    assert world.led.wait(30.0)
    assert world.leadership.leader_address is None
    world.leadership.check()


def test_a_lost_lease_ends_the_process(world):
    world.leadership.start()
    assert world.led.wait(30.0)
    world.clock.now_s += 100.0  # stopped, then going on
    assert world.ended.wait(30.0)
    assert world.codes == [EXIT_LOST]
    assert not world.leadership.held


def test_a_fault_of_ours_does_not_end_the_renewals(world):
    broken = iter([ValueError("a fault of ours"), KubeError("away")])
    read = world.leases.read

    def fails_first():
        error = next(broken, None)
        if error is not None:
            raise error
        return read()

    world.leases.read = fails_first
    world.leadership.start()
    assert world.led.wait(30.0)


def test_an_orderly_end_gives_it_up(world):
    world.leadership.start()
    assert world.led.wait(30.0)
    world.leadership.stop()
    assert world.leases.stored.holder == ""
    assert not world.leadership.held
    assert not world.codes


def test_a_standby_knows_where_the_leader_is(world):
    world.leases.stored = LeaseRecord(
        holder="b", duration_s=7.0, renewed_at="1", version="1", address="http://b"
    )
    world.leases.version = 1
    world.leadership.start()
    seen = threading.Event()
    for _ in range(6000):
        if world.leadership.leader_address == "http://b":
            seen.set()
            break
        seen.wait(0.005)
    assert seen.is_set()
    assert world.leadership.holder == "b"


def test_a_slow_answer_is_not_paused_after():
    waits = []

    class Stop:
        def is_set(self):
            return len(waits) >= 3

        def wait(self, wait_s):
            waits.append(wait_s)

    world = World()
    world.leadership._elector.settings = LeaseSettings(retry_seconds=1.0)
    write = world.leases.write

    def slowly(record):
        world.clock.now_s += 1.9
        return write(record)

    world.leases.write = slowly
    world.leadership._stop = Stop()
    world.leadership._run()
    assert waits == [PAUSE_S_MIN] * 3
    assert not world.codes
