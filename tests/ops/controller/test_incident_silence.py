"""An Incident that waits for its first diagnosis says whether anybody answers."""

from __future__ import annotations

from ops.controller.incidents.book import IncidentBook
from ops.controller.incidents.conditions import FIRST
from tests.ops.controller.test_incident_writer import FLEET, T0, named, opened

AWAY = "worker at http://w:8082: no answer (refused); see whether it runs"


def diagnosed(book):
    (entry,) = book.entries.values()
    return next(c for c in entry.wanted.conditions if c.type == "Diagnosed")


def told(book, trouble, now_s=T0 + 40):
    book.tell_silence(trouble, now_s=now_s)
    found = diagnosed(book)
    return found.status.value, found.reason, found.message


def test_a_question_that_failed_is_said_at_once_and_taken_back_when_the_worker_answers():
    book = IncidentBook(FLEET)
    book.take([opened()], [], now_s=T0 + 10)
    assert told(book, "") == ("Unknown", "UnderWay", FIRST)
    assert told(book, AWAY) == ("Unknown", "NoAnswer", f"no answer yet: {AWAY}")
    assert told(book, "") == ("Unknown", "UnderWay", FIRST)


def test_other_words_of_the_same_outage_are_not_written_again():
    book = IncidentBook(FLEET)
    book.take([opened()], [], now_s=T0 + 10)
    first = told(book, AWAY)
    assert told(book, "worker at http://w:8082: reset") == first


def test_what_is_diagnosed_stays_so_while_the_worker_is_away():
    book = IncidentBook(FLEET)
    book.take([named(opened())], [], now_s=T0 + 30)
    assert told(book, AWAY)[:2] == ("True", "CauseNamed")
