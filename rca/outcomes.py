"""Figures of cases that are not one felt fault of one service.

Two causes at once, faults that nobody feels, trouble that is no service's own. A case is accused
where its presence reaches the threshold, whoever is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rca.judging import Judged
from rca.presence import PRESENCE_MIN

BOTH_WITHIN = 4  # two causes are found where the first four names hold both


def other_outcomes(judged: Sequence[Judged], threshold: Mapping[str, float]) -> dict[str, Any]:
    """`simultaneous`, `without_effect` and `no_service` of an evaluation, where it has such cases.

    Args:
        threshold: set -> presence from which somebody is accused.
    """
    pairs = [j for j in judged if j.labels.is_fault and j.labels.also]
    unfelt = [j for j in judged if not j.labels.felt and not j.labels.is_quiet]
    nobody = [j for j in judged if j.labels.felt and not j.labels.service and not j.labels.is_quiet]
    found: dict[str, Any] = {}
    if pairs:
        both = sum(max(j.each_rank, default=BOTH_WITHIN + 1) <= BOTH_WITHIN for j in pairs)
        found["simultaneous"] = {"n": len(pairs), "both_in_top_4": round(both / len(pairs), 4)}
    if unfelt:
        found["without_effect"] = _accused(unfelt, threshold)
    if nobody:
        found["no_service"] = _accused(nobody, threshold)
    return found


def _accused(judged: Sequence[Judged], threshold: Mapping[str, float]) -> dict[str, Any]:
    told = [j.presence >= threshold.get(j.case.dataset, PRESENCE_MIN) for j in judged]
    kinds: dict[str, list[bool]] = {}
    for one, accused in zip(judged, told, strict=True):
        kinds.setdefault(one.labels.fault_type, []).append(accused)
    return {
        "n": len(judged),
        "accused": round(sum(told) / len(told), 4),
        "by_kind": {k: {"n": len(v), "accused": sum(v)} for k, v in sorted(kinds.items())},
    }
