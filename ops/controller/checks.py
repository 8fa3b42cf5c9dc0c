"""Conditions of the operator itself, for /readyz."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ops.adapters.kube.rights import Right
from ops.controller.leading.leadership import Leadership
from ops.controller.probes import Check


def operator_checks(
    leadership: Leadership,
    *,
    listed: bool,
    num_fleets: int,
    forbidden: Iterable[Right],
    watch_trouble: str,
    file_faults: Sequence[str] = (),
) -> tuple[Check, ...]:
    """What a person asks first: who leads, what is watched, what is forbidden."""
    leads = leadership.leader_address is None
    missing = sorted({str(right) for right in forbidden})
    return (
        Check(
            type="Elected",
            ok=leads or bool(leadership.holder),
            reason="Leads" if leads else "Waits" if leadership.holder else "NoLeader",
            message=leadership.last_error or f"held by {leadership.holder or 'nobody'}",
            needed=True,
        ),
        Check(
            type="FleetsListed",
            ok=listed or not leads,
            reason="Listed" if listed else "NotYet" if leads else "Standby",
            message=f"{num_fleets} fleets are watched",
            needed=True,
        ),
        Check(
            type="KindsWatched",
            ok=not watch_trouble,
            reason="Refused" if watch_trouble else "Watched" if leads else "Standby",
            message=watch_trouble,
        ),
        Check(
            type="Authorized",
            ok=not missing,
            reason="RightMissing" if missing else "Granted",
            message="; ".join(missing),
        ),
        Check(
            type="FilesReadable",
            ok=not file_faults,
            reason="Unusable" if file_faults else "Readable",
            message="; ".join(file_faults),
        ),
    )
