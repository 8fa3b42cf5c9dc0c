"""Requests drawn from load windows per client, as ServeGen publishes them.

Source: ServeGen, arXiv 2505.09999: the load is a sum of clients, each with its own rate, gap law
and token law; a few dominate.
Differs: gaps run on from window to window instead of starting anew; Weibull laws keep their
shape and are scaled to the window's rate, which their published scale misses. Where prompts are
published as text and image tokens, both are drawn, independently, and added.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from serving.errors import ConfigError
from serving.workload.burstiness import REQUESTS_MAX, stream
from serving.workload.renewal import renewal
from serving.workload.table import NO_SESSION, Kind, Origin, RequestTable, Status
from serving.workload.windows import QUANTILES, GapLaw, LoadWindows, TokenQuantiles

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OUTPUT, IMAGES = "output_tokens", "image_count"
PROMPTS = ("input_tokens",), ("text_tokens", "image_tokens")  # alone, or else the two together
TOKENS_MAX = 2**31 - 1
IMAGES_MAX = 2**15 - 1


def draw_clients(
    windows: LoadWindows,
    tokens: TokenQuantiles,
    *,
    seed: int,
    start_s: float = 0.0,
    duration_s: float | None = None,
    rate_ratio: float = 1.0,
) -> tuple[RequestTable, Ints]:
    """Requests of all clients by time, ties by client; and the client of each, [n].

    Each client has random streams of its own: without one, the rows of the others stay.

    Args:
        tokens: lengths per client; those of another client, by lot, where one has none.
        start_s: where in the windows to begin; stamps count from it.
        duration_s: to the end of the last window when absent.

    Raises:
        ConfigError: a value outside its domain, or no window there.
    """
    end_s = float((windows.start_s + windows.width_s).max(initial=0.0))
    end_s = end_s if duration_s is None else start_s + duration_s
    _check(windows, tokens, start_s, end_s, rate_ratio, seed)
    parts = []
    for client in np.unique(windows.client).tolist():
        rows = np.flatnonzero(windows.client == client)
        rng = stream(seed, f"clients/{client}/gaps")
        at_s = _arrivals(windows, rows, rng, start_s, end_s, rate_ratio)
        rng = stream(seed, f"clients/{client}/lengths")
        drawn = {
            name: _lengths(tokens, name, client, at_s + start_s, rng)
            for name in (*_prompt_fields(tokens), OUTPUT, IMAGES)
        }
        prompt = sum((drawn[name] for name in _prompt_fields(tokens)), np.zeros(len(at_s)))
        parts.append((np.full(len(at_s), client), at_s, prompt, drawn[OUTPUT], drawn[IMAGES]))
    clients, at_s, prompt, output, images = (
        np.concatenate([part[k] for part in parts]) for k in range(5)
    )
    order = np.lexsort((clients, at_s))
    size = len(order)
    has_images = IMAGES in tokens.fields
    table = RequestTable(
        trace_id=f"{windows.trace_id}-generated-{seed}",
        arrival_s=at_s[order],
        num_prompt_tokens=np.clip(np.rint(prompt[order]), 1, TOKENS_MAX).astype(np.int32),
        num_output_tokens=np.clip(np.rint(output[order]), 1, TOKENS_MAX).astype(np.int32),
        kind=np.full(size, Kind.API, dtype=np.uint8),
        model=np.zeros(size, dtype=np.uint8),
        models=(windows.trace_id,),
        status=np.full(size, Status.OK, dtype=np.uint8),
        session_index=np.full(size, NO_SESSION, dtype=np.int64),
        e2e_s=np.full(size, np.nan, dtype=np.float32),
        num_images=np.clip(np.rint(images[order]), 0, IMAGES_MAX).astype(np.int16)
        if has_images
        else np.zeros(0, dtype=np.int16),
        origin=Origin.GENERATED,
    )
    return table, clients[order].astype(np.int64)


def _check(
    windows: LoadWindows, tokens: TokenQuantiles, start_s: float, end_s: float,
    rate_ratio: float, seed: int,
) -> None:  # fmt: skip
    overlap_s = np.minimum(windows.start_s + windows.width_s, end_s) - np.maximum(
        windows.start_s, start_s
    )
    expected = float(np.maximum(overlap_s, 0.0) @ windows.rate_rps) * rate_ratio
    faults = [
        f"{name} is {value!r}, expected {wanted}"
        for name, value, good, wanted in (
            ("seed", seed, seed >= 0, "0 or more"),
            ("start_s", start_s, 0 <= start_s < np.inf, "a finite number from 0 on"),
            ("duration_s", end_s - start_s, 0 < end_s - start_s < np.inf, "more than 0"),
            ("rate_ratio", rate_ratio, 0 < rate_ratio < np.inf, "a finite number above 0"),
            ("requests", round(expected), expected <= REQUESTS_MAX,
             f"at most {REQUESTS_MAX}; choose a shorter duration"),
        )
        if not good
    ]  # fmt: skip
    faults += [
        f"{tokens.trace_id} has no {name}, only {', '.join(tokens.fields)}"
        for name in (*_prompt_fields(tokens), OUTPUT)
        if name not in tokens.fields
    ]
    if not faults and expected <= 0.0:
        faults = [f"no load from {start_s:g} to {end_s:g} s; choose a start inside the windows"]
    if faults:
        raise ConfigError(f"{windows.trace_id}: " + "; ".join(faults))


def _prompt_fields(tokens: TokenQuantiles) -> tuple[str, ...]:
    known = [names for names in PROMPTS if set(names) <= set(tokens.fields)]
    return known[0] if known else PROMPTS[0]


def _arrivals(
    windows: LoadWindows,
    rows: Ints,
    rng: np.random.Generator,
    start_s: float,
    end_s: float,
    rate_ratio: float,
) -> Floats:
    """Arrivals of one client, s from `start_s`; windows that are absent stay idle."""
    first = math.floor(start_s / windows.width_s)
    num = math.ceil(end_s / windows.width_s) - first
    at = np.rint(windows.start_s[rows] / windows.width_s).astype(np.int64) - first
    rows, at = rows[(at >= 0) & (at < num)], at[(at >= 0) & (at < num)]
    rates = np.zeros(num)
    rates[at] = windows.rate_rps[rows] * rate_ratio
    law = np.full(num, GapLaw.NONE, dtype=np.uint8)
    shape = np.ones(num)
    law[at] = windows.law[rows]
    shape[at] = np.where(windows.shape[rows] > 0.0, windows.shape[rows], 1.0)

    def gaps(window: int, number: int) -> Floats:
        k = float(shape[window])
        if law[window] == GapLaw.WEIBULL:
            return rng.weibull(k, number) / math.gamma(1.0 + 1.0 / k)
        return rng.gamma(k, 1.0 / k, number)

    edges = np.multiply(first + np.arange(num + 1), windows.width_s, dtype=np.float64)
    arrival_s = renewal(rng, edges, rates, gaps)
    inside: Floats = arrival_s[(arrival_s >= start_s) & (arrival_s < end_s)] - start_s
    return inside


def _lengths(
    tokens: TokenQuantiles, name: str, client: int, at_s: Floats, rng: np.random.Generator
) -> Floats:
    """Draws from the quantiles of the block of each moment, straight between them, [n]."""
    uniform = rng.random(len(at_s))
    if name not in tokens.fields:
        return np.zeros(len(at_s))
    rows = np.flatnonzero(tokens.field == tokens.fields.index(name))
    own = rows[tokens.client[rows] == client]
    if len(own):
        own = own[np.argsort(tokens.start_s[own], kind="stable")]
        block = np.searchsorted(tokens.start_s[own], at_s, side="right") - 1
        row = own[np.maximum(block, 0)]
    else:
        row = rng.choice(rows, len(at_s))
    drawn = np.zeros(len(at_s))
    shares = (*QUANTILES, 1.0)
    for one in np.unique(row).tolist():
        chosen = row == one
        points = (*tokens.quantiles[:, one].tolist(), float(tokens.maximum[one]))
        drawn[chosen] = np.interp(uniform[chosen], shares, points)
    return drawn
