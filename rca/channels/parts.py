"""What one entity adds to what a user request suffers: the currency of blame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rca.channels.case import Contrast
from rca.state import Entity

Z_MIN = 2.0  # spreads that are taken off a shift before it counts
LATENCY, ERRORS = "latency", "errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one entity adds to one user request since the onset."""

    entity: Entity
    what: str  # LATENCY (seconds) or ERRORS (share of requests)
    added: float
    stat: Contrast  # of the entity's own quantity, per call


def beyond_noise(stat: Contrast) -> float:
    """Rise beyond what earlier windows of the same length showed, 0 where none or unknown."""
    usual = float(np.fmax(stat.before + Z_MIN * stat.spread, stat.top))
    rise = stat.after - usual
    return float(rise) if np.isfinite(rise) and rise > 0.0 else 0.0


def to_owners(part: Part, owners: dict[Entity, float]) -> list[Part]:
    """Split a part over entities by weights that sum to one."""
    return [
        Part(entity=entity, what=part.what, added=part.added * weight, stat=part.stat)
        for entity, weight in sorted(owners.items())
        if weight > 0.0
    ]
