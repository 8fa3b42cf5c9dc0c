"""A run whose only finding is a gap: the first screen of every format tells it."""

from __future__ import annotations

import math
from dataclasses import replace

import orjson
import pytest

from ops.catalogue import Catalogue
from ops.gaps import Gap
from ops.reports import ClockBase, render_gap, render_html, render_json, render_markdown
from ops.reports.build import RunFacts, build_report
from ops.state import Decision, DecisionKind, SloTarget
from rca.state import ChangeEvent, ChangeKind, Entity, EntityKind, ResourceClass, Series

JOB = Entity(EntityKind.TELEMETRY, "west", "box")
GAP = Gap(
    job=JOB,
    since_s=600.0,
    num_series=372,
    num_known=2389,
    measures=("box_cpu", "box_memory"),
    resources=(ResourceClass.CPU, ResourceClass.MEMORY),
    num_hidden={EntityKind.POD: 31},
    pods_ready=31,
    num_answering=6,
    num_others=6,
    users_seen=2,
    num_lanes=2,
    users_from=(Entity(EntityKind.SERVICE, "west", "door"),),
    bad_ratio=0.0,
    reading=Series("up", (("job", "box"), ("region", "west"))),
)
BLIND = replace(GAP, users_seen=0, bad_ratio=math.nan)


def run_of(gap=GAP, *, until_s=None, changes=()):
    decisions = [
        Decision(
            at_s=651.0,
            kind=DecisionKind.ABSTAIN,
            incident_id="",
            reason="r",
            details={
                "entity": gap.job,
                "since_s": gap.since_s,
                "gap": gap,
                "checked": ("40 series",),
                "would_settle": (gap.reading,),
            },
        )
    ]
    if until_s is not None:
        decisions.append(
            Decision(
                at_s=until_s + 1,
                kind=DecisionKind.NOTE,
                incident_id="",
                reason="r",
                details={"entity": gap.job, "since_s": gap.since_s, "until_s": until_s},
            )
        )
    minutes = [("west", "fast", minute, 100, 0) for minute in range(30)]
    facts = RunFacts(
        fleet="chat",
        clock=ClockBase(epoch_s=1773711000.0),
        duration_s=1800.0,
        seed=7,
        load=0.7,
        slos=(SloTarget(name="fast", ttft_s=2.0, tpot_s=0.1),),
        minutes=minutes,
        minutes_without=None,
        decisions=tuple(decisions),
        changes=changes,
    )
    return build_report(facts, Catalogue.load())


def formats(run):
    """(HTML above its timeline, Markdown, terminal) of the only gap."""
    page = render_html(run)
    terminal = "\n".join(render_gap(run, gap) for gap in run.gaps)
    return page[page.index("<main") : page.index('id="timeline"')], render_markdown(run), terminal


def flat(text):
    for escaped, plain in (("&#34;", '"'), ("<span>", ""), ("</span>", ""), ("\\", "")):
        text = text.replace(escaped, plain)
    return " ".join(text.split())


@pytest.mark.parametrize(
    "told",
    [
        "midwatch cannot see CPU and memory of 31 pods in west since 01:40:00",
        "scrape job box is silent",
        "Abstained from naming a cause 01:40:51, 51 s after the last scrape".lower(),
        "No user of west is known to suffer.",
        "2,389 → 2,017",
        "Box CPU and box memory.",
        "2 of 2 SLO classes are counted, from door in west.",
        "6 of 6 other scrape jobs of west answer.",
        "31 of the 31 hidden pods are ready",
        "40 series",
        'up{job="box", region="west"}: 1 = answers, 0 = its targets do not answer',
        "Check scrape job box in west",
        "there is nothing to undo",
        "kubectl --context west describe pods -A -l app=box",
        "nobody is accused and nothing is changed",
    ],
)
def test_the_first_screen_of_every_format_tells_the_gap(told):
    for text in formats(run_of()):
        assert told.lower() in flat(text).lower()


