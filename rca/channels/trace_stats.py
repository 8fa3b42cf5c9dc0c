"""Statistics that compare fault traces with normal blocks, many keys at once.

A split gives every trace a block: 0 is the fault, 1.. are normal blocks, negative takes no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rca.channels.trace_tables import FAULT
from rca.incident import IntArray
from rca.state import FloatArray

TRIES_MIN = 3  # normal items without which a key says nothing
SHRINK_ITEMS = 8.0  # an effect seen in so many items counts for its square root of a half


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One measured difference per key; every field has shape [K].

    Attributes:
        z: signed surprise.
        before, after: normal and fault level (shares, or medians).
        num_before, num_after: items behind each.
    """

    z: FloatArray
    before: FloatArray
    after: FloatArray
    num_before: FloatArray
    num_after: FloatArray


def block_counts(key: IntArray, block: IntArray, *, num_keys: int, num_blocks: int) -> FloatArray:
    """Items per block and key, shape [num_blocks, num_keys]; negative blocks are left out."""
    used = block >= 0
    flat = np.bincount(block[used] * num_keys + key[used], minlength=num_keys * num_blocks)
    return flat.reshape(num_blocks, num_keys).astype(float)


def share_contrast(hits: FloatArray, tries: FloatArray) -> Contrast:
    """Surprise of `hits` out of `tries` since the fault, given what normal blocks show.

    The variance is that of the binomial law with an unknown rate, plus what the rate differs
    between normal blocks beyond it (moment estimate of DerSimonian and Laird, 1986).

    Args:
        hits, tries: shape [num_blocks, K], row 0 the fault.
    """
    num_after, num_before = tries[FAULT], tries[1:].sum(axis=0)
    share = (hits[1:].sum(axis=0) + 0.5) / (num_before + 1.0)
    binomial = share * (1.0 - share)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.where(tries[1:] > 0, hits[1:] / tries[1:], np.nan)
        between = np.nansum(tries[1:] * (own - share) ** 2, axis=0)
        blocks = (tries[1:] > 0).sum(axis=0)
        slack = num_before - (tries[1:] ** 2).sum(axis=0) / np.maximum(num_before, 1.0)
        excess = np.where(
            slack > 0, (between - (blocks - 1) * binomial) / np.where(slack > 0, slack, 1.0), 0.0
        )
        after = np.where(num_after > 0, hits[FAULT] / np.maximum(num_after, 1.0), np.nan)
    variance = num_after * binomial * (1.0 + num_after / np.maximum(num_before, 1.0))
    variance += num_after**2 * np.maximum(excess, 0.0) + 0.5
    z = (hits[FAULT] - num_after * share) / np.sqrt(variance)
    known = (num_before >= TRIES_MIN) & (num_after > 0)
    return Contrast(
        z=np.where(known, z, 0.0),
        before=np.where(num_before > 0, hits[1:].sum(axis=0) / np.maximum(num_before, 1.0), np.nan),
        after=after,
        num_before=num_before,
        num_after=num_after,
    )


def level_contrast(
    values: FloatArray,
    key: IntArray,
    block: IntArray,
    *,
    num_keys: int,
    num_blocks: int,
    scale_min: float,
) -> Contrast:
    """Shift of the median of `values` per key since the fault, in its usual spread.

    The spread is never below `scale_min` and widened by what the medians of the normal blocks
    differ; the shift shrinks with few items.
    """
    used = block >= 0
    values, key, block = values[used], key[used], block[used]
    late = block == FAULT
    after, num_after = group_medians(values[late], key[late], num_keys)
    before, num_before = group_medians(values[~late], key[~late], num_keys)
    mean = _group_mean(values[~late], key[~late], num_keys, num_before)
    spread = np.sqrt(
        _group_mean((values[~late] - mean[key[~late]]) ** 2, key[~late], num_keys, num_before)
    )
    drift = np.zeros(num_keys)
    for number in range(1, num_blocks):
        mine = block == number
        level, count = group_medians(values[mine], key[mine], num_keys)
        away = np.abs(level - before) * np.sqrt(count / (count + SHRINK_ITEMS))
        drift = np.fmax(drift, np.where(count >= TRIES_MIN, away, 0.0))
    items = np.minimum(num_before, num_after)
    known = (num_before >= TRIES_MIN) & (num_after >= TRIES_MIN)
    with np.errstate(invalid="ignore"):
        z = (after - before) / (spread + drift + scale_min)
    z = np.where(known, z * np.sqrt(items / (items + SHRINK_ITEMS)), 0.0)
    return Contrast(z=z, before=before, after=after, num_before=num_before, num_after=num_after)


def group_medians(
    values: FloatArray, key: IntArray, num_keys: int
) -> tuple[FloatArray, FloatArray]:
    """Median and number of values per key; NaN where a key has none."""
    count = np.bincount(key, minlength=num_keys).astype(float)
    ordered = values[np.lexsort((values, key))]
    start = np.concatenate([[0.0], np.cumsum(count)[:-1]]).astype(np.intp)
    size = count.astype(np.intp)
    out = np.full(num_keys, np.nan)
    some = size > 0
    low, high = start + (size - 1) // 2, start + size // 2
    out[some] = 0.5 * (ordered[low[some]] + ordered[high[some]])
    return out, count


def _group_mean(values: FloatArray, key: IntArray, num_keys: int, count: FloatArray) -> FloatArray:
    total = np.bincount(key, weights=values, minlength=num_keys)
    return np.asarray(total / np.maximum(count, 1.0))


def top_mean(values: FloatArray, owner: IntArray, *, num_owners: int, top: int) -> FloatArray:
    """Mean of the `top` largest values of each owner, fewer where it has fewer; 0 where none."""
    order = np.lexsort((-values, owner))
    ordered, owners = values[order], owner[order]
    first = np.searchsorted(owners, np.arange(num_owners))
    rank = np.arange(len(order)) - first[owners] if len(order) else np.empty(0, dtype=np.intp)
    chosen = rank < top
    total = np.bincount(owners[chosen], weights=ordered[chosen], minlength=num_owners)
    count = np.bincount(owners[chosen], minlength=num_owners)
    return np.asarray(total / np.maximum(count, 1))
