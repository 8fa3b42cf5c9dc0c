"""Every number that may be tuned when recorded incidents are ranked, with the values tried.

All of them are here and nowhere else: a scored set is never seen by the choice (`evaluate`
chooses on the other sets), and eight knobs of few values leave little to fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaliseConfig:
    """Settings of `localise`. The defaults are the shipped choice.

    Attributes:
        level_floor: least scale of a series, as a share of its level.
        saturation: log-change beyond which a series is simply "far off".
        num_metrics: strongest metrics of an owner that are averaged.
        wrong_way: weight of a change against the bad direction (a latency that falls).
        kind_contrast: exponent of the kind weights; 0 ignores kinds.
        entry: factor on the service that receives the users' traffic: it shows everybody's fault.
        threshold: share of chance level that a channel must exceed to count.
        power: of what exceeds it.
    """

    level_floor: float = 0.05
    saturation: float = 4.0
    num_metrics: int = 3
    wrong_way: float = 0.5
    kind_contrast: float = 1.0
    entry: float = 0.7
    threshold: float = 0.7
    power: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0.0:
                raise ValueError(f"{field.name} is {value!r}, expected a number of at least 0")
        if self.num_metrics < 1:
            raise ValueError(f"num_metrics is {self.num_metrics}, expected at least 1")


GRID = MappingProxyType(
    {
        "level_floor": (0.03, 0.05, 0.1),
        "saturation": (3.5, 4.0, 5.0),
        "num_metrics": (2, 3, 4),
        "wrong_way": (0.3, 0.5, 1.0),
        "kind_contrast": (0.0, 0.5, 1.0),
        "entry": (0.7, 1.0),
        "threshold": (0.5, 0.7, 1.0),
        "power": (1.0, 2.0),
    }
)
METRIC_KNOBS = ("level_floor", "saturation", "num_metrics", "wrong_way", "kind_contrast", "entry")
FUSION_KNOBS = ("threshold", "power")


def neighbours(config: LocaliseConfig, names: tuple[str, ...]) -> Iterator[LocaliseConfig]:
    """Settings that differ from `config` in one of the named knobs, in a fixed order."""
    for name in names:
        for value in GRID[name]:
            if value != getattr(config, name):
                yield replace(config, **{name: value})  # type: ignore[arg-type]
