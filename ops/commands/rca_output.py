"""What `midwatch rca rank` gives out: terminal or JSON, a Markdown file, a page."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from ops.encode import to_plain
from ops.reports.calibration import calibrated, load_rca_calibration
from ops.reports.parts import Command
from ops.reports.rca_markdown import render_rank_markdown
from ops.reports.rca_model import RankReport, Reading
from ops.reports.rca_page import render_rank
from ops.reports.rca_terminal import CAUSE, QUIET, STRONG, rank_lines
from ops.reports.rca_view import rank_report
from rca.incident import Incident
from rca.localisation import Localisation
from rca.presence import CONFIDENCE, PRESENCE_MIN

WIDTH, WIDTH_MAX = 80, 100
_STYLES = {STRONG: "bold", CAUSE: "bold red", QUIET: "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What was asked for; `markdown` and `report` are files to write, None = not asked for."""

    top: int = 5
    as_json: bool = False
    markdown: Path | None = None
    report: Path | None = None


def give_out(
    found: Localisation, incident: Incident, *, source: str, command: str, output: Output
) -> None:
    """Write the files that were asked for, then print the answer.

    Args:
        source: what was read, in words.
        command: repeats the answer.

    Raises:
        typer.BadParameter: a file cannot be written.
    """
    bins, counted = load_rca_calibration(CONFIDENCE, PRESENCE_MIN)
    report = rank_report(
        found,
        incident,
        source=source,
        top=output.top,
        calibration=calibrated(found.confidence, bins, counted),
        commands=[Command(label="Repeat", text=command)],
    )
    _write(output.markdown, lambda: render_rank_markdown(report, top=output.top))
    _write(output.report, lambda: render_rank(report))
    if output.as_json:
        data = to_plain(found) | {"report": _told(report)}
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
        return
    _print(report, output)


def _write(path: Path | None, render: Callable[[], str]) -> None:
    if path is None:
        return
    try:
        path.write_text(render(), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be written: {error.strerror}; name a file in a folder that exists"
        ) from error


def _told(report: RankReport) -> Any:
    """The page as data; the samples stay in the record that was read."""

    def bare(reading: Reading) -> Reading:
        return replace(reading, series=None)

    suspects = tuple(
        replace(item, readings=tuple(bare(r) for r in item.readings)) for item in report.suspects
    )
    return to_plain(replace(report, suspects=suspects, users=tuple(bare(r) for r in report.users)))


def _print(report: RankReport, output: Output) -> None:
    """Colours and the terminal's own width on a terminal only; elsewhere 80 plain columns."""
    width = WIDTH
    if sys.stdout.isatty():
        width = max(40, min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH_MAX))
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for line in rank_lines(report, top=output.top, width=width):
        console.print(Text(line.text, style=_STYLES.get(line.style, "")))
    for label, path in (("page", output.report), ("markdown", output.markdown)):
        if path is not None:
            console.print(Text(f"{label:<10}{path}"))
