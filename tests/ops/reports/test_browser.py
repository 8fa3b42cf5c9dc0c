"""The page in headless Chromium: nothing wider than the window, nothing blank, both themes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ops.reports import render_html
from ops.reports.workload_page import render_workload
from serving.workload import generate
from serving.workload.fidelity import compare

pytestmark = pytest.mark.integration


def long_names(run):
    """Every name 120 characters without a place to break."""
    first = run.incidents[0]
    name = "x" * 120
    entity = replace(first.cause.entity, name=name)
    return replace(
        run,
        fleet=name,
        incidents=(
            replace(
                first,
                incident_id=name,
                cause=replace(first.cause, entity=entity),
                changes=tuple(replace(item, title=name) for item in first.changes),
                lanes=tuple(replace(item, region=name) for item in first.lanes),
                nodes=tuple(replace(item, name=name) for item in first.nodes),
                series=tuple(replace(item, label=name, detail=name) for item in first.series),
                candidates=tuple(replace(c, entity=entity) for c in first.candidates),
                missing=tuple(replace(item, what=name) for item in first.missing),
                marks=tuple(replace(item, text=name) for item in first.marks),
            ),
        ),
    )


def test_no_page_is_wider_than_its_window(tmp_path, sample_run, browser):
    runs = {kind: sample_run(kind) for kind in ("named", "abstained", "healthy", "two")}
    runs["long"] = long_names(sample_run("named"))
    browser.assert_fits(tmp_path, {kind: render_html(run) for kind, run in runs.items()})


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("width", (1440, 390))
@pytest.mark.parametrize("kind", ("named", "abstained", "two"))
def test_page_is_drawn_in_both_themes_at_both_widths(
    kind, width, scheme, tmp_path, sample_run, browser
):
    page = tmp_path / "page.html"
    page.write_text(render_html(replace(sample_run(kind), sample=False)), encoding="utf-8")
    frame = tmp_path / "frame.html"  # Chromium has no window narrower than about 500 px
    frame.write_text(
        '<!doctype html><body style="margin:0"><iframe src="page.html" '
        f'style="width:{width}px;height:2400px;border:0"></iframe>',
        encoding="utf-8",
    )
    picture = tmp_path / f"{kind}-{width}-{scheme}.png"
    preferred = {"dark": 0, "light": 1}[scheme]
    browser.run(
        tmp_path,
        frame,
        f"--screenshot={picture}",
        f"--blink-settings=preferredColorScheme={preferred}",
        width=max(width, 500),
    )
    wide, high, first, different = browser.pixels(picture)
    assert (wide, high) == (max(width, 500), 2400)
    assert first == browser.paper[scheme]
    assert different > 100, "the picture is nearly blank"
    assert picture.stat().st_size > 50_000


def test_a_table_of_aspects_keeps_its_rows_low_on_a_phone(tmp_path, browser):
    a, b = (generate(seed=seed, duration_s=900.0, rate_rps=1.0) for seed in (1, 2))
    page = render_workload(a, b, compare(a, b), names=("a.csv", "b.csv"), command="")
    (tmp_path / "alike.html").write_text(page, encoding="utf-8")
    measure = browser.measure.replace(
        "f.dataset.js=",
        "f.dataset.high=Math.max(...[...d.querySelectorAll('.aspects tr')]"
        ".map(r=>Math.round(r.getBoundingClientRect().height)));f.dataset.js=",
    )
    frame = '<iframe src="alike.html" style="width:390px;height:900px;border:0"></iframe>'
    wrapper = tmp_path / "all.html"
    wrapper.write_text(f"<!doctype html>{measure}{frame}", encoding="utf-8")
    dom = browser.run(tmp_path, wrapper, "--dump-dom")
    ((over, high),) = re.findall(r'data-over="(-?\d+)" data-high="(\d+)"', dom)
    assert int(over) <= 0
    assert 20 < int(high) <= 120
