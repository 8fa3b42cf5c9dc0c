"""Why labels match no pod, and which labels near them some pod carries. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from heapq import nsmallest

from ops.adapters.kube.records import HASH_LABEL, PodRow

SHOWN_MAX = 5
_ALIKE_MAX = 64  # values that are compared letter by letter: of a Job's pods each has its own
_NEAR = 0.5  # how alike two keys must be to be named beside each other


def why_unmatched(
    match_labels: Mapping[str, str], pods: Iterable[PodRow], *, namespace: str
) -> str:
    """One sentence: what was wanted, and what is there.

    Args:
        pods: all of the namespace, of which none carries all of `match_labels`.
    """
    carried: dict[str, set[str]] = {}
    num_pods = 0
    for pod in pods:
        num_pods += 1
        for key, value in pod.labels:
            if key != HASH_LABEL:
                carried.setdefault(key, set()).add(value)
    wanted = ",".join(f"{key}={value}" for key, value in sorted(match_labels.items()))
    told = f"spec.selector {wanted or '(every pod)'} matches no pod of namespace {namespace}"
    if not num_pods:
        return f"{told}, which has none"
    amiss = {k: v for k, v in sorted(match_labels.items()) if v not in carried.get(k, ())}
    if not amiss:
        return f"{told}: each label is there, but no pod carries all of them, or it has ended"
    hints = [_hint(key, value, carried) for key, value in amiss.items()]
    return f"{told}: {'; '.join(hints)}"


def _hint(key: str, value: str, carried: Mapping[str, set[str]]) -> str:
    if key in carried:
        return f"{key} is {_few(value, carried[key])} there"
    near = difflib.get_close_matches(key, sorted(carried), n=SHOWN_MAX, cutoff=_NEAR)
    keys = near or sorted(carried)[:SHOWN_MAX]
    if not keys:
        return f"no pod there carries {key}, nor any other label"
    shown = ", ".join(f"{one}={_few(value, carried[one], most=2)}" for one in keys)
    return f"no pod there carries {key}; they carry {shown}"


def _few(value: str, values: set[str], *, most: int = SHOWN_MAX) -> str:
    """Values, the likest first."""
    near = nsmallest(_ALIKE_MAX, values, key=lambda one: (one[:3] != value[:3], one))
    alike = {one: difflib.SequenceMatcher(a=value, b=one).ratio() for one in near}
    ordered = sorted(near, key=lambda one: (-alike[one], one))
    more = f" or {len(values) - most} more" if len(values) > most else ""
    return " or ".join(ordered[:most]) + more
