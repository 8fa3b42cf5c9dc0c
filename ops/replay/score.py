"""Scores of one simulated world: bad minutes, lost minutes, first symptom."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.replay.users import Users
from ops.state import SloTarget

AFTER_S = 600.0  # a fault's cost is counted until ten minutes after its end
SYMPTOM_S = 10.0  # trailing window in which a symptom must show
SYMPTOM_BAD_MIN = 3
SYMPTOM_RATIO = 0.2


@dataclass(frozen=True, slots=True)
class Minute:
    """Requests that arrived in one minute for one region and SLO class."""

    region: str
    slo_class: str
    minute: int
    requests: int
    bad: int


def minutes(users: Users, *, now_s: float) -> list[Minute]:
    """All minutes, by (minute, region, class).

    A request without an outcome counts as bad once it is late for its first token; younger ones
    are left out: nothing is known of them.
    """
    counts = {key: list(value) for key, value in users.minutes.items()}
    for user in users.open.values():
        arrival_s = user.request.arrival_s
        if user.ttft_s is None and now_s - arrival_s > user.slo.ttft_s:
            key = (user.region, user.slo.name, int(arrival_s // 60.0))
            value = counts.setdefault(key, [0, 0])
            value[0] += 1
            value[1] += 1
    ordered = sorted(counts.items(), key=lambda item: (item[0][2], item[0][0], item[0][1]))
    return [Minute(r, c, m, n, bad) for (r, c, m), (n, bad) in ordered]


def is_bad(minute: Minute, targets: Mapping[str, SloTarget]) -> bool:
    """More than 1 - target of the minute's requests missed a limit, failed or were turned away."""
    return minute.bad > (1.0 - targets[minute.slo_class].target_ratio) * minute.requests


def bad_minutes(
    found: Sequence[Minute],
    slos: Sequence[SloTarget],
    *,
    start_s: float,
    end_s: float,
    weighted: bool = True,
) -> float:
    """Bad minutes that began in [start_s, end_s).

    Args:
        weighted: each counts by its share of that minute's traffic, so that one minute in which
            everybody suffers counts 1; else each counts 1.
    """
    targets = {slo.name: slo for slo in slos}
    first, last = int(start_s // 60.0), int(-(-end_s // 60.0))
    total: dict[int, int] = {}
    for minute in found:
        total[minute.minute] = total.get(minute.minute, 0) + minute.requests
    return sum(
        (minute.requests / total[minute.minute] if weighted else 1.0)
        for minute in found
        if first <= minute.minute < last and is_bad(minute, targets)
    )


def first_symptom_s(judged: Sequence[tuple[float, bool]], *, after_s: float) -> float | None:
    """First moment at which users visibly suffer: 3 bad of the last 10 s, 20 % at least."""
    known = sorted(j for j in judged if j[0] >= after_s)
    times = [t for t, _ in known]
    bad = [0]
    for _, is_bad_one in known:
        bad.append(bad[-1] + is_bad_one)
    for k, (at_s, is_bad_one) in enumerate(known):
        if not is_bad_one:
            continue
        first = bisect_left(times, at_s - SYMPTOM_S)
        num_bad, num = bad[k + 1] - bad[first], k + 1 - first
        if num_bad >= SYMPTOM_BAD_MIN and num_bad >= SYMPTOM_RATIO * num:
            return at_s
    return None
