"""Generator of requests with BurstGPT's rates, bursts, lengths, sessions and failures.

Source: BurstGPT, arXiv 2401.17644, section on the workload generator, and HPMLL/BurstGPT.
Differs: gaps run through the cumulative rate and do not restart at each 20-minute window,
which would add (CV^2 - 1) / 2 requests a window; lengths follow the published curves, the
paper's Zipf law is the named baseline; inputs beyond 8,192 and outputs beyond 2,048 tokens
are cut; a failed row keeps its input, so that a replay can send it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from serving.errors import ConfigError
from serving.workload import burstgpt_figures as figures
from serving.workload.burstgpt_figures import StreamFigures
from serving.workload.conversations import Sessions, assign_sessions, conversation_lengths
from serving.workload.table import NO_SESSION, Kind, Origin, RequestTable, Status

Floats = NDArray[np.float64]

REQUESTS_MAX = 20_000_000
BURN_IN_GAPS = 64  # until a renewal process has forgotten that it began with an arrival
HOUR_S = 3600.0
DAY_H = 24
LENGTHS = ("empirical", "zipf")


def stream(seed: int, name: str) -> np.random.Generator:
    """Random stream of one concern: a new draw in one stream leaves the others as they were."""
    return np.random.default_rng([seed, *f"workload/{name}".encode()])


def generate(
    *,
    seed: int,
    duration_s: float,
    rate_rps: float,
    start_hour: float = 14.0,
    diurnal: float = 0.0,
    bursts: float = 0.1,
    conversation_ratio: float | None = None,
    lengths: str = "empirical",
    failures: bool = True,
    length_seed: int | None = None,
) -> RequestTable:
    """Generate `duration_s` seconds of requests in four streams, model times service.

    Args:
        rate_rps: mean rate; over the whole duration at diurnal 0, over a whole day otherwise.
        start_hour: hour of day at trace start.
        diurnal: 0 = flat, 1 = the published curve by hour of day.
        bursts: share of the API's published swing between hours; 0 leaves the bursts of the
            gap law alone. At 1 one hour may hold twelve times its usual load.
        conversation_ratio: share of the requests that are conversation; None = as published.
        lengths: "empirical", or "zipf" for the paper's baseline.
        failures: whether rows fail, in runs, as published.
        length_seed: seed of the lengths alone; `seed` when absent.

    Raises:
        ConfigError: a value outside its domain.
    """
    _check(duration_s, rate_rps, diurnal, bursts, lengths)
    if conversation_ratio is not None and not 0.0 <= conversation_ratio <= 1.0:
        raise ConfigError(
            f"generated workload: conversation_ratio is {conversation_ratio}, expected 0..1"
        )
    streams = _streams(conversation_ratio)
    arrivals = [
        _arrivals(
            figure,
            stream(seed, f"gaps/{figure.name}"),
            _window_rates(figure, seed, duration_s, rate_rps, start_hour, diurnal, bursts),
            duration_s,
        )
        for figure in streams
    ]
    parts = []
    for figure, arrival_s in zip(streams, arrivals, strict=True):
        sessions = (
            assign_sessions(arrival_s, stream(seed, f"sessions/{figure.name}"))
            if figure.kind is Kind.CONVERSATION
            else None
        )
        rng = stream(seed if length_seed is None else length_seed, f"lengths/{figure.name}")
        parts.append((sessions, *_lengths(figure, lengths, sessions, len(arrival_s), rng)))
    return _merge(seed, arrivals, parts, failures)


def _streams(conversation_ratio: float | None) -> tuple[StreamFigures, ...]:
    """The four streams, conversation and API weighted anew when a ratio is given."""
    if conversation_ratio is None:
        return figures.STREAMS
    published = sum(f.share for f in figures.STREAMS if f.kind is Kind.CONVERSATION)
    factors = {True: conversation_ratio / published}
    factors[False] = (1.0 - conversation_ratio) / (1.0 - published)
    return tuple(
        replace(f, share=f.share * factors[f.kind is Kind.CONVERSATION]) for f in figures.STREAMS
    )


def _check(duration_s: float, rate_rps: float, diurnal: float, bursts: float, lengths: str) -> None:
    faults = [
        f"{name} is {value}, expected {wanted}"
        for name, value, good, wanted in (
            ("duration_s", duration_s, 0 < duration_s < np.inf, "a finite number above 0"),
            ("rate_rps", rate_rps, 0 < rate_rps < np.inf, "a finite number above 0"),
            ("diurnal", diurnal, 0 <= diurnal <= 1, "a number in 0..1"),
            ("bursts", bursts, 0 <= bursts <= 1, "a number in 0..1"),
            ("lengths", lengths, lengths in LENGTHS, "one of " + ", ".join(LENGTHS)),
        )
        if not good
    ]
    if not faults and duration_s * rate_rps > REQUESTS_MAX:
        faults = [f"{duration_s} s at {rate_rps}/s exceed {REQUESTS_MAX} requests"]
    if faults:
        raise ConfigError("generated workload: " + "; ".join(faults))


def _window_rates(
    figure: StreamFigures,
    seed: int,
    duration_s: float,
    rate_rps: float,
    start_hour: float,
    diurnal: float,
    bursts: float,
) -> Floats:
    """Rate of the stream in each 20-minute window, [windows]; the last may be cut short."""
    num_windows = int(np.ceil(duration_s / figures.WINDOW_S))
    begin_s = np.arange(num_windows) * figures.WINDOW_S
    width_s = np.minimum(duration_s - begin_s, figures.WINDOW_S)
    hour = start_hour + (begin_s + width_s / 2) / HOUR_S
    hours = np.asarray(figure.hours, dtype=np.float64)
    hours = np.maximum(hours / hours.mean(), figures.HOUR_FLOOR_RATIO)
    hours /= hours.mean()
    curve = np.interp(hour % DAY_H, np.arange(-1, DAY_H + 1) + 0.5, hours[np.arange(-1, 25) % 24])
    curve = 1.0 - diurnal + diurnal * curve
    # A level holds for a clock hour. It is scaled so that bursts move requests, not add them.
    sigma = figure.level_sigma
    index = (np.floor(hour) - np.floor(hour[0])).astype(np.int64)
    normal = stream(seed, f"levels/{figure.name}").standard_normal(int(index[-1]) + 1)
    level = np.minimum(np.exp(sigma * normal - sigma**2 / 2), figures.LEVEL_MAX)[index]
    level = 1.0 - bursts + bursts * level
    level *= (curve @ width_s) / (curve * level @ width_s)
    rates: Floats = figure.share * rate_rps * curve * level
    return rates


def _arrivals(
    figure: StreamFigures, rng: np.random.Generator, rates: Floats, duration_s: float
) -> Floats:
    """Arrivals in [0, duration_s): unit-mean gamma gaps stepped through the cumulative rate."""
    edges = np.append(np.arange(len(rates)) * figures.WINDOW_S, duration_s)
    cumulative = np.concatenate(([0.0], np.cumsum(rates * np.diff(edges))))
    expected = cumulative[-1]
    steps = np.zeros(0)
    reached = -BURN_IN_GAPS * rng.uniform(0.5, 1.0)
    while reached < expected:
        num_gaps = int((expected - reached) * 1.05) + 256
        gaps = rng.gamma(figure.alpha, 1.0 / figure.alpha, num_gaps)
        steps = np.concatenate((steps, reached + np.cumsum(gaps)))
        reached = float(steps[-1])
    steps = steps[(steps >= 0.0) & (steps < expected)]
    arrival_s: Floats = np.interp(steps, cumulative, edges)
    # Rounding may put the last one on the end itself, which lies outside.
    return arrival_s[arrival_s < duration_s]


def _lengths(
    figure: StreamFigures,
    lengths: str,
    sessions: Sessions | None,
    rows: int,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Input and output tokens of one stream, [rows] each, before rounding."""
    if lengths == "zipf":
        return (
            _zipf(rng, rows, figures.PROMPT_TOKENS_MAX),
            _zipf(rng, rows, figures.OUTPUT_TOKENS_MAX),
        )
    if sessions is not None:
        return conversation_lengths(sessions, figure.output, rng)
    # Gaussian copula: the published marginals with the published rank correlation.
    rho = 2.0 * np.sin(np.pi / 6.0 * figures.API_LENGTH_CORRELATION)
    normal = rng.standard_normal((2, rows))
    normal[1] = rho * normal[0] + np.sqrt(1.0 - rho**2) * normal[1]
    uniform = ndtr(normal)
    return figures.API_PROMPT.at(uniform[0]), figures.API_OUTPUT.at(uniform[1])


