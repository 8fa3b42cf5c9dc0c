"""The elector against a fake API: never two leaders, takeover in time, stops when in doubt."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.controller.leading.lease import Elector, LeaseRecord
from ops.controller.settings import LeaseSettings
from ops.errors import KubeError

CONFIG = LeaseSettings(duration_seconds=7, renew_seconds=4.5, retry_seconds=1.0)


@dataclass
class FakeClock:
    now_s: float = 100.0

    def __call__(self):
        return self.now_s

    def stamp(self):
        return f"{self.now_s:.6f}"


@dataclass
class Faults:
    """What happens to one call: time before and after the server acts, and what gets lost."""

    before_s: float = 0.0
    after_s: float = 0.0
    lost: str = ""  # "request", "answer" or nothing
    between: object = None  # called while the request is on its way
    behind: object = None  # called while the answer is on its way


@dataclass
class FakeLeases:
    """One Lease with resourceVersions, as the API server keeps it."""

    clock: FakeClock
    stored: LeaseRecord | None = None
    version: int = 0
    plan: list[Faults] = field(default_factory=list)

    def read(self):
        return self._call(lambda: self.stored)

    def write(self, record):
        return self._call(lambda: self._store(record))

    def _call(self, act):
        faults = self.plan.pop(0) if self.plan else Faults()
        self.clock.now_s += faults.before_s
        if faults.between is not None:
            faults.between()
        if faults.lost == "request":
            raise KubeError("lost", reason="Timeout")
        answer = act()
        self.clock.now_s += faults.after_s
        if faults.behind is not None:
            faults.behind()
        if faults.lost == "answer":
            raise KubeError("lost", reason="Timeout")
        return answer

    def _store(self, record):
        have = self.stored.version if self.stored else ""
        if record.version != have:
            raise KubeError("conflict", status=409, reason="Conflict")
        self.version += 1
        self.stored = replace(record, version=str(self.version))
        return self.stored


@pytest.fixture
def world():
    clock = FakeClock()
    leases = FakeLeases(clock)
    a, b = (Elector(leases=leases, identity=who, settings=CONFIG, address=who) for who in "ab")
    return clock, leases, a, b


def test_the_first_takes_it_and_the_second_waits(world):
    clock, leases, a, b = world
    assert a.look(clock)
    assert not b.look(clock)
    assert leases.stored.holder == "a"
    assert b.state.leader_address == "a"
    assert leases.stored.transitions == 0


def test_a_dead_leader_is_replaced_after_the_duration_of_its_last_record(world):
    clock, leases, a, b = world
    a.look(clock)
    b.look(clock)
    died_s = clock.now_s
    while not b.look(clock):
        clock.now_s += CONFIG.retry_seconds
    assert clock.now_s - died_s <= CONFIG.duration_seconds + 2 * CONFIG.retry_seconds
    assert leases.stored.transitions == 1


def test_a_lease_that_was_given_up_is_taken_at_the_next_look(world):
    clock, _, a, b = world
    a.look(clock)
    assert not b.look(clock)
    a.release(clock)
    assert not a.held(clock())
    clock.now_s += 1.0
    assert b.look(clock)


def test_a_stopped_leader_does_not_hold_when_it_wakes(world):
    clock, _, a, _ = world
    a.look(clock)
    clock.now_s += 2 * CONFIG.duration_seconds
    assert not a.held(clock())


def test_a_renewal_stopped_on_its_way_does_not_count_from_its_arrival(world):
    clock, leases, a, _ = world
    a.look(clock)
    clock.now_s += 2.0
    leases.plan = [Faults(before_s=20.0)]  # nobody else was there: the server takes it
    assert not a.look(clock)


def test_without_answers_the_leader_keeps_it_until_the_deadline_only(world):
    clock, leases, a, _ = world
    a.look(clock)
    for _ in range(4):
        clock.now_s += 1.0
        leases.plan = [Faults(lost="request")]
        with pytest.raises(KubeError):
            a.look(clock)
        assert a.held(clock())
    clock.now_s += 1.0
    assert not a.held(clock())


def test_an_answer_that_was_lost_costs_one_look(world):
    clock, leases, a, _ = world
    a.look(clock)
    clock.now_s += 1.0
    leases.plan = [Faults(lost="answer")]
    with pytest.raises(KubeError):
        a.look(clock)
    a.look(clock)
    clock.now_s += 1.0
    a.look(clock)
    assert a.state.renewed_at_s == clock.now_s


def test_a_deleted_lease_is_made_again_by_its_holder(world):
    clock, leases, a, b = world
    a.look(clock)
    leases.stored = None
    clock.now_s += 1.0
    a.look(clock)
    clock.now_s += 1.0
    a.look(clock)
    assert leases.stored.holder == "a"
    assert not b.look(clock)


def test_odd_fields_of_a_lease_count_as_empty():
    assert LeaseRecord.of({"spec": None, "metadata": {}}) == LeaseRecord()


CALL = st.builds(
    Faults,
    before_s=st.sampled_from([0.0, 0.1, 2.0, 5.0, 20.0]),
    after_s=st.sampled_from([0.0, 0.1, 3.0, 20.0]),
    lost=st.sampled_from(["", "", "", "request", "answer"]),
)
STEP = st.tuples(
    st.sampled_from("abAB"),  # a capital: the other looks while the request is on its way
    st.sampled_from([0.0, 0.5, 1.0, 4.0, 7.0, 30.0]),
    st.lists(CALL, max_size=3),
    st.booleans(),  # give it up afterwards
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_two_electors_never_both_hold_it(steps):
    clock = FakeClock()
    leases = FakeLeases(clock)
    both = {w: Elector(leases=leases, identity=w, settings=CONFIG) for w in "ab"}

    def check():
        holding = [who for who, elector in both.items() if elector.held(clock())]
        assert len(holding) < 2

    def look(who):
        with suppress(KubeError):
            both[who].look(clock)
        check()

    def rest():
        clock.now_s += CONFIG.duration_seconds + 1.0

    for who, pause_s, calls, give_up in steps:
        clock.now_s += pause_s
        check()
        leases.plan = list(calls)
        other = {"A": "b", "B": "a"}.get(who)
        if other and leases.plan:
            leases.plan[0].between = lambda other=other: look(other)
            leases.plan[-1].behind = lambda other=other: (look(other), rest(), look(other))
        look(who.lower())
        if give_up:
            with suppress(KubeError):
                both[who.lower()].release(clock)
            check()


def test_a_namespace_that_is_not_there_is_told(world):
    _, leases, a, _ = world
    clock = leases.clock

    def refuse(record):
        raise KubeError("namespaces midwatch-system not found", status=404)

    leases._store = refuse
    with pytest.raises(KubeError, match="midwatch-system"):
        a.look(clock)
