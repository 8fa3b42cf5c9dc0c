"""What a confidence was worth: bins of a sweep, packaged with the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import orjson

from ops.reports.parts import Calibration

_FILE = "calibration.json"


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


def load_calibration(name: str = _FILE) -> tuple[tuple[CalibrationBin, ...], str]:
    """Bins and their source as packaged with the program; no bins where none are."""
    path = files("ops.reports") / name
    if not path.is_file():
        return (), ""
    raw = orjson.loads(path.read_bytes())
    bins = tuple(
        CalibrationBin(
            low=float(b["low"]), high=float(b["high"]), cases=int(b["cases"]), hits=int(b["hits"])
        )
        for b in raw["bins"]
    )
    return bins, str(raw["source"])