def _zipf(rng: np.random.Generator, rows: int, limit: int) -> Floats:
    """Zipf lengths below `limit`; inverting the cut law equals redrawing what exceeds it."""
    weights = np.cumsum(np.arange(1, limit, dtype=np.float64) ** -figures.ZIPF_THETA)
    index = np.searchsorted(weights / weights[-1], rng.random(rows), side="right")
    return index.astype(np.float64) + 1.0


def fail_runs(rows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Failure marks of consecutive rows, [rows]: a two-state Markov chain by its run lengths."""
    base, stay = figures.FAIL_RATIO, figures.FAIL_AFTER_FAIL_RATIO
    enter = base * (1.0 - stay) / (1.0 - base)
    starts_failed = rng.random() < base
    # Twice the runs expected, then more if luck ran short; each run has at least one row.
    marks = np.zeros(0, dtype=np.bool_)
    while len(marks) < rows:
        pairs = int(2 * rows * enter) + 16
        run_rows = np.empty((pairs, 2), dtype=np.int64)
        run_rows[:, 0] = rng.geometric(1.0 - stay if starts_failed else enter, pairs)
        run_rows[:, 1] = rng.geometric(enter if starts_failed else 1.0 - stay, pairs)
        states = np.tile([starts_failed, not starts_failed], pairs)
        marks = np.concatenate((marks, np.repeat(states, run_rows.ravel())))
    return marks[:rows]


def _merge(
    seed: int,
    arrivals: list[Floats],
    parts: list[tuple[Sessions | None, Floats, Floats]],
    failures: bool,
) -> RequestTable:
    """One table from the streams; equal stamps keep the order of the streams."""
    arrival_s = np.concatenate(arrivals)
    order = np.argsort(arrival_s, kind="stable")
    counts = [len(part) for part in arrivals]
    models = tuple(dict.fromkeys(figure.model for figure in figures.STREAMS))
    session, base = [], 0
    for (sessions, _, _), rows in zip(parts, counts, strict=True):
        if sessions is None:
            session.append(np.full(rows, NO_SESSION, dtype=np.int64))
        else:
            session.append(sessions.index + base)
            base += sessions.num_sessions
    status = np.zeros(len(order), dtype=np.uint8)
    if failures:
        status[fail_runs(len(order), stream(seed, "failures"))] = Status.FAILED
    prompt = np.clip(np.rint(np.concatenate([p[1] for p in parts])), 1, figures.PROMPT_TOKENS_MAX)
    output = np.clip(np.rint(np.concatenate([p[2] for p in parts])), 1, figures.OUTPUT_TOKENS_MAX)
    output = np.where(status == Status.FAILED, 0, output[order])
    kinds = np.array([figure.kind for figure in figures.STREAMS], dtype=np.uint8)
    codes = np.array([models.index(f.model) for f in figures.STREAMS], dtype=np.uint8)
    return RequestTable(
        trace_id=f"burstgpt-generated-{seed}",
        arrival_s=arrival_s[order],
        num_prompt_tokens=prompt[order].astype(np.int32),
        num_output_tokens=output.astype(np.int32),
        kind=np.repeat(kinds, counts)[order],
        model=np.repeat(codes, counts)[order],
        models=models,
        status=status,
        session_index=np.concatenate(session)[order],
        e2e_s=np.full(len(order), np.nan, dtype=np.float32),
        origin=Origin.GENERATED,
    )
