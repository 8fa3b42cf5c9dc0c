"""Every number that may be tuned when recorded incidents are ranked, with the values tried.

All of them are here and nowhere else: a scored set is never seen by the choice (`evaluate`
chooses on the other sets), and four knobs of three values leave little to fit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from itertools import product
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaliseConfig:
    """Settings of `localise`. The defaults are the shipped choice.

    Attributes:
        level_floor: least scale of a series, as a share of its level.
        saturation: log-change that counts half: beyond it a series is simply "far off".
        wrong_way: weight of a change against the bad direction (a latency that falls).
        kind_contrast: exponent of the kind weights; 0 ignores kinds.
    """

    level_floor: float = 0.05
    saturation: float = 4.0
    wrong_way: float = 0.5
    kind_contrast: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0.0:
                raise ValueError(f"{field.name} is {value!r}, expected a number of at least 0")
        if not self.saturation > 0.0:
            raise ValueError(f"saturation is {self.saturation!r}, expected more than 0")


GRID = MappingProxyType(
    {
        "level_floor": (0.02, 0.05, 0.1),
        "saturation": (2.0, 4.0, 8.0),
        "wrong_way": (0.3, 0.5, 1.0),
        "kind_contrast": (0.0, 0.5, 1.0),
    }
)


def settings() -> list[LocaliseConfig]:
    """Every combination of the grid, in a fixed order."""
    return [LocaliseConfig(**dict(zip(GRID, values, strict=True)))
            for values in product(*GRID.values())]  # fmt: skip


def central(near_best: Collection[LocaliseConfig]) -> LocaliseConfig:
    """The middle of settings that are all about as good: the (lower) median of each knob.

    Which of many nearly equal settings comes out best is luck of the cases; their middle is not.
    """
    middle = {}
    for name, values in GRID.items():
        places = sorted(values.index(getattr(config, name)) for config in near_best)
        middle[name] = values[places[(len(places) - 1) // 2]]
    return LocaliseConfig(**middle)
