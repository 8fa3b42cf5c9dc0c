"""Pods that metrics name and the cluster does not have: of another cluster, or of none."""

from __future__ import annotations

from collections.abc import Collection


class UnknownPods:
    """Remembers since when each was unknown: one that starts is measured before it is seen."""

    def __init__(self) -> None:
        """Start with none."""
        self._since_s: dict[str, float] = {}

    def take(self, names: Collection[str], *, now_s: float) -> None:
        """Note who is unknown in the newest reading; who is not among them is known or gone."""
        self._since_s = {name: self._since_s.get(name, now_s) for name in names}

    def lasting(self, *, now_s: float, for_s: float) -> tuple[str, ...]:
        """Who has been unknown for so long, sorted."""
        return tuple(sorted(n for n, since_s in self._since_s.items() if now_s - since_s >= for_s))
