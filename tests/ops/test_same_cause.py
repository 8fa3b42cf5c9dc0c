"""One causal component is one incident, and its story is steady whatever later answers say."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress

import pytest

from ops.adapters.fakes import FakeDiagnoser
from ops.catalogue import Catalogue
from ops.config import GuardConfig, LoopConfig
from ops.controller.fleet.limits import loop_config
from ops.controller.incidents.book import IncidentBook
from ops.controller.metrics_watch.roles import WATCHED_ROLES
from ops.controller.resources.fleet import FleetSpec
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.worker.question import settled_shown
from ops.pipeline import LoopState, step
from ops.replay.run import LOOP_START_S, run_world
from ops.replay.scenario import FaultSpec
from ops.replay.traffic import Traffic
from ops.state import DecisionKind
from ops.topology import discover, explains
from rca.pipeline import diagnose
from rca.state import CausalArc, Entity, ResourceClass, Topology
from tests.cluster.played_fleet import RATE_RPS, WARM_S, played_scenario
from tests.ops.controller.fleet_parts import fleet_body

HEALTHY_STEPS, JUMPED = 40, 0.95
ENGINE, DOOR = Entity.parse("pod:east/east-engine-0"), Entity.parse("service:east/door")
CALL = CausalArc(
    cause=Entity.parse("service:east/engine"), effect=Entity.parse("service:east/door"), weight=1.0
)  # trouble goes from the engine to the door, which calls it


class Watch:
    """A loop that carries nothing out, and the statuses that its Incidents are to have."""

    def __init__(self, fleet):
        self.fleet, self.state, self.told = fleet, LoopState(), []
        self.config = LoopConfig(guard=GuardConfig(dry_run=True))
        self.book = IncidentBook(FleetObject.of(fleet_body()))
        self.seen = []  # status after each step

    def run(self, num_steps, *results, slow=0.0):
        diagnoser = FakeDiagnoser(results or (None,))
        for _ in range(num_steps):
            self.state, decisions = step(
                self.state, self.fleet.advance(slow={"east": slow}), diagnoser=diagnoser,
                config=self.config,
            )  # fmt: skip
            self.told += decisions
            self.book.take(self.state.cases, decisions, now_s=self.fleet.now_s)
            self.seen += [e.wanted for e in list(self.book.entries.values())[:1]]
        return diagnoser

    def reasons(self, kind):
        return [d.reason for d in self.told if d.kind is kind]

    @property
    def causes(self):
        return [str(case.cause) for case in self.state.cases]


@pytest.fixture
def watch(fleet):
    made = Watch(fleet)
    made.run(HEALTHY_STEPS)
    return made


@pytest.fixture
def answer(make_cause, make_result):
    def made(entity, resource, confidence=0.9):
        one = make_cause(entity, resource, confidence=confidence)
        return replace(make_result(one), arcs=(CALL,))

    return made


def test_answers_that_alternate_change_no_named_cause(watch, answer, make_result):
    a, b = answer(ENGINE, ResourceClass.LOSS), answer(DOOR, ResourceClass.POOL)
    watch.run(8, a, slow=0.3)
    before = len(watch.seen)
    for k in range(6):  # each rise is a jump of the bad share: it is asked about
        watch.run(13, (make_result(abstained=True), b, a)[k % 3], slow=0.95 if k % 2 else 0.3)
    named = [status.cause for status in watch.seen if status.cause]
    assert set(named) == {str(ENGINE)}
    assert all(status.cause for status in watch.seen[before:])
    assert watch.causes == [str(ENGINE)]
    changes = sum(one != two for one, two in zip(watch.seen[before:], watch.seen[before + 1 :],
                                                 strict=False))  # fmt: skip
    assert changes <= 4  # of 78 steps: refusals are repeated, the cause is not


def test_what_only_suffers_from_the_named_cause_is_a_note_and_told_once(watch, answer):
    watch.run(20, answer(ENGINE, ResourceClass.LOSS), slow=0.3)
    asked = watch.run(6, answer(DOOR, ResourceClass.POOL, 0.99), slow=JUMPED)
    watch.run(13, answer(DOOR, ResourceClass.POOL, 0.99), slow=0.3)
    again = watch.run(6, answer(DOOR, ResourceClass.POOL, 0.99), slow=JUMPED)
    assert asked.asked and again.asked  # the jumps were looked at
    assert watch.causes == [str(ENGINE)]
    (note,) = watch.reasons(DecisionKind.NOTE)
    assert note == (
        "the cause is still pod:east/east-engine-0: service:east/door pool, confidence 0.99, "
        "suffers from it"
    )


@pytest.mark.parametrize("resource", [ResourceClass.GPU_CLOCK, ResourceClass.CONFIG_CHANGE])
def test_what_no_callee_can_do_to_a_caller_is_a_second_cause(watch, answer, resource):
    watch.run(20, answer(ENGINE, ResourceClass.LOSS), slow=0.3)
    watch.run(6, answer(DOOR, resource), slow=JUMPED)
    assert watch.causes == [str(ENGINE), str(DOOR)]


def test_a_surer_suspect_that_explains_the_named_cause_replaces_it_and_that_is_told(watch, answer):
    watch.run(20, answer(DOOR, ResourceClass.POOL, 0.8), slow=0.3)
    watch.run(6, answer(ENGINE, ResourceClass.LOSS, 0.9), slow=JUMPED)
    assert watch.causes == [str(ENGINE)]
    _, revised = watch.reasons(DecisionKind.DIAGNOSE)
    assert revised.startswith(
        "revised from service:east/door, which it may only suffer from: "
        "pod:east/east-engine-0 loss, confidence 0.90"
    )
    assert watch.seen[-1].cause == str(ENGINE)
    (event,) = [one for one in watch.book.entries["inc-0001"].news if "revised" in one.message]
    assert event.reason == "RootCauseFound"


@pytest.mark.parametrize("confidence", [0.75, 0.8])
def test_a_suspect_that_is_no_surer_replaces_nothing(watch, answer, confidence):
    watch.run(20, answer(DOOR, ResourceClass.POOL, 0.8), slow=0.3)
    watch.run(6, answer(ENGINE, ResourceClass.LOSS, confidence), slow=JUMPED)
    assert watch.causes == [str(DOOR)]
    assert len(watch.reasons(DecisionKind.DIAGNOSE)) == 1


def test_an_abstention_when_it_is_looked_at_once_more_replaces_nothing(watch, answer, make_result):
    watch.run(20, answer(DOOR, ResourceClass.POOL, 0.8), slow=0.3)
    none = make_result(abstained=True)
    watch.run(6, answer(ENGINE, ResourceClass.LOSS, 0.9), none, slow=JUMPED)
    assert watch.causes == [str(DOOR)]
    assert all(status.cause for status in watch.seen if status.diagnosed)


TOPOLOGY = Topology(
    calls={("east", "door"): ("shop", "login"), ("east", "shop"): ("store",)},
    pods={"store-0": ("east", "store", "n0"), "login-0": ("east", "login", "n1")},
)


@pytest.mark.parametrize(
    ("cause", "other", "explained"),
    [
        ("pod:east/store-0", "service:east/door", True),  # through the shop
        ("node:east/n0", "service:east/shop", True),
        ("node:east/n0", "link:east/shop->store", True),  # calls to what is gone
        ("link:east/shop->store", "service:east/door", True),
        ("pod:east/store-0", "service:east/login", False),  # a sibling
        ("pod:east/store-0", "link:east/door->login", False),
        ("service:east/door", "pod:east/store-0", False),  # callers do no harm downwards
        ("pod:east/store-0", "service:west/door", False),
        ("pod:east/store-0", "node:east/n1", False),
    ],
)
def test_trouble_travels_from_callees_to_callers(make_cause, cause, other, explained):
    suspect = make_cause(other, ResourceClass.NETWORK)
    assert explains(Entity.parse(cause), suspect, TOPOLOGY, ()) is explained


def test_calls_that_only_an_answer_tells_of_count(make_cause, make_result):
    bare, suspect = replace(TOPOLOGY, calls={}), make_cause("service:east/shop", ResourceClass.POOL)
    link = make_cause("link:east/shop->store", ResourceClass.NETWORK, rank=2)
    cause = Entity.parse("node:east/n0")
    assert not explains(cause, suspect, bare, (make_result(suspect),))
    assert explains(cause, suspect, bare, (make_result(suspect, link),))


@pytest.mark.slow
def test_a_lost_node_is_one_incident_in_a_fleet_whose_api_calls_all_well():
    """As where kwok plays the nodes: they stay Ready, and no metric of a call reaches the loop."""
    scenario = replace(
        played_scenario("a"), duration_s=WARM_S + 150.0,
        faults=(FaultSpec(kind="node-loss", start_s=WARM_S, length_s=3600.0, severity=1.0),),
    )  # fmt: skip
    fixed = [replace(one, hpa_cpu_ratio=0.0) for one in scenario.services]
    engine = replace(scenario.engine, hpa_queue=0.0)
    scenario = replace(scenario, services=tuple(fixed), engine=engine)
    blind = Blind()
    run_world(
        scenario, Traffic.open(scenario, seed=22), seed=22, rate_rps=RATE_RPS, controller=blind,
        catalogue=Catalogue.load(),
    )  # fmt: skip
    told = [cause for causes in blind.causes for cause in causes if cause is not None]
    assert set(map(len, blind.causes)) == {0, 1}
    assert len(set(told)) == 1
    first = next(k for k, causes in enumerate(blind.causes) if any(causes))
    assert len(told) == len(blind.causes) - first  # it is never taken back
    assert any(d.kind is DecisionKind.NOTE and "suffers from it" in d.reason for d in blind.told)


class Blind:
    """A loop that sees pods and nodes as they were before the fault, and topologies bare."""

    def __init__(self):
        self.state, self.told, self.causes, self.past = LoopState(), [], [], None
        self.config = loop_config(FleetSpec(), scrape_s=5.0)

    def tick(self, fleet, now_s):
        if now_s < LOOP_START_S:
            return
        snapshot = fleet.snapshot()
        if now_s <= WARM_S:
            self.past = snapshot
        snapshot = replace(snapshot, pods=self.past.pods, nodes=self.past.nodes, events=())
        watched = [r is not None and r.role in WATCHED_ROLES for r in snapshot.frame.roles]
        own = replace(
            snapshot.frame, values=snapshot.frame.values[:, watched],
            series=tuple(compress(snapshot.frame.series, watched)),
            roles=tuple(compress(snapshot.frame.roles, watched)),
        )  # fmt: skip

        def asked(_, *, topology, **what):
            del topology
            whole = discover(snapshot.frame, snapshot.pods)
            shown = settled_shown(snapshot.pods, snapshot.nodes)
            return diagnose(snapshot.frame, topology=whole, shown=shown, **what)

        self.state, decisions = step(
            self.state, replace(snapshot, frame=own), diagnoser=asked, config=self.config
        )
        self.told += decisions
        self.causes.append([case.cause for case in self.state.cases])