def test_a_gap_that_hides_the_users_calls_a_person():
    run = run_of(BLIND)
    for text in formats(run):
        assert "midwatch cannot see what users of west get since 01:40:00" in flat(text)
        assert "Nobody knows whether these users are well. A person must look." in flat(text)
        assert "0 of 2 SLO classes are counted" in flat(text)
        assert "no data" in flat(text)


def test_a_gap_that_is_over_says_from_when_to_when_and_leaves_it_to_the_morning():
    for text in formats(run_of(until_s=980.0)):
        assert "could not see CPU and memory of 31 pods in west from 01:40:00 to 01:46:20" in flat(
            text
        )
        assert "In the morning: find out why scrape job box in west was silent for 6 min 20 s" in (
            flat(text)
        )
        assert "Tonight: nothing." in flat(text)
        assert "Nothing was done, so there is nothing to undo." in flat(text)
        assert 'up{job="box", region="west"}[22m] @ 1773712280' in flat(text)
        assert "cannot see" not in text


@pytest.mark.parametrize(
    ("region", "service", "services", "verdict"),
    [
        ("east", "door", 15, "Cannot have hidden metrics of west: other region"),
        ("west", "door", 15, "Cannot have hidden metrics of 15 services at once"),
        ("west", "box", 15, "May have hidden the metrics: it changed box itself"),
        ("west", "door", 1, "May have hidden the metrics: same region"),
    ],
)
def test_a_change_before_a_gap_gets_a_verdict(region, service, services, verdict):
    gap = replace(GAP, num_hidden={EntityKind.SERVICE: services, EntityKind.POD: 31})
    changes = tuple(
        ChangeEvent(at_s=at_s, kind=ChangeKind.DEPLOY, region=region, service=service,
                    revision_from="1", revision_to="2")
        for at_s in (570.0, 610.0)
    )  # fmt: skip
    run = run_of(gap, changes=changes)
    (change,) = run.gaps[0].changes  # a later one cannot have done it
    assert change.suspect is verdict.startswith("May")
    for text in formats(run):
        assert f"30 s before the gap. {verdict}" in flat(text)


def test_users_who_suffer_meanwhile_are_not_called_well():
    (gap,) = run_of(replace(GAP, incident_ids=("inc-0001",), bad_ratio=0.4)).gaps
    assert gap.now.startswith("Users of west suffer at the same time: inc-0001.")


def test_json_has_the_gap_and_no_incident():
    data = orjson.loads(render_json(run_of(until_s=980.0)))
    assert data["incidents"] == []
    (gap,) = data["gaps"]
    assert (gap["job"], gap["since_s"], gap["until_s"]) == ("telemetry:west/box", 600.0, 980.0)
    assert gap["headline"].startswith("midwatch could not see CPU and memory of 31 pods")
    assert data["headline"] == "No incident in 30 min; 1 gap in the measurements."


def test_the_timeline_hatches_the_gap_between_its_ends():
    page = render_html(run_of(until_s=980.0))
    row = page[page.index("scrape job box in west: no data 01:40:00 to 01:46:20") :]
    assert 'class="gap"' in row[:1500]
    assert "6 min 20 s" in row[:3000]


def test_a_gap_beside_an_incident_has_its_own_section(sample_run):
    run = replace(sample_run("named"), gaps=run_of().gaps)
    page = render_html(run)
    assert page.count("<h1") == 1
    assert page.index('id="incident-1"') < page.index('id="gap-1"') < page.index('id="run"')
    assert 'href="#gap-1"' in page
    assert "ran out of connections" in page[page.index("<title>") : page.index("</title>")]


def test_a_job_of_no_region_is_looked_for_in_all(sample_run):
    gap = replace(GAP, job=Entity(EntityKind.TELEMETRY, "all", "box"))
    (found,) = run_of(gap).gaps
    assert "of 31 pods in all regions since" in found.headline
    assert found.next_step.commands[1].text == "kubectl describe pods -A -l app=box"
