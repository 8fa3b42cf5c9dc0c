"""Users who wait, retry and give up: the storm, what ends it, and the books of every try."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.workload.attempts import (
    ONE_MINUTE,
    TWO_MINUTES,
    Attempts,
    Fate,
    Recovered,
    Server,
)
from serving.workload.closed_loop import BUDGET_RETRIES, Crowd, play, population_for
from serving.workload.storm import spread

SERVER = Server(slots=10, cut_from_s=240.0)  # a quarter of the usual server, for speed
RATE_RPS = 0.8 * SERVER.capacity_rps
REPLAY = Crowd(rate_rps=RATE_RPS)
RETRYING = replace(REPLAY, tries_max=4)
THINKING = Crowd(population=population_for(RATE_RPS, SERVER, 30.0), tries_max=4)
END_S = SERVER.cut_from_s + SERVER.cut_s


def run(crowd: Crowd, server: Server = SERVER, *, seed: int = 0):
    return play(crowd, server, seed=seed, duration_s=1000.0)


@pytest.mark.parametrize("crowd", [REPLAY, RETRYING, THINKING])
def test_before_the_cut_all_crowds_get_what_they_ask(crowd: Crowd) -> None:
    assert run(crowd).goodput_rps(60.0, 240.0) == pytest.approx(RATE_RPS, rel=0.15)


def test_users_who_retry_keep_the_storm_alive_after_the_cut() -> None:
    storm = run(RETRYING)
    assert storm.goodput_rps(END_S + 60.0, END_S + 420.0) < 0.05 * RATE_RPS
    assert math.isnan(storm.recovery_s())
    assert storm.offered_ratio(END_S + 200.0, 1000.0) > 2.5


def test_replay_and_thinking_users_recover_where_retrying_ones_do_not() -> None:
    for crowd in (REPLAY, THINKING):
        assert 60.0 <= run(crowd).recovery_s() <= 600.0


def test_a_queue_cap_ends_the_storm_and_dropping_expired_work_does_not() -> None:
    capped = run(RETRYING, replace(SERVER, queue_max=15))
    assert capped.recovery_s() <= 60.0
    assert (capped.fate == Fate.REJECTED).any()
    dropping = run(RETRYING, replace(SERVER, drop_expired=True))
    assert dropping.goodput_rps(END_S + 60.0, END_S + 420.0) < 0.5 * RATE_RPS


def test_every_try_follows_the_one_before_it() -> None:
    tries = run(RETRYING)
    assert (np.diff(tries.at_s) >= 0.0).all()
    ended = tries.fate != Fate.OPEN
    waited_s = (tries.end_s - tries.at_s)[ended]
    assert waited_s.min() >= 0.0
    assert waited_s.max() <= RETRYING.timeout_s + 1e-9
    assert tries.number.max() == RETRYING.tries_max
    for user in np.unique(tries.user)[:200]:
        rows = np.flatnonzero(tries.user == user)
        assert tries.number[rows].tolist() == list(range(1, len(rows) + 1))
        assert (tries.fate[rows[:-1]] == Fate.TIMED_OUT).all()


def test_a_thinking_user_has_one_try_open_at_a_time() -> None:
    tries = run(THINKING)
    for user in range(THINKING.population):
        rows = np.flatnonzero(tries.user == user)
        assert (tries.at_s[rows[1:]] >= tries.end_s[rows[:-1]]).all()


def test_same_seed_same_run_and_another_seed_another() -> None:
    one, again, other = run(THINKING), run(THINKING), run(THINKING, seed=1)
    assert one.at_s.tobytes() == again.at_s.tobytes()
    assert one.at_s.tobytes() != other.at_s.tobytes()


@pytest.mark.parametrize(
    ("crowd", "server", "named"),
    [
        (Crowd(), SERVER, "population"),
        (Crowd(rate_rps=1.0, population=3), SERVER, "population"),
        (replace(REPLAY, tries_max=0), SERVER, "tries_max"),
        (replace(REPLAY, timeout_s=0.0), SERVER, "timeout_s"),
        (replace(REPLAY, jitter_ratio=1.5), SERVER, "jitter_ratio"),
        (replace(REPLAY, budget_ratio=-0.1), SERVER, "budget_ratio"),
        (REPLAY, replace(SERVER, slots=0), "slots"),
        (REPLAY, replace(SERVER, cut_ratio=2.0), "cut"),
        (Crowd(rate_rps=1e6), SERVER, "tries"),
    ],
)
def test_values_outside_their_domain_are_named(crowd: Crowd, server: Server, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        play(crowd, server, seed=0, duration_s=1000.0)


def test_recovered_wants_so_many_good_minutes_in_a_row() -> None:
    server = Server(cut_from_s=600.0, cut_s=60.0)
    rates = [10] * 11 + [0, 9, 0, 10, 10, 10]  # answers in each minute; minute 10 is the cut
    ends_s = np.array([60.0 * m + k for m, rate in enumerate(rates) for k in range(rate)])
    made = np.ones(len(ends_s), dtype=np.int64)
    tries = Attempts(
        at_s=ends_s, user=made, number=made, fate=made.astype(np.uint8), end_s=ends_s,
        server=server, duration_s=60.0 * len(rates),
    )  # fmt: skip
    assert tries.recovery_s(ONE_MINUTE) == 60.0
    assert tries.recovery_s(TWO_MINUTES) == 180.0
    assert math.isnan(tries.recovery_s(Recovered(1.1, 1)))


def test_jitter_shortens_pauses_and_leaves_other_draws_alone() -> None:
    plain, drawn = run(RETRYING), run(replace(RETRYING, jitter_ratio=1.0))
    first = [tries.at_s[tries.number == 1] for tries in (plain, drawn)]
    np.testing.assert_array_equal(*first)
    second = [pauses(tries) for tries in (plain, drawn)]
    assert second[0] == pytest.approx(np.full(len(second[0]), RETRYING.backoff_s))
    assert second[1].max() <= RETRYING.backoff_s
    assert second[1].mean() == pytest.approx(RETRYING.backoff_s / 2, rel=0.1)


def pauses(tries: Attempts) -> np.ndarray:
    """From the end of each first try that failed to the second."""
    end_s = {
        user: end
        for user, end, n in zip(tries.user, tries.end_s, tries.number, strict=True)
        if n == 1
    }
    seconds = np.flatnonzero(tries.number == 2)
    return np.array([tries.at_s[k] - end_s[tries.user[k]] for k in seconds])


@pytest.mark.parametrize("crowd", [replace(RETRYING, rate_rps=0.6 * SERVER.capacity_rps), THINKING])
def test_a_budget_bounds_the_retries_and_ends_the_storm(crowd: Crowd) -> None:
    tries = run(replace(crowd, budget_ratio=0.05))
    first = int((tries.number == 1).sum())
    assert 0 < len(tries) - first <= 0.05 * first + BUDGET_RETRIES
    assert tries.goodput_rps(800.0, 1000.0) > 0.9 * tries.goodput_rps(120.0, 240.0)
    assert tries.amplification(0.0, 1000.0) < 1.15 < run(crowd).amplification(0.0, 1000.0)
    none = run(replace(crowd, budget_ratio=0.0))
    assert len(none) - int((none.number == 1).sum()) <= BUDGET_RETRIES


def test_the_median_of_an_even_number_lies_between_the_middle_two() -> None:
    assert spread(np.array([1.0, 9.0, 2.0, 4.0])) == {"min": 1.0, "median": 3.0, "max": 9.0}
    never = spread(np.array([1.0, math.nan, 2.0, math.nan]))
    assert never == {"min": 1.0, "median": None, "max": None}


def test_no_goodput_before_is_never_recovered() -> None:
    flooded = run(replace(RETRYING, rate_rps=4 * SERVER.capacity_rps))
    assert math.isnan(flooded.recovery_s())
