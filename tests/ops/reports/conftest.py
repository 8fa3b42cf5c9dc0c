"""A sample run with invented data, and the outputs that are stored of it.

`pytest tests/ops/reports --update-golden` writes what the renderers give now; read the diff.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ops.reports import chromium
from tests.ops.reports.sample_run import build_run
from tests.ops.reports.sample_shop import draw_shop

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "reports"


@pytest.fixture
def golden(request):
    """Gives the stored copy of a text, after storing it where that is asked for."""

    def stored(name: str, text: str) -> str:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; run pytest tests/ops/reports --update-golden"
        return path.read_text(encoding="utf-8")

    return stored


@pytest.fixture
def sample_run():
    """Builds the run that is asked for: "named", "abstained", "healthy" or "two"."""
    return build_run


@pytest.fixture
def shop():
    """Draws a recorded incident of a small shop; see `draw_shop` for what can be broken."""
    return draw_shop


@pytest.fixture
def browser():
    """Headless Chromium; without one the test is skipped."""
    if chromium.CHROMIUM is None:
        pytest.skip("chromium is not on PATH")
    return SimpleNamespace(
        run=chromium.run,
        pixels=chromium.pixels,
        measure=chromium.MEASURE,
        paper=chromium.PAPER,
        assert_fits=chromium.assert_fits,
    )
