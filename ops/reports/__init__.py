"""What people read of a run: HTML, Markdown, terminal, JSON, all from one `RunReport`."""

from __future__ import annotations

from ops.reports.data import render_json, report_data
from ops.reports.markdown import render_markdown
from ops.reports.model import IncidentReport, RequestLedger, RunReport
from ops.reports.page import render_html
from ops.reports.parts import (
    Calibration,
    Candidate,
    Cause,
    Change,
    ClockBase,
    Command,
    DoneAction,
    EvidenceSeries,
    Finding,
    Lane,
    LostMinutes,
    Mark,
    MarkKind,
    MissingData,
    Step,
)
from ops.reports.parts_gap import GapReport
from ops.reports.parts_spread import SpreadArc, SpreadNode, SpreadRole
from ops.reports.terminal import render_gap, render_terminal

__all__ = [
    "Calibration",
    "Candidate",
    "Cause",
    "Change",
    "ClockBase",
    "Command",
    "DoneAction",
    "EvidenceSeries",
    "Finding",
    "GapReport",
    "IncidentReport",
    "Lane",
    "LostMinutes",
    "Mark",
    "MarkKind",
    "MissingData",
    "RequestLedger",
    "RunReport",
    "SpreadArc",
    "SpreadNode",
    "SpreadRole",
    "Step",
    "render_gap",
    "render_html",
    "render_json",
    "render_markdown",
    "render_terminal",
    "report_data",
]
