"""What people read at 3 a.m.: stored copies, widths, objects that are young, odd or hostile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ops.controller.moments import rfc3339
from ops.controller.resources.cause import EvidenceStatus
from ops.controller.resources.fleet import Mode
from ops.controller.resources.incident import Phase
from ops.controller.screens.leader import leader_trouble
from ops.controller.screens.status import needs_a_look, status_lines
from ops.controller.screens.stored import stored_fleet, stored_incident
from ops.controller.screens.why import COMMANDS, why_lines
from rca.state import CONTRADICTION
from tests.ops.controller.stored_objects import (
    ABSTAINED,
    NAMED,
    NOW_S,
    RESOLVED,
    UNDER_WAY,
    fleet,
    incident,
    lease,
    said,
)

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "screens"
NAME = "chat-20261130-020645-a1b2c"
STATUSES = {
    "named": NAMED, "abstained": ABSTAINED, "under_way": UNDER_WAY, "resolved": RESOLVED,
    "unseen": None,
}  # fmt: skip


@pytest.fixture
def golden(request):
    def stored(name, text):
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path.read_text(encoding="utf-8")

    return stored


def stored(status, **more):
    return stored_incident(incident(NAME, status, **more))


def text_of(lines):
    return "\n".join(line.text for line in lines) + "\n"


def all_fleets():
    return [
        stored_fleet(fleet("chat")),
        stored_fleet(fleet("fresh", seen=False)),
        stored_fleet(fleet("quiet", frozen=True, freeze_reason="migration until 9:00, Ada")),
        stored_fleet(
            fleet("blind", conditions=[
                said("Authorized", "False", "list nodes in this cluster is refused; grant: nodes "
                     "get,list,watch to ServiceAccount midwatch-system/midwatch-operator"),
                SILENT,
            ])
        ),
        stored_fleet(fleet("asks", well=True, frozen=True, mode=Mode.ACT, conditions=[
            said("Acting", "False", "mode Act is not available in this release", "NotAvailable"),
        ])),
    ]  # fmt: skip


def shown(line):
    """Whether it is a command, which no width cuts."""
    return line[:10].strip() in COMMANDS or line.lstrip().startswith("kubectl ")


def all_incidents():
    made = [
        stored_incident(incident(f"chat-20261130-0206{n}-a1b2c", status))
        for n, status in enumerate(STATUSES.values())
    ]
    return [*made, stored_incident(incident("old-20261130-020600-a1b2c", NAMED, fleet="gone"))]


SILENT = said(
    "Diagnosing", "False",
    "no cause can be named: worker http://midwatch-worker.midwatch-system.svc:8082/v1/diagnose: no "
    "answer (Connection refused)", "WorkerSilent",
)  # fmt: skip


@pytest.mark.parametrize("kind", STATUSES)
def test_why_is_the_stored_one(golden, kind):
    lines = why_lines(stored(STATUSES[kind]), fleet=None, now_s=NOW_S, options=" --context eu")
    text = text_of(lines)
    assert text == golden(f"why_{kind}.txt", text), "it changed; see --update-golden"


def test_everything_is_shown_where_it_is_asked_for(golden):
    text = text_of(why_lines(stored(NAMED), now_s=NOW_S, whole=True))
    assert "no more requests than usual" in text
    assert "85 s before" in text
    assert "more: --all" not in text


def test_status_is_the_stored_one(golden):
    text = text_of(status_lines(all_fleets(), all_incidents(), where="x", now_s=NOW_S))
    assert text == golden("status.txt", text), "it changed; see --update-golden"


@pytest.mark.parametrize("width", [40, 57, 80, 120])
def test_no_line_is_wider_than_asked_but_a_command(width):
    lines = status_lines(all_fleets(), all_incidents(), where="x", now_s=NOW_S, width=width)
    for status in STATUSES.values():
        lines += why_lines(stored(status), now_s=NOW_S, width=width)
    for line in lines:
        assert shown(line.text) or len(line.text) <= width, line.text


def test_without_wrapping_each_fact_is_one_line():
    text = text_of(why_lines(stored(NAMED), now_s=NOW_S, width=100_000))
    assert NAMED.summary in text
    assert "0.21 → 2.4 s; the database itself stays at 150 ms\n" in text


def test_what_users_suffered_at_opening_is_not_told_as_of_now():
    text = text_of(why_lines(stored(NAMED), now_s=NOW_S, width=100_000))
    assert f"at first  {NAMED.symptom}.\n" in text
    assert "suffers" not in text


@pytest.mark.parametrize(
    ("second", "said"),
    [(0.09, "session-db in eu-west, load, 0.09"), (0.0, "none"), (0.01, "load, 0.01")],
)
def test_a_candidate_that_is_noise_is_no_next_one(second, said):
    first, other = NAMED.causes[:2]
    status = replace(NAMED, causes=[first, replace(other, confidence=second)])
    (line,) = [x.text for x in why_lines(stored(status), now_s=NOW_S, width=100_000)
               if "confidence" in x.text]  # fmt: skip
    assert line.endswith(said), line
    assert "0.00" not in line


@pytest.mark.parametrize("width", range(40, 121))
def test_no_span_is_broken_over_two_lines(width):
    status = replace(NAMED, diagnosed="2026-11-30T02:08:26Z")
    lines = [x.text for x in why_lines(stored(status), now_s=NOW_S, width=width)]
    assert any("1 min 41 s" in line for line in lines), lines[:4]


def test_a_refused_action_says_why_and_that_there_may_be_no_way_back():
    action = replace(NAMED.actions[0], allowed=False, guard="3 actions in this hour", undo="")
    incident = stored(replace(NAMED, actions=[action]))
    text = text_of(why_lines(incident, now_s=NOW_S))
    assert "It would be refused: 3 actions in this hour." in text
    assert "not this" in text
    assert action.command not in text  # nobody should copy it at night
    whole = text_of(why_lines(incident, now_s=NOW_S, whole=True))
    assert "undo    No way back is known." in whole
    assert action.command in whole


def test_what_the_guard_allows_comes_before_a_newer_one_that_it_refuses():
    good = NAMED.actions[0]
    bad = replace(good, allowed=False, guard="the last ready instance", command="drain it")
    text = text_of(why_lines(stored(replace(NAMED, actions=[good, bad])), now_s=NOW_S))
    assert good.command in text
    assert "drain it" not in text
    assert "1 more: --all" in text


def test_an_action_that_was_judged_on_older_data_is_shown_with_its_age():
    guard = "no fresh data: the newest metrics are 21 s old, limit 20 s"
    action = replace(NAMED.actions[0], guard=guard, dry_run="accepted: the server would do it")
    text = text_of(why_lines(stored(replace(NAMED, actions=[action])), now_s=NOW_S, width=100_000))
    assert "\nnext      Roll back session-store" in text
    assert (
        "guard   It was allowed 11 min ago, at 02:07:06 UTC, and not judged since: the newest "
        "metrics are 21 s old, limit 20 s." in text
    )
    assert "server  accepted: the server would do it (answered then)" in text


def test_what_could_not_be_judged_is_told_apart_from_what_does_harm():
    guard = "no fresh data: no metrics were scraped yet"
    action = replace(NAMED.actions[0], allowed=False, guard=guard)
    text = text_of(why_lines(stored(replace(NAMED, actions=[action])), now_s=NOW_S, width=100_000))
    assert "\nnot yet   Roll back session-store" in text
    assert "guard   Not judged: no metrics were scraped yet. Nothing is known against it" in text
    assert "not this" not in text and "refused" not in text


def test_nothing_is_left_to_do_once_users_are_well():
    over = replace(NAMED, phase=Phase.RESOLVED)
    text = text_of(why_lines(stored(over), now_s=NOW_S))
    assert "Nothing: users are well again." in text
    assert NAMED.actions[0].command not in text


def test_in_recommend_mode_the_request_and_the_servers_answer_are_shown():
    action = replace(
        NAMED.actions[0],
        request="PATCH /apis/apps/v1/namespaces/shop/deployments/session-store",
        patch='{"spec":{}}',
        dry_run="accepted: nothing would be refused",
    )
    text = text_of(why_lines(stored(replace(NAMED, actions=[action])), now_s=NOW_S))
    assert "  request PATCH /apis" in text
    assert '  patch   {"spec":{}}' in text
    assert "  server  accepted" in text


def test_words_of_a_later_release_are_shown_as_they_are():
    odd = replace(
        NAMED,
        cause="galaxy:far/away",
        causes=[replace(NAMED.causes[0], entity="galaxy:far/away", resource="dust")],
        actions=[replace(NAMED.actions[0], kind="reboot-universe", target="all")],
        summary="",
    )
    text = text_of(why_lines(stored(odd), now_s=NOW_S))
    assert "galaxy:far/away is at fault." in text
    assert "Reboot-universe all." in text


def test_control_characters_in_an_object_do_not_reach_the_terminal():
    evil = "\x1b[2J\x07\u202e gone"
    odd = replace(
        NAMED,
        summary=evil,
        symptom=evil,
        keys=[evil, "a"],
        missing=[evil],
        actions=[replace(NAMED.actions[0], command=evil, undo=evil, reason=evil, patch=evil)],
        ruled_out=[replace(NAMED.ruled_out[0], reason=evil)],
        conditions=[said("Recorded", "False", evil)],
    )
    lines = why_lines(stored(odd), now_s=NOW_S, whole=True)
    lines += status_lines(
        [stored_fleet(fleet(frozen=True, freeze_reason=evil))], [stored(odd)], where="x",
        now_s=NOW_S,
    )  # fmt: skip
    text = text_of(lines)
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_somebody_should_look_at_open_incidents_and_wherever_a_trouble_is_shown():
    calm = [stored_fleet(fleet(well=True))]
    assert not needs_a_look(calm, [stored(RESOLVED)], now_s=NOW_S)
    assert needs_a_look(calm, [stored(UNDER_WAY)], now_s=NOW_S)
    assert needs_a_look(calm, [], leader="nobody leads", now_s=NOW_S)
    for one in [*all_fleets(), stored_fleet(fleet(well=True, conditions=[SILENT]))]:
        text = text_of(status_lines([one], [], where="x", now_s=NOW_S))
        assert needs_a_look([one], [], now_s=NOW_S) == ("  ! " in text), text


def test_a_choice_of_a_person_wakes_nobody():
    asks = next(one for one in all_fleets() if one.name == "asks")
    assert not needs_a_look([asks], [], now_s=NOW_S)
    text = text_of(status_lines([asks], [], where="x", now_s=NOW_S))
    assert "Frozen, nothing is proposed" in text
    assert "Mode Act is not available" in text


def test_a_mistyped_selector_and_class_are_shown_with_what_is_there():
    selector = "spec.selector app=caht matches no pod of namespace shop: app is chat there"
    wrong = stored_fleet(fleet(well=True, conditions=[
        said("Ready", "False", selector, "NoPods"),
        said("ClassesSeen", "False", "no request of class chta is counted", "UnknownClass"),
    ]))  # fmt: skip
    text = text_of(status_lines([wrong], [], where="x", now_s=NOW_S, width=200))
    assert f"  ! Ready False: {selector}\n    kubectl -n shop get pods --show-labels\n" in text
    assert "  ! ClassesSeen False: no request of class chta is counted\n" in text
    quiet = stored_fleet(fleet(well=True, conditions=[
        said("ClassesSeen", "Unknown", "no request of class batch is counted", "NotSeen"),
    ]))  # fmt: skip
    text = text_of(status_lines([quiet], [], where="x", now_s=NOW_S))
    assert "\n  No request of class batch is counted.\n" in text
    assert not needs_a_look([quiet], [], now_s=NOW_S)


def test_rarer_scrapes_than_the_settings_say_are_told_and_wake_nobody():
    rare = "samples come every 30 s, rows every 5 s: set scrapeSeconds to 30, or scrape more often"
    fleet_of = stored_fleet(fleet(well=True, conditions=[said("DataFresh", "True", rare, "Fresh")]))
    text = text_of(status_lines([fleet_of], [], where="x", now_s=NOW_S, width=200))
    assert f"\n  {rare[0].upper()}{rare[1:]}.\n" in text
    assert not needs_a_look([fleet_of], [], now_s=NOW_S)


def test_a_worker_that_does_not_answer_is_no_diagnosis_under_way(golden):
    silent = stored_fleet(fleet(conditions=[SILENT]))
    lines = why_lines(stored(UNDER_WAY), fleet=silent, now_s=NOW_S)
    text = text_of(lines)
    assert text == golden("why_silent.txt", text), "it changed; see --update-golden"
    assert "under way" not in text
    no_answer = said("Diagnosed", "Unknown", "no answer yet: refused", "NoAnswer")
    alone = stored(replace(UNDER_WAY, conditions=[no_answer]))
    text = text_of(why_lines(alone, now_s=NOW_S))  # the Fleet may not be readable
    assert "refused" in text
    assert "logs deployment/midwatch-worker" in text


@pytest.mark.parametrize(
    ("age_s", "holder", "says"),
    [(2, "a", ""), (40, "a", ""), (600, "a", "10 min ago"), (2, "", "gave its Lease up")],
)
def test_an_operator_that_leads_no_more_is_told_above_all(age_s, holder, says):
    told = leader_trouble(lease(holder=holder, renewed=rfc3339(NOW_S - age_s)), now_s=NOW_S)
    assert says in told
    assert bool(told) == bool(says)
    lines = status_lines(all_fleets(), [], where="x", now_s=NOW_S, leader=told)
    assert lines[0].text.startswith("! No operator leads") == bool(says)


def test_an_empty_place_says_where_to_look():
    text = text_of(status_lines([], [], where="namespace shop", elsewhere=True, now_s=NOW_S))
    assert "No fleet in namespace shop." in text
    assert "status -A" in text


def current(**more):
    return replace(NAMED, current=replace(NAMED.current, **more))


def line_now(status, **more):
    lines = why_lines(stored(status), now_s=NOW_S, width=100_000, **more)
    (line,) = [one.text for one in lines if one.text.startswith("now ")]
    return line.removeprefix("now ").strip()


def test_how_bad_it_is_now_is_told_with_its_age():
    told = "44 % of 1,240 requests bad in eu-west/batch within 1 min, measured 40 s ago."
    assert line_now(NAMED) == told
    assert line_now(current(bad_ratio=0.0)).startswith("0 % of 1,240 requests bad in ")
    text = text_of(status_lines([stored_fleet(fleet())], [stored(NAMED)], where="x", now_s=NOW_S))
    assert "now 44 % bad in eu-west/batch, 40 s ago" in text


def test_what_nobody_measures_now_is_not_known_and_never_zero():
    assert line_now(replace(NAMED, current=None)) == "Not known."
    alone = replace(NAMED, current=None, keys=[])
    assert line_now(alone).startswith("Not known: no SLO is measured there")
    stale = stored_fleet(fleet(conditions=[said("DataFresh", "False", "no answer from x")]))
    assert line_now(NAMED, fleet=stale) == (
        "Not known: no answer from x. Last measured 40 s ago: 44 % of 1,240 requests bad in "
        "eu-west/batch."
    )
    assert line_now(NAMED, leader="No operator leads.").startswith("Not known: nothing is watched")
    assert line_now(current(bad_ratio=None, requests=0)).startswith("No requests were answered in")


def test_a_share_that_was_not_written_for_long_is_not_told_as_of_now():
    old = current(at="2026-11-30T02:10:00Z")
    assert line_now(old).startswith("Not known. Last measured 9 min ago: 44 %")
    text = text_of(status_lines([stored_fleet(fleet())], [stored(old)], where="x", now_s=NOW_S))
    assert "last measured: 44 % bad in eu-west/batch, 9 min ago" in text


def test_who_is_well_again_has_no_line_of_now_once_it_is_resolved():
    assert not any(
        line.text.startswith("now ") for line in why_lines(stored(RESOLVED), now_s=NOW_S)
    )


def test_what_contradicts_the_cause_has_a_line_of_its_own():
    told = EvidenceStatus(channel=CONTRADICTION, text="gone by its metrics, yet Ready")
    cause = replace(NAMED.causes[0], evidence=[*NAMED.causes[0].evidence, told])
    text = text_of(
        why_lines(stored(replace(NAMED, causes=[cause, *NAMED.causes[1:]])), now_s=NOW_S)
    )
    assert "against   gone by its metrics, yet Ready\n" in text
    assert text.index("evidence") < text.index("against") < text.index("at first")


def watched(observed_at):
    one = stored_fleet(fleet(well=True))
    return replace(one, status=replace(one.status, observed_at=observed_at))


def test_what_nobody_watches_any_more_is_told_with_its_age_to_who_may_not_read_the_lease():
    old = watched("2026-11-30T02:06:20Z")
    text = text_of(status_lines([old], [], where="x", now_s=NOW_S, width=100_000))
    assert "  ! Nobody has watched it for 12 min 40 s: what is shown is from 02:06:20 UTC." in text
    assert "logs deployment/midwatch-operator" in text
    assert needs_a_look([old], [], now_s=NOW_S)
    led = text_of(status_lines([old], [], where="x", now_s=NOW_S, leader="No operator leads."))
    assert led.count("logs deployment/midwatch-operator") == 1  # not once more for each Fleet
    days = watched("2026-11-26T02:06:20Z")
    text = text_of(status_lines([days], [], where="x", now_s=NOW_S, width=100_000))
    assert "26 Nov 2026 02:06:20 UTC" in text


@pytest.mark.parametrize("at", [None, "2026-11-30T02:16:00Z", "2026-11-30T02:20:00Z"])
def test_a_status_of_now_or_of_an_earlier_release_is_not_called_old(at):
    assert not needs_a_look([watched(at)], [], now_s=NOW_S)
    assert "! " not in text_of(status_lines([watched(at)], [], where="x", now_s=NOW_S))


def test_while_nobody_watches_no_action_is_told_as_judged_now():
    text = text_of(
        why_lines(stored(NAMED), now_s=NOW_S, width=100_000, leader="No operator leads.")
    )
    assert (
        "guard   It was allowed 11 min ago, at 02:07:06 UTC, and not judged since: nobody" in text
    )
    refused = replace(NAMED.actions[0], allowed=False, guard="the last ready instance")
    status = replace(NAMED, actions=[refused])
    text = text_of(why_lines(stored(status), now_s=NOW_S, width=100_000, leader="Nobody."))
    assert "It was refused: the last ready instance." in text
