"""What a PromQL query of an indicator speaks of: which class, which limit.

No evaluation: metrics that the catalogue knows are looked for, with the conditions in their braces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

from ops.catalogue import Catalogue

REQUESTS, TTFT, TPOT = "frontend_requests", "frontend_ttft", "frontend_tpot"
_ROLES = (REQUESTS, TTFT, TPOT)
_METRIC = re.compile(r'(?<![\w:."])([a-zA-Z_][\w:.]*)\s*(\{[^{}]*\})?')
_NAMED = re.compile(r'__name__\s*=\s*"([^"]*)"')
_BRACES = re.compile(r"\{[^{}]*\}")
_CONDITION = re.compile(r'([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One metric of a query."""

    role: str
    slo_class: str = ""  # "" = the query does not say
    le: float | None = None  # upper bound of a bucket


def meanings(query: str, catalogue: Catalogue) -> tuple[Meaning, ...]:
    """Every metric of users' requests that a query names, in order."""
    found = []
    for name, braces in _selectors(query):
        roles = {info.role for info, _ in catalogue.entries(name)} & set(_ROLES)
        if not roles:
            continue
        (role,) = roles
        conditions = {label: v for label, op, v in _CONDITION.findall(braces) if op == "="}
        found.append(
            Meaning(
                role=role,
                slo_class=conditions.get("slo_class", ""),
                le=_bound(conditions.get("le")),
            )
        )
    return tuple(found)


def _selectors(query: str) -> list[tuple[str, str]]:
    named = [
        (name.group(1), braces.group(0))
        for braces in _BRACES.finditer(query)
        if (name := _NAMED.search(braces.group(0)))
    ]
    return named + [(name, braces) for name, braces in _METRIC.findall(query)]


def _bound(text: str | None) -> float | None:
    try:
        bound = float(text) if text is not None else None
    except ValueError:
        return None
    return None if bound == inf else bound
