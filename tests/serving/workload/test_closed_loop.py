"""Users who wait, retry and give up: the storm, what ends it, and the books of every try."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.workload.closed_loop import Crowd, Fate, Server, play, population_for

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
        (REPLAY, replace(SERVER, slots=0), "slots"),
        (REPLAY, replace(SERVER, cut_ratio=2.0), "cut"),
        (Crowd(rate_rps=1e6), SERVER, "tries"),
    ],
)
def test_values_outside_their_domain_are_named(crowd: Crowd, server: Server, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        play(crowd, server, seed=0, duration_s=1000.0)
