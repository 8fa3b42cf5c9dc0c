"""Data of cold starts. No algorithm lives here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One observed start of a pod."""

    region: str
    service: str
    created_at_s: float
    ready_at_s: float

    @property
    def cold_start_s(self) -> float:
        """Time from the pod's creation until it served."""
        return self.ready_at_s - self.created_at_s
