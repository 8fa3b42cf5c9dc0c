"""Which Granger model a diagnosis can afford now: the neural one, unless it was slow lately.

Only a choice of `auto` is watched. What was taken is part of the question, so that whoever asks it
again, from a bundle and on another machine, takes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ops.clock import monotonic_s
from rca.forecasters import Forecaster, GrangerResult
from rca.granger_kind import GrangerChoice
from rca.state import FloatArray

FIT_S_MAX = 5.0  # that the neural fit may take of a diagnosis; usual are 0.1 to 0.5 s
REST_S = 120.0  # then it is tried again: the machine may be free
WARM_ROWS, WARM_SERIES, WARM_STEP_S = 300, 64, 5.0


@dataclass(slots=True, kw_only=True)
class Pace:
    """Remembers how long the neural model took. Used by one thread."""

    clock: Callable[[], float] = monotonic_s
    _slow_s: float = 0.0  # the last fit, where it was too slow
    _rest_until_s: float = -1.0

    def afford(self) -> tuple[GrangerChoice, str]:
        """The model to take now, and why the linear one where it is that."""
        if self.clock() >= self._rest_until_s:
            return GrangerChoice.NEURAL, ""
        return GrangerChoice.LINEAR, (
            f"the neural model took {self._slow_s:.1f} s lately, of {FIT_S_MAX:g} s that it may: "
            "this machine is busy"
        )

    def took(self, seconds: float) -> None:
        """The neural model was fitted in that time."""
        if seconds > FIT_S_MAX:
            self._slow_s, self._rest_until_s = seconds, self.clock() + REST_S


@dataclass(slots=True)
class Timed:
    """A forecaster that tells how long its last fit took."""

    forecaster: Forecaster
    clock: Callable[[], float] = monotonic_s
    seconds: float = field(default=0.0, init=False)

    @property
    def num_series_max(self) -> int:
        """See `rca.forecasters.Forecaster`."""
        return self.forecaster.num_series_max

    def fit(
        self,
        levels: FloatArray,
        *,
        normal_end: int,
        fault_start: int,
        step_s: float,
        rng: np.random.Generator,
    ) -> GrangerResult:
        """See `rca.forecasters.Forecaster`."""
        began_s = self.clock()
        result = self.forecaster.fit(
            levels, normal_end=normal_end, fault_start=fault_start, step_s=step_s, rng=rng
        )
        self.seconds = self.clock() - began_s
        return result


def warm_up(forecaster: Forecaster) -> None:
    """Fit noise once: what a library loads or makes with its first use is there afterwards."""
    rng = np.random.default_rng(0)
    forecaster.fit(
        rng.standard_normal((WARM_ROWS, WARM_SERIES)).cumsum(axis=0),
        normal_end=WARM_ROWS - 20,
        fault_start=WARM_ROWS - 10,
        step_s=WARM_STEP_S,
        rng=rng,
    )
