"""Common random numbers: a draw belongs to its request, visit and attempt alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.replay.draws import CHUNK, COLUMNS, Draws, mix
from ops.state import Action, ActionKind
from rca.state import Entity, EntityKind


@given(
    st.integers(0, 2**40),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 4)), min_size=1, max_size=8),
)
@settings(max_examples=25, deadline=None)
def test_a_row_does_not_depend_on_the_rows_asked_before(seed, asked):
    one = Draws(seed, [0.6, 0.0])
    for request, attempt in asked:
        one.row(request, attempt)
    request, attempt = asked[0]
    assert one.row(request, attempt) == Draws(seed, [0.6, 0.0]).row(request, attempt)


def test_attempts_and_requests_draw_their_own_numbers():
    draws = Draws(1, [0.5])
    rows = [tuple(draws.row(r, a)) for r in (0, 1, CHUNK) for a in (0, 1)]
    assert len(set(rows)) == len(rows)


def test_a_row_holds_four_columns_per_visit_and_four_of_the_attempt():
    assert len(Draws(1, [0.5, 0.5, 0.0]).row(0, 0)) == 3 * COLUMNS + 4


def test_old_chunks_are_dropped_and_come_back_the_same():
    draws = Draws(1, [0.5])
    first = draws.row(0, 0)
    for chunk in range(80):
        draws.row(chunk * CHUNK, 0)
    assert len(draws._cache) <= 65
    assert draws.row(0, 0) == first


def test_work_has_mean_one_and_the_stated_spread():
    draws = Draws(2, [0.6])
    work = np.array([draws.row(k, 0)[0] for k in range(20 * CHUNK)])
    assert work.mean() == pytest.approx(1.0, abs=0.03)
    assert work.std() == pytest.approx(0.6, abs=0.05)


def test_redrawn_work_has_the_same_law():
    draws = Draws(2, [0.6])
    work = np.array([draws.work(0, (k + 0.5) / 4000) for k in range(4000)])
    assert work.mean() == pytest.approx(1.0, abs=0.02)
    assert work.std() == pytest.approx(0.6, abs=0.05)


def test_no_spread_means_constant_work():
    draws = Draws(2, [0.0])
    assert {draws.row(k, 0)[0] for k in range(50)} == {1.0}
    assert draws.work(0, 0.123) == 1.0


def test_mixed_numbers_are_uniform_and_differ_by_every_key():
    values = np.array([mix(7, a, b) for a in range(60) for b in range(60)])
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert np.histogram(values, bins=10, range=(0, 1))[0].min() > 280
    assert len(set(values.tolist())) == len(values)
    assert mix(7, 1, 2) != mix(7, 2, 1)
    assert mix(7, 1) != mix(8, 1)


def test_an_action_moves_no_draw_of_another_request(sim):
    """Two worlds, one of them acted upon: the same users ask for the same at the same time."""
    seen = []
    for acted in (False, True):
        fleet = sim.start(rate_rps=4.0)
        users, asked = fleet.users, {}
        judge = users._judge

        def note(user, bad, judge=judge, asked=asked):
            request = user.request
            asked[request.request_id] = (
                request.arrival_s, request.num_prompt_tokens, request.num_output_tokens,
                user.region, user.slo.name,
            )  # fmt: skip
            judge(user, bad)

        users._judge = note
        fleet.run_until(5.0)
        if acted:
            pod = sim.pods(fleet, "llm")[0]
            fleet.apply(
                Action(
                    action_id="a", kind=ActionKind.RESTART_POD,
                    target=Entity(EntityKind.POD, pod.region, pod.name),
                )
            )  # fmt: skip
        fleet.run_until(25.0)
        seen.append((asked, users))
    (plain, before), (other, after) = seen
    both = plain.keys() & other.keys()
    assert len(both) > 60
    assert all(plain[k] == other[k] for k in both)
    assert before.ledger.arrived == after.ledger.arrived
    assert before.judged != after.judged  # the action did something
