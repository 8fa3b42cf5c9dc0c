"""The report as data: deterministic, JSON-ready, with the sentences that the pages show."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import orjson

from ops.reports import sentence
from ops.reports.build_gaps import state_line
from ops.reports.model import RunReport
from rca.state import Entity


def report_data(run: RunReport) -> dict[str, Any]:
    """Every field of the run; NaN becomes null, an entity its text form."""
    data: dict[str, Any] = _plain(run)
    data["headline"] = sentence.run_headline(run)
    for item, gap in zip(data["gaps"], run.gaps, strict=True):
        item["state"] = state_line(gap, run.clock)
    for item, incident in zip(data["incidents"], run.incidents, strict=True):
        item["headline"] = sentence.headline(incident)
        item["state"] = sentence.state_line(incident, run.clock)
        if incident.cause is not None:
            item["cause"]["meaning"] = sentence.calibration_text(incident.cause.calibration)
    return data


def render_json(run: RunReport) -> str:
    """The same as text; keys sorted, so that equal runs give equal bytes."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(report_data(run), option=options).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Entity):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
