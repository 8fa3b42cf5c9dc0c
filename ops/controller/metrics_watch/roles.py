"""What the loop itself reads of a Prometheus, and the questions that bring it."""

from __future__ import annotations

from dataclasses import dataclass

from ops.adapters.prometheus_selectors import BUCKET_ROLES, Matcher, known_names
from ops.catalogue import Catalogue
from ops.catalogue.spellings import stored_names

# What users get; a diagnosis is asked for by these alone.
USER_ROLES = frozenset(
    {"frontend_requests", "frontend_ttft", "frontend_tpot", "frontend_in_flight"}
)
# Load, cold starts and the scraper's own health. A test compares with what ops/*.py names.
WATCHED_ROLES = USER_ROLES | {
    "engine_running",
    "engine_success",
    "engine_waiting",
    "pod_created_time",
    "pod_ready_time",
    "scrape_up",
}
_PARTS = ("bucket", "count")  # of a histogram; the loop reads no sum


@dataclass(frozen=True, slots=True)
class Question:
    """Names asked for together, with their conditions."""

    names: tuple[str, ...]
    matchers: tuple[Matcher, ...]


def questions(
    catalogue: Catalogue,
    matchers: tuple[Matcher, ...],
    *,
    added: frozenset[str],
    roles: frozenset[str] = WATCHED_ROLES,
) -> tuple[Question, ...]:
    """Questions for every spelling of some roles; one per set of conditions.

    Args:
        added: labels that are added after reading, so that the store need not have them.
    """
    names = {
        name
        for info in catalogue.roles
        if info.role in roles
        for name in stored_names(info, parts=_PARTS)
    }
    groups: dict[tuple[Matcher, ...], list[str]] = {}
    known = known_names(sorted(names), catalogue, added=added, bucket_roles=BUCKET_ROLES)
    for name, demanded in known.items():
        groups.setdefault((*demanded, *matchers), []).append(name)
    return tuple(Question(tuple(found), key) for key, found in groups.items())
