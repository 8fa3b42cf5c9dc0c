"""What an answer that names nobody rests on: what was checked, how near it came, what helps."""

from __future__ import annotations

from collections.abc import Sequence

from rca.channels.surprise import Surprise
from rca.incident import Incident
from rca.localisation import Check
from rca.presence import PRESENCE_MIN, channel_presence

METRIC = "metric"
NORMAL_ROWS_FEW = 12  # fewer leave two or three windows to compare with
FAULT_ROWS_FEW = 5
SAID_MAX = 3
# A channel that lacks its data, and what would let it speak.
_WANTED = {
    "self-time": "spans of the trouble and of fault-free time",
    "edges": "spans of the trouble and of fault-free time",
    "structure": "spans of the trouble and of fault-free time",
    "sequences": "log lines of the trouble and of fault-free time",
    "errors": "log lines of the trouble and of fault-free time",
    "change": "announced changes (deploys, scaling, settings)",
}


def checks_of(surprises: Sequence[Surprise], metrics: float) -> tuple[Check, ...]:
    """Every channel with its strongest candidate, nearest to an accusation first.

    Args:
        metrics: presence by the metrics.
    """
    found = []
    for one in surprises:
        score = {} if one.skipped else one.score
        strongest = min(score, key=lambda name: (-score[name], name), default="")
        presence = metrics if one.name == METRIC and score else channel_presence(one)
        found.append(
            Check(channel=one.name, strongest=strongest, presence=round(presence, 6),
                  skipped=one.skipped)
        )  # fmt: skip
    return tuple(sorted(found, key=lambda c: (bool(c.skipped), -c.presence, c.channel)))


def wanted_data(
    incident: Incident, checks: Sequence[Check], num_rows: tuple[int, int]
) -> tuple[str, ...]:
    """What would settle the question, most telling first.

    Args:
        num_rows: normal and fault rows.
    """
    normal, fault = num_rows
    wanted = []
    if fault < FAULT_ROWS_FEW:
        wanted.append(f"more rows since it began than {fault}")
    if normal < NORMAL_ROWS_FEW:
        wanted.append(f"more rows before it began than {normal}")
    wanted += [_WANTED[c.channel] for c in checks if c.skipped and c.channel in _WANTED]
    if not incident.calls:
        wanted.append("who calls whom")
    return tuple(dict.fromkeys(wanted))


def abstained_because(checks: Sequence[Check], wanted: Sequence[str]) -> str:
    """One sentence: what was checked, how far from an accusation it is, what would settle it."""
    spoke = [c for c in checks if not c.skipped and c.strongest]
    if not spoke:
        said = "no channel had data of normal and of fault time"
    else:
        nearest = ", ".join(f"{c.channel} {c.presence:.2f} ({c.strongest})"
                            for c in spoke[:SAID_MAX])  # fmt: skip
        said = f"{nearest}; {PRESENCE_MIN:g} is needed, fault-free time reaches it once in twenty"
    settles = f"; would settle it: {', '.join(wanted)}" if wanted else ""
    return f"nothing stands out: {said}{settles}"
