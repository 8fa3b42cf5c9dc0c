"""Figures of cases that are not one felt fault of one service.

Two causes at once, faults that nobody feels, trouble that is no service's own. A case is changed
where its presence reaches the threshold, and somebody is accused at the level of an incident where
users notice, too (or nobody knows whether they do).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rca.felt import users_notice
from rca.judging import Judged
from rca.presence import PRESENCE_MIN

BOTH_WITHIN = 4  # two causes are found where the first four names hold both


def other_outcomes(judged: Sequence[Judged], threshold: Mapping[str, float]) -> dict[str, Any]:
    """`simultaneous`, `without_effect`, `no_service`, `noticed`, where there are such cases.

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
    known = [(j.labels, users_notice(j.felt)) for j in judged if j.felt is not None]
    faults = [bool(told) for labels, told in known if labels.is_fault]
    quiet = [bool(told) for labels, told in known if labels.is_quiet]
    if known:
        found["noticed"] = {
            "faults": {"n": len(faults), "share": _share(faults)},
            "quiet": {"n": len(quiet), "share": _share(quiet)},
        }
    return found


def _accused(judged: Sequence[Judged], threshold: Mapping[str, float]) -> dict[str, Any]:
    changed = [j.presence >= threshold.get(j.case.dataset, PRESENCE_MIN) for j in judged]
    told = [c and users_notice(j.felt) is not False for c, j in zip(changed, judged, strict=True)]
    kinds: dict[str, list[bool]] = {}
    for one, accused in zip(judged, told, strict=True):
        kinds.setdefault(one.labels.fault_type, []).append(accused)
    return {
        "n": len(judged),
        "accused": _share(told),
        "changed": _share(changed),
        "by_kind": {k: {"n": len(v), "accused": sum(v)} for k, v in sorted(kinds.items())},
    }


def _share(told: Sequence[bool]) -> float:
    return round(sum(told) / max(len(told), 1), 4)
