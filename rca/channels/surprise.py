"""What one channel says of each service of a recorded incident, and how channels are put together.

A channel is a function `(incident, split) -> Surprise`. It compares the fault part of its own data
(metrics, spans, log lines, order of events) with the normal part and knows nothing of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from rca.incident import Incident
from rca.state import Evidence

SOFT_MAX_POWER = 4.0  # 1 is a sum, endless a maximum; nothing changes between 3 and 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which part of the incident's clock is taken as normal, which as trouble.

    What begins in [normal_end_s, fault_start_s) belongs to neither side.
    """

    normal_end_s: float
    fault_start_s: float
    fault_end_s: float = math.inf

    @classmethod
    def at(cls, fault_at_s: float) -> Split:
        """Normal up to `fault_at_s`, trouble from then on."""
        return cls(normal_end_s=fault_at_s, fault_start_s=fault_at_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """How far each service left its normal state, in the channel's own unit.

    Attributes:
        name: of the channel, as evidence names it.
        score: service -> surprise, 0 or more. A service that the channel has no data of is
            absent: unknown, not healthy.
        null: what the largest score of all services is in fault-free time, > 0. Scores are
            divided by it, so that channels can be compared; a channel keeps a floor under it.
        evidence: service -> what was measured, strongest first.
        skipped: why the channel says nothing; empty where it was used.
    """

    name: str
    score: Mapping[str, float] = field(default_factory=dict)
    null: float = 1.0
    evidence: Mapping[str, tuple[Evidence, ...]] = field(default_factory=dict)
    skipped: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.null) and self.null > 0.0):
            raise ValueError(f"null of channel {self.name!r} is {self.null}, expected a value > 0")
        for service, score in self.score.items():
            if not math.isfinite(score):
                raise ValueError(f"channel {self.name!r} scores {service!r} with {score}")

    def relative(self, service: str) -> float:
        """Score in units of what chance reaches; 0 where nothing is known."""
        return max(self.score.get(service, 0.0), 0.0) / self.null


Channel = Callable[[Incident, Split], Surprise]


def fuse_surprises(
    surprises: Sequence[Surprise], *, candidates: Collection[str]
) -> dict[str, float]:
    """One score per candidate: the soft maximum over channels, in units of chance.

    The strongest channel decides, as one clear kind of evidence is enough; channels that agree add
    a little. A channel that shows no more than chance adds next to nothing to a loud one. A
    candidate that no channel knows is unknown, not healthy: it stands in the middle of the others.

    Args:
        candidates: services that may be accused; each gets a score.
    """
    used = [s for s in surprises if not s.skipped]
    scores: dict[str, float] = {}
    unknown = [c for c in sorted(candidates) if not any(c in s.score for s in used)]
    for candidate in sorted(set(candidates) - set(unknown)):
        total = sum(max(s.relative(candidate), 0.0) ** SOFT_MAX_POWER for s in used)
        scores[candidate] = round(total ** (1.0 / SOFT_MAX_POWER), 9)
    middle = float(median(scores.values())) if scores else 0.0
    return scores | dict.fromkeys(unknown, middle)
