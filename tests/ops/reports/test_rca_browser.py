"""The page of a ranking in headless Chromium: nothing wider than the window, both themes drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.reports.rca_page import render_rank
from ops.reports.rca_view import rank_report
from rca.incident import Column
from rca.localise import localise

pytestmark = pytest.mark.integration

LONG = "x" * 90


def page_of(incident):
    return render_rank(rank_report(localise(incident), incident, source=LONG * 2))


@pytest.fixture
def pages(shop):
    """One page of each shape: named, two, abstained, traces, hostile length, 5 and 400 services."""
    many = tuple(f"service-{n:03}" for n in range(400))
    calls = tuple((many[n // 3], many[n]) for n in range(1, 400))
    few = ("a", "b", "c", "d", "e")
    long = shop(traces=True, slow="stock", broken=(("stock", "cpu", 5.0),))
    long = replace(
        long,
        columns=tuple(Column(c.owner, c.metric + LONG) for c in long.columns),
        spans=replace(long.spans, operations=tuple(o + LONG for o in long.spans.operations)),
        logs=replace(long.logs, messages=tuple(m + " " + LONG for m in long.logs.messages)),
    )
    return {
        "named": page_of(shop()),
        "two": page_of(shop(broken=(("stock", "cpu", 4.0), ("mail", "mem", 3.0)))),
        "abstained": page_of(shop(broken=())),
        "traces": page_of(shop(traces=True, slow="stock", broken=())),
        "long": page_of(long),
        "five": page_of(shop(services=few, broken=(("c", "cpu", 5.0),), calls=(("a", "c"),))),
        "many": page_of(shop(services=many, broken=(("service-200", "cpu", 5.0),), calls=calls)),
    }


def test_no_page_of_a_ranking_is_wider_than_its_window(pages, browser, tmp_path):
    browser.assert_fits(tmp_path, pages)


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("width", (1440, 390))
def test_a_ranking_is_drawn_in_both_themes_at_both_widths(width, scheme, shop, browser, tmp_path):
    incident = shop(traces=True, slow="stock", broken=())
    (tmp_path / "page.html").write_text(page_of(incident), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<!doctype html><body style="margin:0"><iframe src="page.html" '
        f'style="width:{width}px;height:2400px;border:0"></iframe>',
        encoding="utf-8",
    )
    picture = tmp_path / "page.png"
    browser.run(
        tmp_path,
        frame,
        f"--screenshot={picture}",
        f"--blink-settings=preferredColorScheme={ {'dark': 0, 'light': 1}[scheme] }",
        width=max(width, 500),
    )
    wide, high, first, different = browser.pixels(picture)
    assert (wide, high) == (max(width, 500), 2400)
    assert first == browser.paper[scheme]
    assert different > 100, "the picture is nearly blank"
