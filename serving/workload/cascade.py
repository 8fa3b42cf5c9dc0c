"""Requests of a window shared between its halves, theirs between quarters, down to a millisecond.

How unevenly a count is shared is the law of the bursts: at every width it has the variance of
the counts that was measured at that width, so gaps, silences and the Fano factor follow at all
of them. Regular arrivals, less uneven than chance, are not its matter: see `resample`.

Source: the beta cascade of Riedi, Crouse, Ribeiro, Baraniuk, "A multifractal wavelet model with
application to network traffic", 1999.
Differs: counts instead of rates, hence beta-binomial shares; a law of two parts, since a silence
leaves one half empty whatever the count; both by the count that is shared, since a handful of
requests clusters otherwise than a thousand.
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
SILENT_PSEUDO_PARENTS = 2
SILENT_COUNT_MIN = 8  # from it on an empty half is told from chance
RHO_MAX = 0.999
RHO_MIN = 1e-6  # below it a share is a fair coin


def fit_splits(arrival_s: Floats, duration_s: float, window_s: float) -> Splits:
    """Law of the shares, [levels][2 * BANDS]; level k shares widths of window_s / 2^k.

    First the unevenness by band: 0 = every request falls into a half by itself, 1 = all into
    the same. Then the chance that one half stays empty beyond that. Levels end where too few
    requests lie close; the last one then holds for all below.

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
        if (both * (both - 1)).sum() < PAIRS_MIN:
            break
        law = _law(both.astype(np.float64), left.astype(np.float64))
        splits.append(tuple(np.round(law, 4).tolist()))
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
    level, law = 0, np.asarray(splits, dtype=np.float64).reshape(-1, 2 * BANDS)
    while len(number):
        alone = (number == 1) | np.full(len(number), width_s < RESOLUTION_S)
        first = np.repeat(start_s[alone], number[alone])
        found.append(first + width_s * rng.random(len(first)))
        number, start_s = number[~alone], start_s[~alone]
        left = rng.binomial(number, 0.5)
        if len(law):
            band, row = _band(number / rate_ratio), law[min(level, len(law) - 1)]
            left = rng.binomial(number, _share(rng, row[band]))
            silent = rng.random(len(number)) < row[BANDS + band]
            left[silent] = number[silent] * rng.integers(0, 2, int(silent.sum()))
        width_s /= 2
        start_s = np.concatenate([start_s, start_s + width_s])
        number = np.concatenate([left, number - left])
        start_s, number = start_s[number > 0], number[number > 0]
        level += 1
    return np.sort(np.concatenate(found)) if found else np.zeros(0)


def _law(both: Floats, left: Floats) -> Floats:
    """Unevenness by band, then the chance of an empty half, [2 * BANDS]."""
    band = _band(both)
    empty = (both >= SILENT_COUNT_MIN) & ((left == 0) | (left == both))
    # Drawn towards 0: a count seldom seen must not inherit the silences of smaller ones.
    silent = np.bincount(band, empty, minlength=BANDS) / (
        np.bincount(band, minlength=BANDS) + SILENT_PSEUDO_PARENTS
    )
    # The variance of a share of n is n / 4 (1 + (n - 1) rho).
    pairs = np.where(empty, 0.0, both * (both - 1))
    excess = np.where(empty, 0.0, 4 * (left - both / 2) ** 2 - both)
    # Fair coins would give an excess of 0 with variance 2 pairs: take out what may be that
    # (positive-part James-Stein), or a law of few requests makes bursts of chance.
    surplus = max(1.0 - 2.0 * pairs.sum() / max(float(excess.sum()), 1e-9) ** 2, 0.0)
    rho = _by_band(excess, pairs, band) * surplus
    return np.concatenate([np.clip(rho, 0.0, RHO_MAX), silent])


def _by_band(part: Floats, whole: Floats, band: Ints) -> Floats:
    """Ratio of the sums by band, drawn towards that of all bands, [BANDS]."""
    parts, wholes = (np.bincount(band, v, minlength=BANDS) for v in (part, whole))
    parents = np.bincount(band, whole > 0, minlength=BANDS)
    every = part.sum() / max(whole.sum(), 1.0)
    prior = PSEUDO_PARENTS * wholes / np.maximum(parents, 1)
    ratio = (parts + prior * every) / np.maximum(wholes + prior, 1e-9)
    found: Floats = np.where(parents >= BAND_PARENTS_MIN, ratio, every)
    return found


def _band(count: Floats) -> Ints:
    exponent = np.floor(np.log2(np.maximum(count, 2.0))).astype(np.int64) - 1
    band: Ints = np.minimum(exponent, BANDS - 1)
    return band


def _share(rng: np.random.Generator, rho: Floats) -> Floats:
    """Share of the left half, beta with intra-class correlation rho, [n]."""
    a = (1.0 / np.maximum(rho, RHO_MIN) - 1.0) / 2.0
    share: Floats = np.where(rho > RHO_MIN, rng.beta(a, a), 0.5)
    return share
