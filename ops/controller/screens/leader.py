"""Whether an operator still leads, from its Lease: else everything stored is from before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.controller.screens.stored import StoredFleet, moment
from ops.controller.screens.told import DAY_S, EPOCH
from ops.reports import words

LEASE = "midwatch-operator"
SILENT_S = 60.0  # the clocks of two machines differ, too
OLD_S = 300.0  # an operator writes every 120 s at least; one that takes over needs seconds


def leader_trouble(lease: Mapping[str, Any], *, now_s: float) -> str:
    """Why what is stored is from before; empty while a Lease is renewed.

    Args:
        lease: the object as the API server holds it.
        now_s: of this machine's clock, seconds since the epoch.
    """
    spec = lease.get("spec") or {}
    renewed_s = moment(spec.get("renewTime"))
    if renewed_s is None:
        return "No operator leads: its Lease was never renewed. Nothing is watched."
    silent_s = now_s - renewed_s
    if silent_s <= SILENT_S and spec.get("holderIdentity"):
        return ""
    if not spec.get("holderIdentity"):
        return "No operator leads: the last one gave its Lease up. Nothing is watched."
    return (
        f"No operator leads: the Lease was last renewed {words.span(silent_s // 1)} ago by this "
        "machine's clock. Nothing is watched, and what is stored is from before."
    )


def status_age(fleet: StoredFleet, *, now_s: float) -> str:
    """That what is stored of a Fleet is from before; empty where it is not, or no release told.

    Whoever may not read the Lease sees by it that nobody watches.
    """
    at_s = moment(fleet.status.observed_at)
    if at_s is None or now_s - at_s <= OLD_S:
        return ""
    ago, then = words.span((now_s - at_s) // 1), words.clock(at_s, EPOCH)
    day = "" if now_s - at_s < DAY_S else f"{words.date(at_s, EPOCH)} "
    return (
        f"Nobody has watched it for {ago}: what is shown is from {day}{then} UTC. "
        "Is an operator running?"
    )


def no_lease(namespace: str) -> str:
    """What it means that the Lease of the shipped manifests is not there."""
    return (
        f"No operator leads: there is no Lease {LEASE} in namespace {namespace}. Nothing is "
        "watched, unless midwatch was installed under another name."
    )
