"""Requests of a window shared between its halves, theirs between quarters, down to a millisecond.

How unevenly a count is shared is the law of the bursts: at every width it has the variance of
the counts that was measured at that width, so gaps, silences and the Fano factor follow at all
of them. Regular arrivals, less uneven than chance, are not its matter: see `resample`.

Source: the beta cascade of Riedi, Crouse, Ribeiro, Baraniuk, "A multifractal wavelet model with
application to network traffic", 1999.
Differs: counts instead of rates, hence beta-binomial shares; unevenness also by the count that is
shared, since a handful of requests clusters otherwise than a thousand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Splits = tuple[tuple[float, ...], ...]

BANDS = 7  # of the count that is shared: 2-3, 4-7, ..., 64-127, 128 and more
RESOLUTION_S = 1e-3  # below it requests lie anywhere
PAIRS_MIN = 400  # of requests under one roof, to measure a width
PSEUDO_PARENTS = 10  # weight of all counts together in the law of a band
BAND_PARENTS_MIN = 5
RHO_MAX = 0.999
RHO_MIN = 1e-6  # below it a share is a fair coin


def fit_splits(arrival_s: Floats, duration_s: float, window_s: float) -> Splits:
    """Unevenness of the shares, [levels][BANDS]; level k shares widths of window_s / 2^k.

    0 = every request falls into a half by itself, 1 = all into the same. Levels end where too
    few requests lie close; the last one then holds for all below.

    Args:
        arrival_s: sorted, within [0, duration_s); coarse stamps smeared before.
    """
    splits: list[tuple[float, ...]] = []
    width_s = window_s
    while width_s >= RESOLUTION_S:
        end_s = np.floor(duration_s / width_s + 1e-9) * width_s
        half = (arrival_s[arrival_s < end_s] / (width_s / 2)).astype(np.int64)
        cells, counts = np.unique(half, return_counts=True)
        parent, at = np.unique(cells // 2, return_inverse=True)
        both = np.bincount(at, counts, minlength=len(parent))
        left = np.bincount(at, counts * (cells % 2 == 0), minlength=len(parent))
        rho = _unevenness(both.astype(np.float64), left.astype(np.float64))
        if rho is None:
            break
        splits.append(tuple(np.round(rho, 4).tolist()))
        width_s /= 2
    return tuple(splits)


def draw_splits(
    rng: np.random.Generator,
    counts: Ints,
    starts_s: Floats,
    window_s: float,
    splits: Splits,
    *,
    rate_ratio: float = 1.0,
) -> Floats:
    """Arrivals of windows with the given counts, sorted, [sum of counts].

    Args:
        rate_ratio: of the rate that `splits` was measured at; bursts keep their length and grow
            in height.
    """
    number, start_s, width_s = counts[counts > 0], starts_s[counts > 0], window_s
    found: list[Floats] = []
    level, law = 0, np.asarray(splits, dtype=np.float64).reshape(-1, BANDS)
    while len(number):
        alone = (number == 1) | np.full(len(number), width_s < RESOLUTION_S)
        first = np.repeat(start_s[alone], number[alone])
        found.append(first + width_s * rng.random(len(first)))
        number, start_s = number[~alone], start_s[~alone]
        rho = law[min(level, len(law) - 1)][_band(number / rate_ratio)] if len(law) else 0.0
        left = rng.binomial(number, _share(rng, np.broadcast_to(rho, number.shape)))
        width_s /= 2
        start_s = np.concatenate([start_s, start_s + width_s])
        number = np.concatenate([left, number - left])
        start_s, number = start_s[number > 0], number[number > 0]
        level += 1
    return np.sort(np.concatenate(found)) if found else np.zeros(0)


def _unevenness(both: Floats, left: Floats) -> Floats | None:
    """Intra-class correlation of the halves, by band, [BANDS]; None with too few pairs.

    The variance of a share of n is n / 4 (1 + (n - 1) rho).
    """
    pairs = both * (both - 1)
    if pairs.sum() < PAIRS_MIN:
        return None
    band = _band(both)
    excess = 4 * (left - both / 2) ** 2 - both
    whole = excess.sum() / pairs.sum()
    parents = np.bincount(band, both > 1, minlength=BANDS)
    pair_sums = np.bincount(band, pairs, minlength=BANDS)
    prior = PSEUDO_PARENTS * pair_sums / np.maximum(parents, 1)
    rho = (np.bincount(band, excess, minlength=BANDS) + prior * whole) / np.maximum(
        pair_sums + prior, 1e-9
    )
    rho = np.where(parents >= BAND_PARENTS_MIN, rho, whole)
    clipped: Floats = np.clip(rho, 0.0, RHO_MAX)
    return clipped


def _band(count: Floats) -> Ints:
    exponent = np.floor(np.log2(np.maximum(count, 2.0))).astype(np.int64) - 1
    band: Ints = np.minimum(exponent, BANDS - 1)
    return band


def _share(rng: np.random.Generator, rho: Floats) -> Floats:
    """Share of the left half, beta with intra-class correlation rho, [n]."""
    a = (1.0 / np.maximum(rho, RHO_MIN) - 1.0) / 2.0
    share: Floats = np.where(rho > RHO_MIN, rng.beta(a, a), 0.5)
    return share
