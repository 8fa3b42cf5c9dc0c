"""How bad it was for users in the last whole minute of a page, in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ops.reports import ClockBase, words
from ops.reports.build_lanes import MINUTE_S, MinuteRow
from rca.state import Symptom

REQUESTS_MIN = 20  # of a class in the minute: below it a share is luck
NOT_KNOWN = "How many requests are bad now is not known."


def bad_now(
    rows: Sequence[MinuteRow], symptom: Symptom, *, until_s: float, clock: ClockBase
) -> str:
    """ "From 11:17 to 11:18, 44 % of 240 requests of eu-west/batch were bad."

    Args:
        rows: minutes of the page; one without a sample is not there.
        symptom: of the incident that is open. Where requests are not answered no share is told:
            the few that come through may all be good.
        until_s: end of the page, on its own clock.
    """
    last = int(until_s // MINUTE_S) - 1
    found = [(bad / n, n, name) for where, name, minute, n, bad in rows
             if (where, minute) == (symptom.region, last) and n > 0]  # fmt: skip
    if not found:
        return NOT_KNOWN
    many = [one for one in found if one[1] >= REQUESTS_MIN]
    ratio, requests, name = max(many) if many else max(found, key=lambda one: one[1])
    start, end = (words.clock_minute(m * MINUTE_S, clock) for m in (last, last + 1))
    of = f"{words.count(requests, 'request')} of {symptom.region}/{name}"
    if symptom.reason == "missing":
        return f"From {start} to {end}, {of} {'was' if requests == 1 else 'were'} answered."
    share = "none" if ratio == 0.0 else words.percent(ratio)
    return f"From {start} to {end}, {share} of {of} were bad."
