"""How far a reading of Prometheus can be trusted, and what a person should look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ops.slo_keys import KEYS_MAX

STALE_SCRAPES = 3  # scrapes that may be missed before what is known counts as old
SKEW_S_MAX = 30.0  # between the server's clock and ours
FUTURE_S = 2.0  # samples stamped later than the server's now by more


class DataState(StrEnum):
    """Only FRESH data may open an incident or call a fleet healthy."""

    FRESH = "Fresh"
    STALE = "Stale"  # known, and too old
    MISSING = "Missing"  # nothing that tells what users get
    CONTRADICTORY = "Contradictory"  # clocks or parts of the answer disagree


@dataclass(slots=True, kw_only=True)
class Seen:
    """What the readings so far and the last answers showed. Times are the server's, NaN = none.

    Attributes:
        url, namespace: of the fleet, for messages.
        now_s, skew_s: server's clock; how far it is ahead of ours.
        back_s: how far it stands behind the newest row.
        step_s, interval_s: of the rows; of samples of what users get, 0 = not known.
        users_s, users_nan_s, any_s: newest finite and newest NaN sample of what users get, and of
            any watched role.
        num_series, num_users: columns now, and those of what users get.
        blind: regions whose users are not seen any more, and since when.
        num_classless, odd_class: series whose class is one too many, and the first such class.
        num_future, future_s: samples stamped later than now, and by how much.
    """

    url: str = ""
    namespace: str = ""
    now_s: float = 0.0
    skew_s: float = 0.0
    back_s: float = 0.0
    step_s: float = 5.0
    interval_s: float = 0.0
    users_s: float = float("nan")
    users_nan_s: float = float("nan")
    any_s: float = float("nan")
    num_series: int = 0
    num_users: int = 0
    num_answered: int = 0
    num_without_role: int = 0
    num_unplaced: int = 0
    num_refused: int = 0
    num_classless: int = 0
    odd_class: str = ""
    num_future: int = 0
    future_s: float = 0.0
    num_histograms: int = 0
    held_s: float = 0.0
    blind: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""

    @property
    def clocks_agree(self) -> bool:
        """Whether the server's clock and ours do, as far as they can be compared."""
        return abs(self.skew_s) <= SKEW_S_MAX

    @property
    def old_s(self) -> float:
        """Age from which on data are stale."""
        return STALE_SCRAPES * max(self.step_s, self.interval_s) + self.held_s


def judge(seen: Seen) -> tuple[DataState, str]:
    """State and one sentence or two: the value seen and the next step; "" where all is well."""
    if seen.error:
        return _unread(seen)
    found = _contradiction(seen)
    if found:
        return DataState.CONTRADICTORY, found
    found = _missing(seen)
    if found:
        return DataState.MISSING, found
    found = _stale(seen)
    if found:
        return DataState.STALE, found
    return DataState.FRESH, _notes(seen)


def _unread(seen: Seen) -> tuple[DataState, str]:
    if not seen.users_s > 0.0:
        return DataState.MISSING, f"nothing was read yet: {seen.error}"
    age_s = seen.now_s - seen.users_s
    state = DataState.STALE if age_s > seen.old_s else DataState.FRESH
    return state, f"the newest sample is {age_s:.0f} s old, the last reading failed: {seen.error}"


def _contradiction(seen: Seen) -> str:
    if not seen.clocks_agree:
        side = "ahead of" if seen.skew_s > 0 else "behind"
        return (
            f"{seen.url}: its clock is {abs(seen.skew_s):.0f} s {side} ours: causes and effects "
            "cannot be put in order; set the clocks of both (NTP)"
        )
    if seen.back_s > seen.old_s:
        return (
            f"{seen.url}: its clock went back by {seen.back_s:.0f} s: new samples stand before "
            "old ones; set its clock, then wait until it has caught up"
        )
    if seen.num_future:
        return (
            f"{seen.url}: {seen.num_future} samples are stamped up to {seen.future_s:.0f} s in the "
            "future; look for exporters that set timestamps of their own and for remote writers "
            "with a wrong clock"
        )
    if seen.warnings:
        return (
            f"{seen.url}: the answer is partial, so what lacks may exist: {seen.warnings[0]}; "
            "look at the stores behind that address"
        )
    return ""


def _missing(seen: Seen) -> str:
    where = f'{seen.url}, namespace="{seen.namespace}"'
    if not seen.num_series and not seen.num_answered:
        return (
            f"{where}: no series of a watched role: check that this Prometheus scrapes the "
            "namespace, that series carry the label namespace, and metrics.matchLabels of the Fleet"
        )
    if not seen.num_series:
        return (
            f"{where}: {seen.num_answered} series, none with a role: {seen.num_without_role} lack "
            f"a label such as slo_class, service or pod, {seen.num_unplaced} belong to pods that "
            "the Fleet's selector does not take"
        )
    if not seen.num_users:
        return (
            f"{where}: {seen.num_series} series, none counts users' requests by class: "
            "frontend_requests needs the labels slo_class and status (metric http_requests_total "
            "or one of the catalogue's other names)"
        )
    if not seen.users_s > 0.0:
        told = "all their samples are NaN" if seen.users_nan_s > 0.0 else "they hold no sample"
        return f"{where}: {seen.num_users} series of users' requests, {told}; look at the exporter"
    return ""


def _stale(seen: Seen) -> str:
    age_s = seen.now_s - seen.users_s
    if age_s <= seen.old_s:
        return ""
    where = f'{seen.url}, namespace="{seen.namespace}"'
    told = f"{where}: what users get was last seen {age_s:.0f} s ago"
    if seen.users_nan_s > seen.users_s:
        return (
            f"{told}, since then all its samples are NaN; look at the exporter, and whether its "
            "target is still there: some servers store that mark when it goes"
        )
    if seen.now_s - seen.any_s <= seen.old_s:
        return f"{told}, other series are fresh; look at the frontend's scrape targets"
    return f"{told}, nothing else came since; look at /targets of that Prometheus"


def _notes(seen: Seen) -> str:
    notes = [
        f"what users of region {region} get was last seen {seen.now_s - at_s:.0f} s ago; look at "
        "the frontend's scrape targets there"
        for region, at_s in seen.blind
    ]
    if seen.interval_s > 1.25 * seen.step_s:
        notes.append(
            f"samples come every {seen.interval_s:g} s, rows every {seen.step_s:g} s: "
            f"set scrapeSeconds to {seen.interval_s:g}, or scrape more often"
        )
    elif 0.0 < seen.interval_s < 0.8 * seen.step_s:
        notes.append(
            f"samples come every {seen.interval_s:g} s, rows every {seen.step_s:g} s: "
            f"set scrapeSeconds to {max(seen.interval_s, 1.0):g} to see sooner"
        )
    if seen.held_s:
        notes.append(f"scrapes end late, so rows are shown {seen.held_s:g} s later")
    if seen.num_refused:
        notes.append(f"{seen.num_refused} series beyond the most that one fleet may have: left out")
    if seen.num_classless:
        notes.append(
            f"{seen.num_classless} series of users' requests are left out, as there are more than "
            f"{KEYS_MAX} pairs of region and class, e.g. of slo_class={seen.odd_class[:40]!r}: let "
            "the label slo_class name classes of requests, never users or requests"
        )
    if seen.num_histograms:
        notes.append(f"{seen.num_histograms} native histograms cannot be read: left out")
    return "; ".join(notes)
