"""A ranking in the terminal, as Markdown, as a page: same words, bounded width, hostile names."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ops.reports.parts import Calibration, Command
from ops.reports.rca_markdown import render_rank_markdown
from ops.reports.rca_page import render_rank
from ops.reports.rca_terminal import CAUSE, rank_lines
from ops.reports.rca_view import rank_report
from rca.incident import Column
from rca.localise import localise

HOSTILE = "<b onload=alert(1)>|`*\x1b[31m"


def told(incident, **kwargs):
    return rank_report(localise(incident), incident, source="made", **kwargs)


def terminal(report, **kwargs):
    return "\n".join(line.text for line in rank_lines(report, **({"top": 5} | kwargs)))


def renamed(incident, old, new):
    columns = tuple(Column(new if c.owner == old else c.owner, c.metric) for c in incident.columns)
    calls = tuple((new if a == old else a, new if b == old else b) for a, b in incident.calls)
    return replace(incident, columns=columns, calls=calls)


def visible(page):
    """Text of a page without tags, for comparing words."""
    text = re.sub(r"<(style|script)[^>]*>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("\u00a0", " ").split())


KINDS = {
    "named": {},
    "two": {"broken": (("pay", "cpu", 4.0), ("mail", "mem", 3.0))},
    "abstained": {"broken": ()},
    "traces": {"traces": True, "slow": "stock", "broken": ()},
    "own clock": {"start_s": 0.0},
    "no calls": {"calls": (), "users": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_answer(kind, shop):
    report = told(shop(**KINDS[kind]))
    page, markdown, text = render_rank(report), render_rank_markdown(report), terminal(report)
    for shown in (visible(page), markdown, " ".join(text.split())):
        assert report.headline in shown.replace("\\", "")
        for name in report.accused:
            assert name in shown
        for step in report.next_steps:
            assert step.title in shown.replace("\\", "")
    confidence = f"{report.confidence:.2f}"
    if not report.abstained:
        assert confidence in visible(page) and confidence in markdown and confidence in text


@pytest.mark.slow
@pytest.mark.parametrize("width", (80, 60, 100))
@pytest.mark.parametrize("kind", KINDS)
def test_no_terminal_line_is_wider_than_asked_for(kind, width, shop):
    report = told(shop(**KINDS[kind]))
    assert max(len(line.text) for line in rank_lines(report, top=5, width=width)) <= width


def test_top_says_how_many_suspects_are_listed_and_the_accused_always_are(shop):
    report = told(shop())
    listed = re.findall(r"^ +(\d+) \w+ +[\d.]+ %$", terminal(report, top=2), flags=re.MULTILINE)
    assert listed == ["1", "2"]
    two = told(shop(broken=(("pay", "cpu", 4.0), ("mail", "mem", 3.0))))
    assert {"pay", "mail"} <= set(re.findall(r"^ +\d+ (\w+)", terminal(two, top=1), re.MULTILINE))


def test_the_accused_is_marked_by_style_and_nobody_else(shop):
    lines = [line.text for line in rank_lines(told(shop()), top=5) if line.style == CAUSE]
    assert len(lines) == 2 and all("pay" in line for line in lines)


@pytest.mark.parametrize("place", ("pay", "sli"))
def test_hostile_names_stay_text_in_every_format(place, shop):
    incident = shop()
    if place == "pay":
        incident = renamed(incident, "pay", HOSTILE)
    else:
        columns = (*incident.columns[:-1], Column("sli", HOSTILE))
        incident = replace(incident, columns=columns)
    report = replace(told(incident), notes=(HOSTILE,), source=HOSTILE, incident_id=HOSTILE)
    page = render_rank(report)
    assert "<b onload" not in page and "&lt;b onload" in page
    markdown = render_rank_markdown(report)
    assert "<b onload" not in markdown.replace("\\<", "") and "\x1b" not in markdown
    assert all(
        row.count("\\|") or "onload" not in row for row in markdown.split("\n") if "|" in row
    )
    assert "\x1b" not in terminal(report)


def test_hostile_log_lines_stay_text(shop):
    incident = shop(traces=True, slow="stock", broken=())
    logs = incident.logs
    lines = tuple(m.replace("refused it", f"refused {HOSTILE}") for m in logs.messages)
    report = told(replace(incident, logs=replace(logs, messages=lines)))
    assert "<b onload" not in render_rank(report)
    assert "\x1b" not in render_rank_markdown(report)


def test_a_page_needs_no_network_and_pins_what_it_runs(shop):
    page = render_rank(told(shop(), commands=[Command(label="Repeat", text="midwatch rca rank x")]))
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    assert "default-src 'none'" in page and " style=" not in page
    assert "midwatch rca rank x" in visible(page)


def test_a_page_shows_one_plot_per_measurement_and_hatches_what_is_missing(shop):
    incident = shop(broken=(("pay", "cpu", 4.0), ("pay", "mem", 3.0)))
    incident.values[100:110, incident.columns.index(Column("pay", "cpu"))] = float("nan")
    report = told(incident)
    page = render_rank(report)
    assert "no data 1 min 50 s" in page and 'class="gap"' in page
    for reading in report.named()[0].readings:
        assert f"<title>{reading.label}, pay:" in page


def test_confidence_is_explained_by_counts_where_they_are_known(shop):
    counted = Calibration(hits=30, cases=33, source="recorded incidents")
    page = visible(render_rank(told(shop(), calibration=counted)))
    assert "right in 30 of 33 recorded incidents (95 % interval 76 to 97 %)" in page
    assert "an order, not a chance" in visible(render_rank(told(shop())))
    assert "right in 30 of 33 answers like it" in terminal(told(shop(), calibration=counted))


def test_the_first_screen_of_markdown_fits_a_chat_message(shop):
    for kind in KINDS.values():
        markdown = render_rank_markdown(told(shop(**kind)))
        assert len(markdown.partition("## Evidence")[0]) <= 3000


@pytest.mark.slow
def test_large_records_give_small_pages(shop):
    services = tuple(f"service-{n:03}" for n in range(400))
    calls = tuple((services[n // 3], services[n]) for n in range(1, 400))
    report = told(shop(services=services, broken=(("service-200", "cpu", 5.0),), calls=calls))
    assert len(render_rank(report)) < 200_000
    assert f"{400 - len(report.suspects)} more services below" in visible(render_rank(report))


def test_a_low_confidence_is_called_low_in_every_format(shop):
    report = replace(told(shop()), confidence=0.31)
    for text in (visible(render_rank(report)), render_rank_markdown(report)):
        assert "with doubt" in text and "Low: confirm before you act." in text
    assert "confidence 0.31, low" in terminal(report)
