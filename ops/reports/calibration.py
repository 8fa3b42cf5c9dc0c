"""What a confidence was worth: bins of a sweep, packaged with the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson

from ops.reports.parts import Calibration

_FILE = "calibration.json"
_RCA_FILE = "rca_calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Diagnoses of a sweep whose confidence lay in [low, high]: how many, how many right."""

    low: float
    high: float
    cases: int
    hits: int


def calibrated(
    confidence: float, bins: Sequence[CalibrationBin], source: str
) -> Calibration | None:
    """What a confidence was worth in the sweep: the bin that holds it, else the nearest one."""
    if not bins:
        return None
    nearest = min(
        bins, key=lambda b: (max(b.low - confidence, confidence - b.high, 0.0), b.low)
    )  # fmt: skip
    return Calibration(hits=nearest.hits, cases=nearest.cases, source=source)


def load_calibration() -> tuple[tuple[CalibrationBin, ...], str]:
    """Bins and their source as packaged with the program; no bins where none are."""
    return _bins(_packaged(_FILE))


def load_rca_calibration(
    weights: Sequence[float], presence_min: float
) -> tuple[tuple[CalibrationBin, ...], str]:
    """The same for answers on recorded incidents; no bins where they were counted with others.

    Args:
        weights, presence_min: what turns an answer into a confidence and an accusation now.
    """
    raw = _packaged(_RCA_FILE)
    if raw.get("weights") != list(weights) or raw.get("presence_min") != presence_min:
        return (), ""
    return _bins(raw)


def _packaged(name: str) -> dict[str, Any]:
    path = files("ops.reports") / name
    found: dict[str, Any] = orjson.loads(path.read_bytes()) if path.is_file() else {}
    return found


def _bins(raw: dict[str, Any]) -> tuple[tuple[CalibrationBin, ...], str]:
    if not raw:
        return (), ""
    bins = tuple(
        CalibrationBin(
            low=float(b["low"]), high=float(b["high"]), cases=int(b["cases"]), hits=int(b["hits"])
        )
        for b in raw["bins"]
    )
    return bins, str(raw["source"])
