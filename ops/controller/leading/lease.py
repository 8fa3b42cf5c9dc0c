"""Who leads: a Lease of coordination.k8s.io, decided by a pure core.

Source: client-go's leader election (the record's meaning, the local observation of its changes).
Differs: the monotonic clock only; the time of a renewal is the moment before it was sent, so that
the holder stops before anybody else can begin; the Lease is given up at an orderly end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ops.controller.settings import LeaseSettings
from ops.errors import KubeError

ADDRESS = "midwatch.dev/webhook"  # annotation: where the holder takes alerts
_CONFLICTS = (404, 409)  # somebody else was faster, or deleted it: look again


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A Lease object as it was read."""

    holder: str = ""
    duration_s: float = 0.0
    renewed_at: str = ""
    acquired_at: str = ""
    transitions: int = 0
    version: str = ""  # resourceVersion
    address: str = ""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> LeaseRecord:
        """What an object says; fields that are absent or of the wrong type count as empty."""
        spec, meta = body.get("spec") or {}, body.get("metadata") or {}
        return cls(
            holder=str(spec.get("holderIdentity") or ""),
            duration_s=float(spec.get("leaseDurationSeconds") or 0),
            renewed_at=str(spec.get("renewTime") or ""),
            acquired_at=str(spec.get("acquireTime") or ""),
            transitions=int(spec.get("leaseTransitions") or 0),
            version=str(meta.get("resourceVersion") or ""),
            address=str((meta.get("annotations") or {}).get(ADDRESS) or ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectorState:
    """What one candidate knows. Times are of its own monotonic clock.

    Attributes:
        seen: the newest record, None before the first look or where there is no Lease.
        seen_at_s: when that record was first seen.
        renewed_at_s: moment before the last successful renewal was sent, None while not leading.
    """

    seen: LeaseRecord | None = None
    seen_at_s: float = 0.0
    renewed_at_s: float | None = None

    @property
    def leader_address(self) -> str:
        """Where the present holder takes alerts; empty = not known."""
        return self.seen.address if self.seen is not None and self.seen.holder else ""


def leads(state: ElectorState, *, now_s: float, renew_s: float) -> bool:
    """Whether the Lease is ours beyond doubt: the last renewal is younger than the deadline."""
    return state.renewed_at_s is not None and now_s - state.renewed_at_s < renew_s


def observe(state: ElectorState, record: LeaseRecord | None, *, now_s: float) -> ElectorState:
    """State after a look: only a change of the record starts its time anew."""
    if record == state.seen and state.seen is not None:
        return state
    return replace(state, seen=record, seen_at_s=now_s)


def may_take(state: ElectorState, *, identity: str, now_s: float) -> bool:
    """Whether the Lease is free, was given up, is ours, or has not moved for its whole duration."""
    seen = state.seen
    if seen is None or not seen.holder or seen.holder == identity:
        return True
    return now_s - state.seen_at_s > seen.duration_s


class LeaseStore(Protocol):
    """Where the Lease is kept."""

    def read(self) -> LeaseRecord | None:
        """The Lease, None where there is none. Raises KubeError without an answer."""
        ...

    def write(self, record: LeaseRecord) -> LeaseRecord:
        """Store it if it still has `record.version` (empty = does not exist); what is stored.

        Raises KubeError, 409 or 404 where somebody else was faster.
        """
        ...


class Clock(Protocol):
    """A monotonic clock that goes on while the process is stopped, and the date for people."""

    def __call__(self) -> float:
        """Seconds since some moment; never steps back."""
        ...

    def stamp(self) -> str:
        """The date as a Lease writes it (MicroTime)."""
        ...


@dataclass(slots=True, kw_only=True)
class Elector:
    """One candidate. `look` is called again and again by its owner; it keeps no thread.

    Attributes:
        identity: unique per process, also after a restart of the same pod.
        address: where this process takes alerts when it leads.
    """

    leases: LeaseStore
    identity: str
    settings: LeaseSettings
    address: str = ""
    state: ElectorState = field(default_factory=ElectorState)

    def held(self, now_s: float) -> bool:
        """Whether this process may write at `now_s`."""
        return leads(self.state, now_s=now_s, renew_s=self.settings.renew_seconds)

    def look(self, clock: Clock) -> bool:
        """One try to take or keep the Lease; afterwards whether it is held.

        Raises:
            KubeError: no usable answer; the state is as it was.
        """
        state = self.state
        if not self.held(clock()):
            state = observe(state, self.leases.read(), now_s=clock())
            self.state = replace(state, renewed_at_s=None)
            if not may_take(state, identity=self.identity, now_s=clock()):
                return False
        sent_at_s = clock()
        record = self._claim(state.seen, clock)
        try:
            stored = self.leases.write(record)
        except KubeError as error:
            no_namespace = error.status == 404 and not record.version
            if error.status not in _CONFLICTS or no_namespace:
                raise
            # Never believed: what is stored now is read at the next look.
            known = observe(self.state, self.leases.read(), now_s=clock())
            lost = known.seen is None or known.seen.holder != self.identity
            self.state = replace(known, renewed_at_s=None if lost else known.renewed_at_s)
            return self.held(clock())
        self.state = ElectorState(seen=stored, seen_at_s=clock(), renewed_at_s=sent_at_s)
        return self.held(clock())

    def release(self, clock: Clock) -> None:
        """Give the Lease up, so that another need not wait for it to expire.

        Raises:
            KubeError: no usable answer; it then expires by itself.
        """
        if not self.held(clock()) or self.state.seen is None:
            return
        free = replace(self.state.seen, holder="", duration_s=1.0, address="")
        self.state = replace(self.state, renewed_at_s=None)  # before it is sent: no write follows
        self.leases.write(free)

    def _claim(self, seen: LeaseRecord | None, clock: Clock) -> LeaseRecord:
        now = clock.stamp()
        ours = seen is not None and seen.holder == self.identity
        base = seen or LeaseRecord()
        return replace(
            base,
            holder=self.identity,
            duration_s=float(self.settings.duration_seconds),
            renewed_at=now,
            acquired_at=base.acquired_at if ours else now,
            transitions=base.transitions + (0 if ours or seen is None else 1),
            address=self.address,
        )
