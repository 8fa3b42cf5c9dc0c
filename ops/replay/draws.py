"""Common random numbers: every draw belongs to one request at one place, whatever else happens.

An action that moves, delays or repeats one request never shifts the draws of another one.
"""

from __future__ import annotations

import math

import numpy as np

CHUNK = 256  # requests whose draws are made together
COLUMNS = 4  # per visit: work, failure, link, choice
_MASK = (1 << 64) - 1
_ATTEMPTS_MAX = 64  # attempts beyond it repeat the last one's draws


def mix(seed: int, *keys: int) -> float:
    """Uniform number in [0, 1) of a key: splitmix64's finaliser over the parts.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    z = seed & _MASK
    for key in keys:
        z = (z + 0x9E3779B97F4A7C15 + key * 0xD1B54A32D192ED03) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        z ^= z >> 31
    return (z >> 11) / 9007199254740992.0


def mix_many(seed: int, key: int, first: int, num: int) -> list[float]:
    """`mix(seed, key, k)` for `num` values of k from `first` on."""
    with np.errstate(over="ignore"):
        z = np.full(num, seed & _MASK, dtype=np.uint64)
        last = np.arange(first, first + num, dtype=np.uint64)
        for part in (np.full(num, key, dtype=np.uint64), last):
            z += np.uint64(0x9E3779B97F4A7C15) + part * np.uint64(0xD1B54A32D192ED03)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        draws: list[float] = ((z >> np.uint64(11)) / 9007199254740992.0).tolist()
    return draws


class Draws:
    """Draws of all requests at all visits of the service graph.

    Args:
        seed: of the run.
        work_cv: coefficient of variation of the CPU work, per visit.
    """

    __slots__ = ("_cache", "_cv", "_mu", "_seed", "_sigma", "_width")

    def __init__(self, seed: int, work_cv: list[float]) -> None:
        self._seed = seed
        self._width = len(work_cv)
        sigma2 = np.log1p(np.square(np.asarray(work_cv, dtype=np.float64)))
        self._sigma = np.sqrt(sigma2)
        self._mu = -sigma2 / 2
        self._cv = work_cv
        self._cache: dict[tuple[int, int], list[list[float]]] = {}

    def row(self, request_index: int, attempt: int) -> list[float]:
        """Draws of one attempt: `COLUMNS` numbers per visit, then route, admit, backoff, cancel."""
        attempt = min(attempt, _ATTEMPTS_MAX)
        chunk, offset = divmod(request_index, CHUNK)
        rows = self._cache.get((chunk, attempt))
        if rows is None:
            if len(self._cache) > 64:
                self._cache.pop(next(iter(self._cache)))
            rows = self._make(chunk, attempt)
            self._cache[(chunk, attempt)] = rows
        return rows[offset]

    def again(self, request_index: int, attempt: int, visit: int, repeat: int) -> float:
        """A further uniform draw at a visit, for the `repeat`-th try of a call."""
        return mix(self._seed, request_index, attempt, visit, repeat)

    def work(self, visit: int, uniform: float) -> float:
        """Mean-one log-normal work of a visit from a uniform draw (for repeated calls)."""
        z = math.sqrt(2.0) * _erfinv(2.0 * min(max(uniform, 1e-9), 1 - 1e-9) - 1.0)
        return math.exp(float(self._mu[visit]) + float(self._sigma[visit]) * z)

    def _make(self, chunk: int, attempt: int) -> list[list[float]]:
        rng = np.random.default_rng([self._seed, 77, chunk, attempt])
        uniform = rng.random((CHUNK, self._width, COLUMNS))
        normal = rng.standard_normal((CHUNK, self._width))
        uniform[:, :, 0] = np.exp(self._mu + self._sigma * normal)
        flat = uniform.reshape(CHUNK, self._width * COLUMNS)
        rows: list[list[float]] = np.hstack([flat, rng.random((CHUNK, 4))]).tolist()
        return rows


def _erfinv(x: float) -> float:
    """Inverse error function to 2e-3: enough for a redrawn work.

    Source: Winitzki, "A handy approximation for the error function and its inverse", 2008.
    """
    a = 0.147
    log = math.log(1.0 - x * x)
    half = 2.0 / (math.pi * a) + log / 2.0
    return math.copysign(math.sqrt(math.sqrt(half * half - log / a) - half), x)
