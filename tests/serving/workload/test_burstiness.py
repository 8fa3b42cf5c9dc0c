"""Generator: rate, burstiness, lengths, sessions and failures as published; streams apart."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ConfigError
from serving.workload import Kind, Status, generate
from serving.workload import burstgpt_figures as figures
from serving.workload.burstiness import _arrivals, fail_runs, stream
from serving.workload.conversations import draw_turns

LONG = generate(seed=11, duration_s=20_000.0, rate_rps=10.0, bursts=0.0)


def rows_of(table, figure) -> np.ndarray:
    return (table.kind == figure.kind) & (table.model == table.models.index(figure.model))


def columns(table) -> list[bytes]:
    return [
        getattr(table, name).tobytes()
        for name in table.__dataclass_fields__
        if isinstance(getattr(table, name), np.ndarray)
    ]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    duration_s=st.floats(1.0, 4000.0),
    rate_rps=st.floats(0.001, 3.0),
    start_hour=st.floats(0.0, 24.0),
    diurnal=st.floats(0.0, 1.0),
    bursts=st.floats(0.0, 1.0),
    lengths=st.sampled_from(["empirical", "zipf"]),
    failures=st.booleans(),
)
def test_any_setting_gives_a_whole_table_and_the_same_again(duration_s, **settings_of) -> None:
    table = generate(duration_s=duration_s, **settings_of)
    table.check()
    assert columns(table) == columns(generate(duration_s=duration_s, **settings_of))
    if len(table):
        assert table.arrival_s[-1] < duration_s
        assert table.num_prompt_tokens.min() >= 1
        assert table.num_prompt_tokens.max() <= figures.PROMPT_TOKENS_MAX
        assert table.num_output_tokens.max() <= figures.OUTPUT_TOKENS_MAX


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bursts", [0.0, 0.1, 1.0])
def test_mean_rate_is_the_asked_one_within_three_standard_errors(seed: int, bursts: float) -> None:
    table = generate(seed=seed, duration_s=7200.0, rate_rps=4.0, bursts=bursts)
    expected = {f.name: 7200.0 * 4.0 * f.share for f in figures.STREAMS}
    for figure in figures.STREAMS:
        mean = expected[figure.name]
        assert abs(rows_of(table, figure).sum() - mean) < 3 * (mean / figure.alpha) ** 0.5
    spread = sum(expected[f.name] / f.alpha for f in figures.STREAMS) ** 0.5
    assert abs(len(table) - 7200.0 * 4.0) < 3 * spread


def test_windows_do_not_gain_requests_by_a_restart() -> None:
    counts = np.bincount((LONG.arrival_s // figures.WINDOW_S).astype(int))[:-1]
    expected = figures.WINDOW_S * 10.0
    spread = sum(f.share * expected / f.alpha for f in figures.STREAMS) ** 0.5
    assert np.abs(counts - expected).max() < 3.5 * spread
    assert abs(counts.mean() - expected) < 3 * spread / len(counts) ** 0.5


def test_trace_does_not_gain_requests_at_its_start() -> None:
    # A renewal process that begins at 0 counts (CV^2 - 1) / 2 too many, here half a request.
    figure, rng = figures.STREAMS[2], stream(1, "starts")
    counts = [len(_arrivals(figure, rng, np.array([0.004]), 1000.0)) for _ in range(1500)]
    assert abs(np.mean(counts) - 4.0) < 3 * np.std(counts) / len(counts) ** 0.5


@pytest.mark.parametrize("figure", figures.STREAMS, ids=lambda f: f.name)
def test_gaps_have_the_spread_of_their_gamma_law(figure) -> None:
    gaps = np.diff(LONG.arrival_s[rows_of(LONG, figure)])
    assert len(gaps) >= 2000
    assert gaps.std() / gaps.mean() == pytest.approx(figure.alpha**-0.5, rel=0.1)


def test_full_day_follows_the_published_hours_and_keeps_the_mean() -> None:
    day = generate(
        seed=2, duration_s=86_400.0, rate_rps=2.0, start_hour=0.0, diurnal=1.0, bursts=0.0
    )
    assert len(day) / 86_400.0 == pytest.approx(2.0, rel=0.02)
    hours = np.bincount((day.arrival_s // 3600).astype(int), minlength=24)
    assert hours.min() > 0
    assert int(hours.argmin()) == 7
    assert 8.0 < hours.max() / hours.min() < 16.5


def test_start_hour_shifts_the_daily_curve() -> None:
    night = generate(seed=2, duration_s=3600.0, rate_rps=2.0, start_hour=6.5, diurnal=1.0)
    noon = generate(seed=2, duration_s=3600.0, rate_rps=2.0, start_hour=14.0, diurnal=1.0)
    assert len(noon) > 5 * len(night)


def test_full_bursts_make_hours_uneven_and_none_leave_them_even() -> None:
    def hours(bursts: float) -> np.ndarray:
        table = generate(seed=4, duration_s=86_400.0, rate_rps=0.3, bursts=bursts)
        return np.bincount((table.arrival_s // 3600).astype(int))

    assert hours(1.0).max() > 5 * np.median(hours(1.0))
    assert hours(0.0).max() < 1.2 * np.median(hours(0.0))


def test_fail_share_and_runs_are_the_published_ones() -> None:
    failed = fail_runs(400_000, stream(3, "failures"))
    assert len(failed) == 400_000
    # Runs of failures raise the variance of the share by (1 + r) / (1 - r), r = stay - enter.
    stay, base = figures.FAIL_AFTER_FAIL_RATIO, figures.FAIL_RATIO
    error = (base * (1 - base) * (1 + stay) / (1 - stay) / len(failed)) ** 0.5
    assert abs(failed.mean() - base) < 3 * error
    after = failed[1:][failed[:-1]]
    assert abs(after.mean() - stay) < 3 * (stay * (1 - stay) / len(after)) ** 0.5


def test_failures_can_be_left_out_and_change_only_outputs() -> None:
    clean = generate(seed=11, duration_s=2000.0, rate_rps=10.0, failures=False)
    failing = generate(seed=11, duration_s=2000.0, rate_rps=10.0)
    failed = failing.status == Status.FAILED
    assert failed.any()
    assert not clean.status.any()
    np.testing.assert_array_equal(clean.arrival_s, failing.arrival_s)
    np.testing.assert_array_equal(clean.num_prompt_tokens, failing.num_prompt_tokens)
    kept = clean.num_output_tokens[~failed]
    np.testing.assert_array_equal(kept, failing.num_output_tokens[~failed])


def test_length_seed_leaves_arrivals_sessions_and_failures_untouched() -> None:
    one = generate(seed=1, duration_s=1000.0, rate_rps=5.0)
    two = generate(seed=1, duration_s=1000.0, rate_rps=5.0, length_seed=99)
    for name in ("arrival_s", "kind", "model", "status", "session_index"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.num_prompt_tokens != two.num_prompt_tokens).mean() > 0.9


def test_lengths_setting_leaves_arrivals_untouched() -> None:
    one = generate(seed=1, duration_s=1000.0, rate_rps=5.0)
    two = generate(seed=1, duration_s=1000.0, rate_rps=5.0, lengths="zipf")
    np.testing.assert_array_equal(one.arrival_s, two.arrival_s)


def test_api_lengths_meet_the_published_quantiles() -> None:
    api = LONG.kind == Kind.API
    ok = api & (LONG.status == Status.OK)
    shares = [50, 90, 95, 99]
    prompt = np.percentile(LONG.num_prompt_tokens[api], shares)
    output = np.percentile(LONG.num_output_tokens[ok], shares)
    np.testing.assert_allclose(prompt, [74, 1291, 1697, 3023], rtol=0.05)
    np.testing.assert_allclose(output, [14, 401, 510, 757], rtol=0.08)


def test_conversation_lengths_come_near_the_published_quantiles() -> None:
    table = generate(seed=1, duration_s=50_000.0, rate_rps=4.0, failures=False)
    chat = table.kind == Kind.CONVERSATION
    prompt = np.percentile(table.num_prompt_tokens[chat], [50, 95, 99])
    output = np.percentile(table.num_output_tokens[chat], [50, 95, 99])
    np.testing.assert_allclose(prompt, [499, 1862, 2389], rtol=0.2)
    np.testing.assert_allclose(output, [236, 634, 934], rtol=0.25)


def test_output_curve_meets_its_median_and_its_ends() -> None:
    curve = figures.CHATGPT_OUTPUT
    drawn = curve.draw(np.full(3, 1000.0), np.array([-figures.Z_95, 0.0, figures.Z_95]))
    np.testing.assert_allclose(drawn, [53, 256, 535])


def test_turns_are_spread_as_published() -> None:
    turns = draw_turns(stream(1, "turns"), 100_000)
    assert (turns == 1).mean() > 0.35
    assert np.median(turns) == 2
    assert (turns <= 4).mean() == pytest.approx(0.75, abs=0.03)
    assert turns.mean() == pytest.approx(figures.SESSION_TURNS_MEAN, rel=0.03)


def test_inputs_grow_with_the_history_of_their_session() -> None:
    sessions = LONG.session_index
    assert (sessions[LONG.kind == Kind.API] == -1).all()
    assert (sessions[LONG.kind == Kind.CONVERSATION] >= 0).all()
    _, opener = np.unique(sessions, return_index=True)
    openers = np.zeros(len(LONG), dtype=bool)
    openers[opener] = True
    chat = LONG.kind == Kind.CONVERSATION
    later = LONG.num_prompt_tokens[chat & ~openers]
    assert np.median(later) > 10 * np.median(LONG.num_prompt_tokens[chat & openers])


def test_a_session_stays_with_one_model() -> None:
    chat = LONG.session_index >= 0
    pairs = np.unique(np.stack([LONG.session_index[chat], LONG.model[chat]]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration_s": 0.0},
        {"duration_s": float("nan")},
        {"rate_rps": -1.0},
        {"rate_rps": float("inf")},
        {"diurnal": 1.5},
        {"bursts": -0.1},
        {"lengths": "normal"},
        {"rate_rps": 1e9},
    ],
)
def test_setting_outside_its_domain_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="generated workload"):
        generate(**{"seed": 1, "duration_s": 100.0, "rate_rps": 1.0} | wrong)


def test_two_hundred_thousand_requests_take_under_two_seconds() -> None:
    began_s = time.process_time()
    table = generate(seed=1, duration_s=20_000.0, rate_rps=10.0)
    assert len(table) > 190_000
    assert time.process_time() - began_s < 2.0
