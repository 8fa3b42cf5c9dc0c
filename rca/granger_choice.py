"""Which Granger model is used: the neural one where torch is installed, else the linear one.

torch is imported with the first fit that can be made, so that whoever only asks for help, or has
too few rows, does not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

from rca.errors import ModelError
from rca.forecasters import Forecaster, GrangerResult, skip, unfit
from rca.granger_kind import GrangerChoice
from rca.granger_linear import LinearForecaster
from rca.state import FloatArray

ASKED = "asked for"
INSTALL = "pip install -e '.[models]' brings the neural model"
NOT_INSTALLED = f"torch is not installed; {INSTALL}"
INSTALLED = "torch is installed"


def choose(choice: GrangerChoice) -> Forecaster | None:
    """The forecaster of this choice; None switches it off. Results say which it was and why.

    Raises:
        ModelError: the neural model is asked for and torch is not installed.
    """
    if choice is GrangerChoice.OFF:
        return None
    if choice is GrangerChoice.LINEAR:
        return _Linear(why=ASKED)
    if find_spec("torch") is not None:
        return _Neural(strict=choice is GrangerChoice.NEURAL)
    if choice is GrangerChoice.NEURAL:
        raise ModelError(
            f"the neural model needs torch, which is not installed: {INSTALL}, or take auto, "
            "which uses the linear model then"
        )
    return _Linear(why=NOT_INSTALLED)


def resolve(choice: GrangerChoice) -> tuple[GrangerChoice, str]:
    """What `auto` amounts to on this machine, and why; for records that others repeat.

    Loads torch where it is there: an installation that is broken is found now.
    """
    if choice is not GrangerChoice.AUTO:
        return choice, ASKED
    if find_spec("torch") is None:
        return GrangerChoice.LINEAR, NOT_INSTALLED
    try:
        _neural()
    except (ImportError, OSError) as error:
        return GrangerChoice.LINEAR, _broken(error)
    return GrangerChoice.NEURAL, INSTALLED


def _neural() -> Forecaster:
    # Heavy and optional: 1.5 s and 250 MB that other commands need not pay.
    from rca.granger import NeuralForecaster  # noqa: PLC0415

    return NeuralForecaster()


def _broken(error: Exception) -> str:
    return f"torch cannot be imported ({error}); {INSTALL}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear:
    """The regression, and why it is this one."""

    why: str

    @property
    def num_series_max(self) -> int:
        return LinearForecaster().num_series_max

    def fit(
        self,
        levels: FloatArray,
        *,
        normal_end: int,
        fault_start: int,
        step_s: float,
        rng: np.random.Generator,
    ) -> GrangerResult:
        result = LinearForecaster().fit(
            levels, normal_end=normal_end, fault_start=fault_start, step_s=step_s, rng=rng
        )
        return replace(result, why=self.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neural:
    """The neural model, imported with the first fit; where torch is broken, the regression."""

    strict: bool

    @property
    def num_series_max(self) -> int:
        return 128

    def fit(
        self,
        levels: FloatArray,
        *,
        normal_end: int,
        fault_start: int,
        step_s: float,
        rng: np.random.Generator,
    ) -> GrangerResult:
        num_series = levels.shape[1]
        reason = unfit(num_series, normal_end=normal_end, step_s=step_s)
        if reason:
            return skip(num_series, reason)
        try:
            model = _neural()
        except (ImportError, OSError) as error:
            if self.strict:
                raise ModelError(_broken(error)) from error
            model = _Linear(why=_broken(error))
        result = model.fit(
            levels, normal_end=normal_end, fault_start=fault_start, step_s=step_s, rng=rng
        )
        return replace(result, why=result.why or (ASKED if self.strict else INSTALLED))
