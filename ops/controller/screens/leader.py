"""Whether an operator still leads, from its Lease: else everything stored is from before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.controller.screens.stored import moment
from ops.reports import words

LEASE = "midwatch-operator"
SILENT_S = 60.0  # the clocks of two machines differ, too


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


def no_lease(namespace: str) -> str:
    """What it means that the Lease of the shipped manifests is not there."""
    return (
        f"No operator leads: there is no Lease {LEASE} in namespace {namespace}. Nothing is "
        "watched, unless midwatch was installed under another name."
    )
