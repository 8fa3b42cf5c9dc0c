"""What users got before and after: symptom columns, else what the entry service shows."""

from __future__ import annotations

from dataclasses import replace

from ops.reports.rca_model import Reading
from ops.reports.rca_record import Record
from rca.incident import Column
from rca.metric_kinds import Measured, sense

SHOWN_MAX = 3
_FELT = (
    Measured.LATENCY,
    Measured.ERRORS,
    Measured.SUCCESS,
    Measured.AVAILABILITY,
    Measured.TRAFFIC,
)


def users(record: Record, entry: str) -> tuple[tuple[Reading, ...], str]:
    """Readings that moved most first, one of a kind; or why nothing is known."""
    columns = [c for c in record.incident.columns if c.is_symptom]
    source = "symptom column"
    if not columns and entry:
        mine = [c for c in record.incident.columns if record.incident.service_of(c.owner) == entry]
        columns = [c for c in mine if sense(c.metric).kind in _FELT]
        source = f"entry service {entry}"
    if not columns:
        why = "no sli_ column and no entry service with latency or errors are in the record"
        return (), f"Not known: {why}."
    if record.split is None:
        return (), "Not known: nothing could be compared."
    best: dict[Measured, tuple[float, Reading]] = {}
    for column in columns:
        far, reading = _moved(record, column)
        kind = sense(column.metric).kind
        if reading is not None and far > best.get(kind, (-1.0, None))[0]:
            best[kind] = (far, reading)
    told = sorted(best.values(), key=lambda pair: (-pair[0], pair[1].label))[:SHOWN_MAX]
    if not told:
        return (), f"Not known: every {source} is missing before or since the onset."
    moved = [reading for far, reading in told if far > 0.0]
    if not moved:
        calm = tuple(replace(reading, text="") for _, reading in told)
        return calm, f"As well as before, by the {source}."
    return tuple(moved), ""


def _moved(record: Record, column: Column) -> tuple[float, Reading | None]:
    """(how far outside the normal band its median lies, in widths of the band; the reading)."""
    name = str(column)
    before, after = record.levels_of(name)
    low, high = record.band_of(name)
    if before is None or after is None or low is None or high is None:
        return 0.0, None
    width = max(high - low, 0.02 * abs(before), 1e-12)
    far = max(after - high, low - after, 0.0) / width
    reading = record.reading_of(name)
    told = {1: "worse than usual", -1: "better than usual"}
    band = told.get(reading.harm, "outside the usual band")
    return far, replace(reading, channel="users", text=band)
