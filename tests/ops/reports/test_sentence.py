from __future__ import annotations

from dataclasses import replace

import pytest

from ops.reports import (
    Calibration,
    Candidate,
    Cause,
    Change,
    Finding,
    LostMinutes,
    findings,
    sentence,
)
from rca.state import Entity, EntityKind, ResourceClass

CASES = [
    (
        "pod:r/engine-1",
        ResourceClass.GPU_CLOCK,
        "engine-1 in r slowed down: its GPU clock fell 1.41 → 0.705 GHz.",
    ),
    ("link:r/a->b", ResourceClass.NETWORK, "The link a → b in r became slow or lossy: "),
    ("workload:r", ResourceClass.LOAD, "Traffic in r rose above what the region can serve: "),
    ("node:r/n1", ResourceClass.LOSS, "Node n1 in r was lost: "),
    ("telemetry:r/engine", ResourceClass.TELEMETRY, "Scrape job engine in r sends no metrics: "),
    ("registry:r", ResourceClass.START_UP, "The image registry of r delivers images slowly"),
]


def incident(sample_run, entity, resource, **more):
    first = sample_run("named").incidents[0]
    clock = Finding(label="GPU clock", before=1410.0, after=705.0, unit="MHz", own=True)
    cause = Cause(entity=Entity.parse(entity), resource_class=resource, confidence=0.5)
    return replace(first, **{"cause": cause, "changes": (), "findings": (clock,), **more})


@pytest.mark.parametrize(("entity", "resource", "start"), CASES)
def test_headline_tells_who_what_and_the_strongest_evidence(entity, resource, start, sample_run):
    assert sentence.headline(incident(sample_run, entity, resource)).startswith(start)


def test_every_kind_and_class_gives_a_sentence_without_placeholders(sample_run):
    first = sample_run("named").incidents[0]
    for kind in EntityKind:
        name = "a->b" if kind is EntityKind.LINK else "x"
        for resource in ResourceClass:
            text = sentence.headline(
                replace(
                    first,
                    cause=replace(
                        first.cause, entity=Entity(kind, "r", name), resource_class=resource
                    ),
                    changes=(),
                )
            )
            assert text.endswith(".")
            assert "{" not in text
            assert "r" in text


def test_a_suspect_change_takes_the_place_of_the_measurement(sample_run):
    changes = sample_run("named").incidents[0].changes
    item = incident(sample_run, "service:r/s", ResourceClass.POOL, changes=changes)
    assert sentence.headline(item).endswith("after config session-store 117 → 118.")


DEPLOY = Change(
    at_s=1.0, title="deploy s 7 → 8", region="r", suspect=True, short="deploy 8", service="s"
)


@pytest.mark.parametrize(
    ("entity", "resource", "finding", "text"),
    [
        (
            "service:r/s",
            ResourceClass.CONFIG_CHANGE,
            Finding(label="pool size for db", before=64.0, after=1.0, unit="", limit=True),
            "Deploy 8 of s in r cut its pool size for db 64 → 1.",
        ),
        (
            "pod:r/s-0",
            ResourceClass.CODE,
            Finding(label="own errors", before=0.0, after=0.6, unit="ratio"),
            "s in r answers with errors since deploy 8.",
        ),
        (
            "service:r/s",
            ResourceClass.CODE,
            Finding(label="own time per call", before=0.1, after=4.0, unit="s"),
            "s in r answers late since deploy 8.",
        ),
    ],
)
def test_a_suspect_change_is_told_with_what_its_service_does_since(
    entity, resource, finding, text, sample_run
):
    item = incident(sample_run, entity, resource, changes=(DEPLOY,), findings=(finding,))
    assert sentence.headline(item) == text


def test_what_is_over_is_told_in_the_past(sample_run):
    errors = Finding(label="own errors", before=0.0, after=0.6, unit="ratio")
    over = incident(
        sample_run, "pod:r/s-0", ResourceClass.CODE, changes=(DEPLOY,), findings=(errors,),
        resolved_at_s=9.0,
    )  # fmt: skip
    assert sentence.headline(over) == "s in r answered with errors after deploy 8."
    for kind in EntityKind:
        for resource in ResourceClass:
            first = sentence.verb_of(kind, resource, over=True).split()[0]
            assert first not in ("has", "gets", "sends", "starts", "delivers", "answers")


def test_a_pod_is_told_with_its_node_and_gpu(sample_run):
    item = incident(sample_run, "pod:r/e-1", ResourceClass.GPU_CLOCK)
    item = replace(item, cause=replace(item.cause, place="node n1, GPU 3"))
    assert sentence.headline(item).startswith("e-1 in r (node n1, GPU 3) slowed down: ")


def test_a_candidate_without_a_reason_has_less_evidence():
    item = Candidate(
        entity=Entity.parse("service:r/s"), resource_class=ResourceClass.CODE, confidence=0.03
    )
    assert sentence.why_not(item) == "Less evidence: 0.03"
    assert sentence.why_not(replace(item, ruled_out="it waits")) == "It waits"


def test_a_value_that_hardly_moves_stays():
    clause = sentence.finding_clause(Finding(label="load", before=1.0, after=1.02, unit="s"))
    assert clause == "load stays at 1.02 s"


def test_confidence_has_a_meaning_or_says_that_it_has_none():
    text = sentence.calibration_text(Calibration(hits=44, cases=53, source="from the sweep"))
    assert text == (
        "in 44 of 53 similar simulated faults the named cause was right; the true rate may be as "
        "low as 71 %"
    )
    unknown = "not calibrated: read it as an order, not a chance"
    assert sentence.calibration_text(None) == unknown
    assert sentence.calibration_text(Calibration(hits=0, cases=0, source="")) == unknown
    assert sentence.confidence_text(0.998) == "0.99"
    assert sentence.confidence_text(0.001) == "under 0.01"
    with pytest.raises(ValueError, match="3 of 2"):
        Calibration(hits=3, cases=2, source="")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (LostMinutes(with_loop=1.6), "1.6 lost minutes with midwatch. The run without"),
        (LostMinutes(with_loop=2.0, without=2.0), "2 without: no difference."),
        (LostMinutes(with_loop=3.0, without=2.0), "2 without: 50 % more."),
        (LostMinutes(with_loop=1.0, without=4.0, oracle=1.0), "100 % of what an oracle saves."),
        (LostMinutes(with_loop=0.0, without=0.0), "0 lost minutes with midwatch, 0 without."),
    ],
)
def test_lost_minutes_are_told_without_flattery(numbers, text, sample_run):
    item = replace(sample_run("named").incidents[0], lost=numbers)
    assert text in findings.lost(item)
