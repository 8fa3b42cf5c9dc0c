"""Panels and rows in Grafana's form, placed on its grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 24, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel: its expressions, each with its legend."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    told: str = ""
    limit: float | None = None  # a line
    least: float | None = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A row of panels."""

    title: str
    panels: tuple[Panel, ...]


def laid_out(sections: Sequence[Section]) -> Iterator[dict[str, Any]]:
    """Panels with places on Grafana's grid of 24 columns, and ids in order."""
    number, top = 0, 0
    for section in sections:
        number += 1
        yield {
            "id": number, "type": "row", "title": section.title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1},
        }  # fmt: skip
        top, left = top + 1, 0
        for panel in section.panels:
            if left + panel.width > _WIDTH:
                top, left = top + _HEIGHT, 0
            number += 1
            yield _drawn(panel, number, {"x": left, "y": top, "w": panel.width, "h": _HEIGHT})
            left += panel.width
        top += _HEIGHT


def _drawn(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 5, "spanNulls": False}
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
        custom["thresholdsStyle"] = {"mode": "line"}
    defaults: dict[str, Any] = {
        "unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, "custom": custom,
    }  # fmt: skip
    if panel.least is not None:
        defaults["min"] = panel.least
    return {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.told,
        "datasource": SOURCE, "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + k), "datasource": SOURCE, "expr": expr,
             "legendFormat": legend}
            for k, (expr, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip
