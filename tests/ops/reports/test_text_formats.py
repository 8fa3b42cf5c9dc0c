from __future__ import annotations

import math
from dataclasses import replace

import orjson
import pytest

from ops.reports import Finding, render_json, render_markdown, render_terminal, report_data

KINDS = ("named", "abstained", "healthy", "two")


@pytest.mark.parametrize("kind", KINDS)
def test_markdown_stays_as_stored(kind, sample_run, golden):
    text = render_markdown(sample_run(kind))
    assert text == golden(f"{kind}.md", text), "it changed; see --update-golden"


@pytest.mark.parametrize("kind", ("named", "abstained", "two"))
def test_terminal_stays_as_stored(kind, sample_run, golden):
    run = sample_run(kind)
    text = "\n".join(render_terminal(run, item) for item in run.incidents)
    assert text == golden(f"{kind}.txt", text), "it changed; see --update-golden"


@pytest.mark.parametrize("kind", ("abstained", "healthy"))
def test_json_stays_as_stored(kind, sample_run, golden):
    text = render_json(sample_run(kind))
    assert text == golden(f"{kind}.json", text), "it changed; see --update-golden"


@pytest.mark.parametrize("width", (60, 80))
def test_no_terminal_line_is_wider_than_asked(width, sample_run):
    run = sample_run("two")
    long = replace(
        run, fleet="f" * 70, incidents=(replace(run.incidents[0], incident_id="i" * 90),)
    )
    for item in (*run.incidents, *long.incidents):
        assert max(map(len, render_terminal(long, item, width=width).splitlines())) <= width


def test_the_first_3000_characters_of_markdown_hold_cause_step_undo_and_outcome(sample_run):
    head = render_markdown(sample_run("named"))[:3000]
    for text in ("ran out of connections", "0.82", "Next safe step", "Undo", "effective", "Stop"):
        assert text in head


def test_an_abstention_says_what_was_checked_missing_and_would_settle_it(sample_run):
    run = sample_run("abstained")
    for text in (render_markdown(run), render_terminal(run, run.incidents[0])):
        assert "Cannot tell" in text
        assert "9 hypotheses" in text
        assert "engine metrics of eu-west, 9 pods" in text
        assert "DCGM" in text


def test_json_is_the_same_for_the_same_run_and_has_no_nan(sample_run):
    first, second = render_json(sample_run("named")), render_json(sample_run("named"))
    assert first == second
    data = orjson.loads(first)
    engines = next(s for s in data["incidents"][0]["series"] if s["label"].startswith("engines"))
    assert None in engines["values"]
    assert data["incidents"][0]["cause"]["entity"] == "service:eu-west/session-store"
    assert data == report_data(sample_run("named"))


def test_untrusted_names_cannot_leave_their_cell_or_line(sample_run):
    run = sample_run("named")
    bad = "a|b`c`<script>\n# x\x1b[31m\u202e"
    incident = replace(
        run.incidents[0],
        findings=(Finding(label=bad, before=1.0, after=math.nan, unit="s"),),
    )
    run = replace(run, fleet=bad, incidents=(incident,))
    text = render_markdown(run)
    assert "<script>" not in text.replace("\\<script", "")
    assert "\n# x" not in text
    for out in (text, render_terminal(run, incident)):
        assert "\x1b" not in out
        assert "\u202e" not in out
