"""Requests drawn from the laws of a fitted workload, at any length and rate.

Arrivals, sessions, lengths, failures and prefix ids each have a random stream of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.errors import ConfigError
from serving.workload.burstiness import REQUESTS_MAX, stream
from serving.workload.cascade import draw_splits
from serving.workload.conversations import Sessions, chain
from serving.workload.curves import draw_levels, filled
from serving.workload.fit import DAY_S, HOUR_S
from serving.workload.laws import DAYS, HOURS, SHARES, SessionLaw, StreamLaw, WorkloadLaw
from serving.workload.prefix_law import draw_prefixes
from serving.workload.renewal import renewal
from serving.workload.table import NO_SESSION, Kind, Origin, RequestTable, Status, no_ids

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Marks = NDArray[np.bool_]

SHAPES = ("windows", "curve")
LEAD_PASSES = 3
TOKENS_MAX = 2**31 - 1


def resample(
    law: WorkloadLaw,
    *,
    seed: int,
    duration_s: float | None = None,
    rate_ratio: float = 1.0,
    shape: str = "windows",
    continuous: bool = False,
) -> RequestTable:
    """Draw a workload.

    Args:
        duration_s: as fitted when absent. Longer ones begin again, at the same hour of day.
        rate_ratio: of the fitted rate; bursts keep their shape.
        shape: "windows" follows the rate and the burstiness of each fitted window, "curve" the
            hour of day and day of week with an hourly level drawn around them.
        continuous: leave out the rounding to the ticks of the source's clock.

    Raises:
        ConfigError: a value outside its domain.
    """
    duration_s = law.duration_s if duration_s is None else duration_s
    expected = law.num_requests / law.duration_s * duration_s * rate_ratio
    faults = [
        f"{name} is {value!r}, expected {wanted}"
        for name, value, good, wanted in (
            ("seed", seed, seed >= 0, "0 or more"),
            ("duration_s", duration_s, 0 < duration_s < np.inf, "a finite number above 0"),
            ("rate_ratio", rate_ratio, 0 < rate_ratio < np.inf, "a finite number above 0"),
            ("shape", shape, shape in SHAPES, "one of " + ", ".join(SHAPES)),
            ("requests", expected, expected <= REQUESTS_MAX, f"at most {REQUESTS_MAX}"),
        )
        if not good
    ]
    if faults:
        raise ConfigError("generated workload: " + "; ".join(faults))
    parts = [_draw(law, one, seed, duration_s, rate_ratio, shape) for one in law.streams]
    return _merge(law, parts, seed, tick_s=0.0 if continuous else law.stamp_s)


def _draw(
    law: WorkloadLaw, one: StreamLaw, seed: int, duration_s: float, rate_ratio: float, shape: str
) -> tuple[Floats, Ints, Floats, Floats]:
    """Arrival, session, prompt and output tokens of one stream, [n] each."""
    name = f"{one.model}/{one.kind}"
    if shape == "windows":
        edges, rates, alphas = _fitted_windows(law, one, duration_s)
    else:
        edges, rates, alphas = _curve_windows(law, one, seed, duration_s)
    rng = stream(seed, f"gaps/{name}")
    if one.splits:
        arrival_s = _bursts(rng, law, one, edges, rates, rate_ratio)
    else:
        arrival_s = renewal(
            rng, edges, rates * rate_ratio, lambda w, n: rng.gamma(alphas[w], 1.0 / alphas[w], n)
        )
    rng = stream(seed, f"lengths/{name}")
    rows = len(arrival_s)
    prompt = np.interp(rng.random(rows), SHARES, one.prompt)
    uniform = rng.random((2, rows))
    output = np.zeros(rows)
    session = np.full(rows, NO_SESSION, dtype=np.int64)
    if one.session is None:
        output = one.output.draw(np.rint(prompt), uniform[0])
        return arrival_s, session, prompt, output
    rng = stream(seed, f"sessions/{name}")
    members = np.flatnonzero(rng.random(rows) < one.session.ratio)
    sessions = _chained(one.session, arrival_s[members], prompt[members], rng)
    session[members] = sessions.index
    alone = np.ones(rows, dtype=np.bool_)
    alone[members] = False
    output[alone] = one.output.draw(np.rint(prompt[alone]), uniform[0, alone])
    _later_turns(one, sessions, members, prompt, output, uniform)
    return arrival_s, session, prompt, output


def _chained(
    law: SessionLaw, arrival_s: Floats, prompt: Floats, rng: np.random.Generator
) -> Sessions:
    """Sessions over the arrivals. A turn waits for an arrival that is free, so a first pass
    measures the wait and the next ones let turns come earlier by it: late and early cancel."""
    rows = len(arrival_s)
    turns = np.rint(law.turns.draw(np.rint(prompt), rng.random(rows))).astype(np.int64)
    think_s = np.interp(rng.random(rows), SHARES, law.think_s)
    lead_s = 0.0
    for _ in range(LEAD_PASSES):
        sessions = chain(
            arrival_s,
            turns=turns,
            think_s=think_s,
            opens=np.zeros(rows, dtype=np.bool_),
            lead_s=lead_s,
            turns_by_row=True,
        )
        later = np.flatnonzero(sessions.previous >= 0)
        before = sessions.previous[later]
        late_s = arrival_s[later] - arrival_s[before] - think_s[before]
        lead_s = max(0.0, lead_s + float(np.median(late_s))) if len(later) else 0.0
    return sessions


def _later_turns(
    one: StreamLaw,
    sessions: Sessions,
    members: Ints,
    prompt: Floats,
    output: Floats,
    uniform: Floats,
) -> None:
    """Fill in the lengths of session rows, turn after turn."""
    assert one.session is not None
    by_turn = np.argsort(sessions.turn, kind="stable")
    counts = np.bincount(sessions.turn, minlength=1)
    for turn, chosen in enumerate(np.split(by_turn, np.cumsum(counts)[:-1])):
        rows = members[chosen]
        if turn:
            before = members[sessions.previous[chosen]]
            history = np.rint(prompt[before]) + np.rint(output[before])
            prompt[rows] = one.session.prompt.draw(history, uniform[1, rows])
        output[rows] = one.output.draw(np.rint(prompt[rows]), uniform[0, rows])


def _fitted_windows(
    law: WorkloadLaw, one: StreamLaw, duration_s: float
) -> tuple[Floats, Floats, Floats]:
    """Edges, rates and gamma shapes of the fitted windows, begun again until the end."""
    starts_s = np.arange(0.0, duration_s, law.window_s)
    edges = np.append(starts_s, duration_s)
    source_s = (edges[:-1] + edges[1:]) / 2
    # Whole days are repeated where there are any, so that the hour of day stays.
    period_s = law.duration_s // DAY_S * DAY_S or law.duration_s
    beyond = source_s >= law.duration_s
    source_s[beyond] = (source_s[beyond] - law.duration_s) % period_s + law.duration_s - period_s
    window = np.minimum((source_s / law.window_s).astype(np.int64), len(one.rates_rps) - 1)
    alphas = np.array([one.alpha if alpha is None else alpha for alpha in one.alphas])
    return edges, np.asarray(one.rates_rps)[window], alphas[window]


def _curve_windows(
    law: WorkloadLaw, one: StreamLaw, seed: int, duration_s: float
) -> tuple[Floats, Floats, Floats]:
    """Edges, rates by hour and day times the hour's level, the stream's own shape."""
    starts_s = np.arange(0.0, duration_s, law.window_s)
    edges = np.append(starts_s, duration_s)
    hour = (law.start_hour + (edges[:-1] + edges[1:]) / 2 / HOUR_S).astype(np.int64)
    hours = np.arange(hour[0], hour[-1] + 1)
    curve = filled(one.hours)[hours % HOURS] * filled(one.days)[hours // HOURS % DAYS]
    curve *= draw_levels(one.level, hours, stream(seed, f"levels/{one.model}/{one.kind}"))
    rates = one.num_requests / law.duration_s * curve[hour - hours[0]]
    return edges, rates, np.full(len(rates), one.alpha)


def _bursts(
    rng: np.random.Generator, law: WorkloadLaw, one: StreamLaw, edges: Floats, rates: Floats,
    rate_ratio: float,
) -> Floats:  # fmt: skip
    """Counts of whole windows by chance, shared out inside them; the end is cut off."""
    counts = rng.poisson(rates * rate_ratio * law.window_s)
    arrival_s = draw_splits(
        rng, counts, edges[:-1], law.window_s, one.splits, rate_ratio=rate_ratio
    )
    inside: Floats = arrival_s[arrival_s < edges[-1]]
    return inside


def fail_marks(after_ok: Floats, after_fail: Floats, uniform: Floats) -> Marks:
    """Which rows fail, [n], when the chance of each depends on the row before it.

    A draw below both chances fails and one above both does not, whatever came before; between
    them a row repeats the row before, or contradicts it where failing makes failing rarer.
    """
    low, high = np.minimum(after_ok, after_fail), np.maximum(after_ok, after_fail)
    decided = (uniform < low) | (uniform >= high)
    value = uniform < low
    decided[:1], value[:1] = True, uniform[:1] < after_ok[:1]  # nothing failed before the first
    flips = np.cumsum(~decided & (after_ok > after_fail))
    last = np.maximum.accumulate(np.where(decided, np.arange(len(uniform)), 0))
    marks: Marks = value[last] ^ ((flips - flips[last]) % 2 == 1)
    return marks


def _merge(
    law: WorkloadLaw,
    parts: list[tuple[Floats, Ints, Floats, Floats]],
    seed: int,
    *,
    tick_s: float,
) -> RequestTable:
    """One table; equal stamps keep the order of the streams."""
    arrival_s = np.concatenate([part[0] for part in parts])
    order = np.argsort(arrival_s, kind="stable")
    which = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])[order]
    sessions, base = [], 0
    for _, session, _, _ in parts:
        sessions.append(np.where(session == NO_SESSION, NO_SESSION, session + base))
        base += int(session.max(initial=NO_SESSION)) + 1
    chance = np.array([[s.fail_after_ok, s.fail_after_fail] for s in law.streams])[which]
    rng = stream(seed, "failures")
    failed = fail_marks(chance[:, 0], chance[:, 1], rng.random(len(order)))
    prompt = np.concatenate([part[2] for part in parts])[order]
    uniform = rng.random(len(order))
    for index, one in enumerate(law.streams):
        rows = failed & (which == index)
        if one.failed_prompt:
            prompt[rows] = np.interp(uniform[rows], SHARES, one.failed_prompt)
    output = np.where(failed, 0.0, np.concatenate([part[3] for part in parts])[order])
    models = tuple(dict.fromkeys(one.model for one in law.streams))
    stamps_s = arrival_s[order]
    if tick_s:
        stamps_s = np.floor(stamps_s / tick_s) * tick_s
    session = np.concatenate(sessions)[order].astype(np.int64)
    num_prompt_tokens = np.clip(np.rint(prompt), 0, TOKENS_MAX).astype(np.int32)
    ids = offsets = no_ids()
    if law.prefix is not None:
        ids, offsets = draw_prefixes(
            law.prefix, session, num_prompt_tokens, stream(seed, "prefixes")
        )
    return RequestTable(
        trace_id=f"{law.trace_id}-generated-{seed}",
        arrival_s=stamps_s,
        num_prompt_tokens=num_prompt_tokens,
        num_output_tokens=np.clip(np.rint(output), 0, TOKENS_MAX).astype(np.int32),
        kind=np.array([Kind[s.kind] for s in law.streams], dtype=np.uint8)[which],
        model=np.array([models.index(s.model) for s in law.streams], dtype=np.uint8)[which],
        models=models,
        status=np.where(failed, Status.FAILED, Status.OK).astype(np.uint8),
        session_index=session,
        e2e_s=np.full(len(order), np.nan, dtype=np.float32),
        prefix_block_tokens=0 if law.prefix is None else law.prefix.block_tokens,
        prefix_ids=ids,
        prefix_offsets=offsets,
        origin=Origin.GENERATED,
    )
