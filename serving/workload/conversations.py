"""Multi-turn sessions over given arrivals: who continues which conversation, growing inputs."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.workload import burstgpt_figures as figures

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# An arrival opens a session at this share of the long-run need, or when no turn is due. Below
# one, so that due turns are served at once and do not pile up.
OPEN_SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Session of each arrival of one stream, [n] columns."""

    index: Ints  # 0 to num_sessions - 1, in order of opening
    turn: Ints  # 0 = opener
    previous: Ints  # row of the turn before; -1 for openers
    num_sessions: int


def draw_turns(rng: np.random.Generator, num_sessions: int) -> Ints:
    """Turns per session, [num_sessions], at least 1."""
    more = rng.random(num_sessions) >= figures.SINGLE_TURN_RATIO
    long_one = rng.random(num_sessions) < figures.LONG_SESSION_RATIO
    usual, long_mean = figures.MORE_TURNS_MEAN
    turns = rng.geometric(1.0 / np.where(long_one, long_mean, usual), num_sessions)
    result: Ints = 1 + np.where(more, turns, 0)
    return result


def assign_sessions(arrival_s: Floats, rng: np.random.Generator) -> Sessions:
    """Give every arrival a session: the turn that is due longest, or a new one.

    Arrivals stay as they are, so the gap law and the rate stay exact. A think time ends at
    the first free arrival after it, hence realised times are a little longer than drawn.
    """
    rows = len(arrival_s)
    return chain(
        arrival_s,
        turns=draw_turns(rng, rows),
        think_s=rng.lognormal(figures.THINK_LOG_MU, figures.THINK_LOG_SIGMA, rows),
        opens=rng.random(rows) < OPEN_SHARE / figures.SESSION_TURNS_MEAN,
    )


def chain(
    arrival_s: Floats,
    *,
    turns: Ints,
    think_s: Floats,
    opens: NDArray[np.bool_],
    lead_s: float = 0.0,
    turns_by_row: bool = False,
) -> Sessions:
    """Give every arrival a session, with the draws of each row, [n].

    Args:
        turns: of the i-th session opened.
        think_s: before the next turn of the session.
        opens: rows that open a session although a turn is due.
        turns_by_row: `turns` are of the session that the row opens, if it does.
        lead_s: a turn may come that much before its think time has passed.
    """
    rows = len(arrival_s)
    turns_left, thinks_s, opening = turns.tolist(), think_s.tolist(), opens.tolist()
    index = np.empty(rows, dtype=np.int64)
    turn = np.zeros(rows, dtype=np.int64)
    previous = np.full(rows, -1, dtype=np.int64)
    due: list[tuple[float, int, int, int]] = []  # (due_s, row before, session, turns left)
    num_sessions = 0
    for row, now_s in enumerate(arrival_s.tolist()):
        if due and due[0][0] <= now_s + lead_s and not opening[row]:
            _, before, session, left = heapq.heappop(due)
            turn[row] = turn[before] + 1
            previous[row] = before
        else:
            session, left = num_sessions, turns_left[row if turns_by_row else num_sessions]
            num_sessions += 1
        index[row] = session
        if left > 1:
            heapq.heappush(due, (now_s + thinks_s[row], row, session, left - 1))
    return Sessions(index=index, turn=turn, previous=previous, num_sessions=num_sessions)


def conversation_lengths(
    sessions: Sessions, curve: figures.OutputCurve, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Input and output tokens of conversation rows, [n] each.

    The input of a turn is the input and output of the turn before, cut to the newest
    HISTORY_TOKENS_MAX, and what the user types; the output follows the input by `curve`.
    """
    rows = len(sessions.index)
    prompt = figures.TYPED_TOKENS.at(rng.random(rows))
    normal = rng.standard_normal(rows)
    output = np.zeros(rows)
    by_turn = np.argsort(sessions.turn, kind="stable")
    counts = np.bincount(sessions.turn, minlength=1)
    for turn, members in enumerate(np.split(by_turn, np.cumsum(counts)[:-1])):
        if turn:
            before = sessions.previous[members]
            history = prompt[before] + output[before]
            prompt[members] += np.minimum(history, figures.HISTORY_TOKENS_MAX)
        prompt[members] = np.clip(np.rint(prompt[members]), 1, figures.PROMPT_TOKENS_MAX)
        drawn = curve.draw(prompt[members], normal[members])
        output[members] = np.clip(np.rint(drawn), 1, figures.OUTPUT_TOKENS_MAX)
    return prompt, output
