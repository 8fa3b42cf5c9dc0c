"""The samples of some answers as three arrays, one entry a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ops.adapters.prometheus_answers import RawAnswer
from rca.state import FloatArray

IntArray = npt.NDArray[np.int64]


def flat_samples(
    answers: Sequence[RawAnswer], columns: Sequence[IntArray]
) -> tuple[IntArray, IntArray, FloatArray]:
    """Column, unix milliseconds and value of each sample, shape [M]; a series' samples together.

    Args:
        columns: of each answer's series; samples of negative ones are left out.
    """
    per_sample = _joined([np.repeat(c, a.counts) for c, a in zip(columns, answers, strict=True)])
    times_s = _joined([answer.times_s for answer in answers])
    values = _joined([answer.values for answer in answers])
    kept = np.flatnonzero(per_sample >= 0)
    times_ms = np.rint(times_s[kept] * 1000.0).astype(np.int64)
    return per_sample[kept].astype(np.int64), times_ms, values[kept]


def _joined(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)
