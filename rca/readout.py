"""What known causes explain of each series: least squares on the features of its arcs alone.

The gates of `rca.granger` shrink and spread effects, which is right for finding causes and wrong
for a forecast far outside the normal range, where a fault lies: there every small coefficient that
is only noise is multiplied by a large value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rca.state import FloatArray

CAUSES_MAX = 8  # strongest causes of one target that are fitted together
T_MIN = 4.0  # a coefficient nearer to zero than this many standard errors is dropped
FEATURE_Z_MAX = 6.0  # what a feature does further out was never seen, and may have levelled off
RIDGE = 1e-3  # of the mean diagonal; features of one series are nearly collinear


def explain(
    features: FloatArray, target: FloatArray, strength: FloatArray, *, normal: slice
) -> FloatArray:
    """Forecast of each series from its own features and those of its causes.

    Fitted on the normal rows twice: with all features, then with own ones and those whose
    coefficient is `T_MIN` standard errors from zero.

    Args:
        features: of each series up to the row before, shape [T, K, D].
        target: shape [T, K].
        strength: strength[i, j] > 0 where j is a cause of i, shape [K, K].

    Returns:
        Shape [T, K].
    """
    num_rows, num_series, dim = features.shape
    centre = features[normal].mean(axis=0)
    spread = np.maximum(features[normal].std(axis=0), 1e-6)
    scaled = np.clip((features - centre) / spread, -FEATURE_Z_MAX, FEATURE_Z_MAX)
    flat = scaled.reshape(num_rows, num_series * dim)
    level = target[normal].mean(axis=0)
    known = flat[normal]
    gram = known.T @ known
    moment = known.T @ (target[normal] - level)  # [K D, K]
    weights = np.zeros_like(moment)
    for i in range(num_series):
        causes = np.argsort(-strength[i], kind="stable")[:CAUSES_MAX]
        causes = causes[strength[i, causes] > 0.0]
        own = i * dim + np.arange(dim)
        others = (causes[:, None] * dim + np.arange(dim)).ravel()
        used = np.concatenate([own, others])
        inverse, fitted = _solve(gram, moment[:, i], used)
        if len(others):
            residual = target[normal, i] - level[i] - known[:, used] @ fitted
            variance = residual @ residual / max(len(known) - len(used), 1)
            error = np.sqrt(np.maximum(variance * np.diag(inverse), 1e-18))
            clear = np.abs(fitted) >= T_MIN * error
            clear[:dim] = True
            used = used[clear]
            _, fitted = _solve(gram, moment[:, i], used)
        weights[used, i] = fitted
    return np.asarray(level + flat @ weights)


def _solve(
    gram: FloatArray, moment: FloatArray, used: npt.NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Inverse of the Gram matrix of the used features, and their coefficients."""
    part = gram[np.ix_(used, used)]
    floor = RIDGE * np.trace(part) / len(used) + 1e-6  # constant series have no trace
    inverse = np.linalg.inv(part + floor * np.eye(len(used)))
    return inverse, np.asarray(inverse @ moment[used])
