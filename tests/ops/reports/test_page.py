from __future__ import annotations

import base64
import hashlib
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ops.reports import SpreadNode, SpreadRole, findings, render_html

KINDS = ("named", "abstained", "healthy", "two")
VOID = {"meta", "link", "br", "hr", "img", "input"}
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}'


class Page(HTMLParser):
    """Checks nesting and collects what the tests ask for."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.tags, self.ids, self.hrefs, self.headings = [], [], [], [], []
        self.attributes = []
        self.feed(text)
        self.close()
        assert not self.stack, f"not closed: {self.stack}"

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def handle_endtag(self, tag):
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag, f"</{tag}> at {self.getpos()}"

    def note(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        if found.get("href", "").startswith("#"):
            self.hrefs.append(found["href"][1:])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_page_is_well_formed_with_unique_ids_and_links_that_lead_somewhere(kind, sample_run):
    page = Page(render_html(sample_run(kind)))
    assert len(page.ids) == len(set(page.ids))
    assert set(page.hrefs) <= set(page.ids)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert all(after - before <= 1 for before, after in steps)


@pytest.mark.parametrize("kind", KINDS)
def test_page_asks_for_nothing_and_pins_its_style_and_script(kind, sample_run):
    text = render_html(sample_run(kind))
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
    assert not {"link", "img", "iframe", "object"} & set(Page(text).tags)
    for tag in ("style", "script"):
        body = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}" in text or f"{tag}-src 'sha256-{digest}'" in text
    attributes = Page(text).attributes
    assert "style" not in attributes
    assert not [name for name in attributes if name.startswith("on")]


def test_a_service_name_cannot_bring_markup(sample_run):
    run = sample_run("named")
    first = run.incidents[0]
    cause = replace(first.cause, entity=replace(first.cause.entity, name=EVIL, region=EVIL))
    incident = replace(
        first,
        incident_id=EVIL,
        cause=cause,
        changes=(),
        nodes=(SpreadNode(key="a", name=EVIL, role=SpreadRole.CAUSE, onset_s=2135.0),),
        lanes=tuple(replace(lane, region=EVIL) for lane in first.lanes),
        series=tuple(
            replace(item, label=EVIL, unit=EVIL, limit_label=EVIL) for item in first.series
        ),
        marks=tuple(replace(mark, text=EVIL) for mark in first.marks),
    )
    run = replace(run, fleet=EVIL, incidents=(incident,), versions=((EVIL, EVIL),))
    text = render_html(run)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "<script>alert" not in text
    assert "49" not in re.findall(r"\{\{.*?\}\}|alert\(1\)[^{]*(\d\d)", text)


@pytest.mark.slow
@pytest.mark.parametrize("number", (5, 60))
def test_page_with_many_incidents_and_long_series_stays_under_400_kib(number, sample_run):
    run = sample_run("named")
    first = run.incidents[0]
    long = tuple(
        replace(
            item,
            times_s=tuple(1900.0 + 0.2 * i for i in range(3600)),
            values=tuple(item.values[i % len(item.values)] for i in range(3600)),
        )
        for item in (*first.series, *first.series)
    )
    many = tuple(replace(first, incident_id=f"inc-{i}", series=long) for i in range(number))
    text = render_html(replace(run, incidents=many))
    assert len(text.encode()) <= 400 * 1024
    assert ("40 more incidents" in text) is (number == 60)


def test_page_is_the_same_for_the_same_run(sample_run):
    assert render_html(sample_run("two")) == render_html(sample_run("two"))


def test_several_incidents_have_an_index_and_only_the_first_is_open(sample_run):
    text = render_html(sample_run("two"))
    assert text.index("2 incidents in 1 h 10 min") < text.index('href="#incident-2"')
    assert len(re.findall("<details open>", text)) == 1
    assert len(re.findall("<details", text)) == 2


def test_healthy_run_says_so_and_has_no_incident_section(sample_run):
    text = render_html(sample_run("healthy"))
    assert "No incident in 1 h 10 min." in text
    assert "incident-1" not in text
    assert "Nothing to do" in text


def test_an_incident_of_which_little_is_known_says_none_and_leaves_sections_out(sample_run):
    run = sample_run("named")
    first = run.incidents[0]
    bare = replace(
        first, findings=(), lanes=(), changes=(), next_step=None, morning=None, done=(), stop=None,
        marks=(), nodes=(), arcs=(), series=(), lost=None, missing=(), candidates=(),
        page_at_s=None,
    )  # fmt: skip
    page = Page(render_html(replace(run, incidents=(bare,))))
    sections = {name.removeprefix("incident-1-") for name in page.ids if "incident-1-" in name}
    assert sections == {"timeline", "out", "missing"}
    assert page.tags.count("dt") - len(findings.GLOSSARY) - len(run.versions) == 5
    text = render_html(replace(run, incidents=(bare,)))
    first = text[text.index('<dl class="first">') : text.index("</dl>")]
    for row, nothing in (
        ("Evidence", "none measured"),
        ("Next safe step", "none"),
        ("Affected", "none"),
        ("Done", "none"),
        ("Changed in 30 min", "none"),
    ):
        assert f"<dt>{row}</dt><dd><p>{nothing}</p></dd>" in first
    assert "No other explanation was found." in text
    assert "Nothing that the answer uses was missing." in text


def test_a_run_of_which_nothing_is_known_has_its_facts_and_no_figure(sample_run):
    run = sample_run("healthy")
    empty = replace(run, lanes=(), changes=(), ledger=None, versions=(), commands=(), watched=())
    page = Page(render_html(empty))
    assert {name for name in page.ids if name not in ("main", "say", "hatch")} == {"run"}
    text = render_html(empty)
    assert "No incident in 1 h 10 min." in text
    assert "Requests" not in text[text.index('id="run"') :]
    assert "<td>1 h 10 min</td>" in text
    assert not re.search(r'class="(bad|moved|still)"', text)


def test_missing_samples_only_leave_a_hatched_gap(sample_run):
    run = sample_run("abstained")
    nothing = replace(run.incidents[0].series[0], values=(math.nan,) * 145)
    incident = replace(run.incidents[0], series=(nothing,))
    text = render_html(replace(run, incidents=(incident,)))
    figure = text[text.index("-evidence") : text.index("-out")]
    assert 'class="gap"' in figure
    assert 'class="still"' not in figure
    assert 'class="moved"' not in figure
