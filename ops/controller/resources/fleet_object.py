"""A Fleet object, reduced to what its loop needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.adapters.kube.paths import path_of
from ops.controller.resources.fields import GROUP, VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetObject:
    """A Fleet as the server stores it."""

    namespace: str
    name: str
    uid: str
    generation: int
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> FleetObject:
        """From an object of a list or a watch."""
        meta = body.get("metadata") or {}
        return cls(
            namespace=str(meta.get("namespace", "")),
            name=str(meta.get("name", "")),
            uid=str(meta.get("uid", "")),
            generation=int(meta.get("generation") or 0),
            raw=body,
        )

    @property
    def path(self) -> str:
        """Of the object on the server."""
        return path_of(GROUP, VERSION, "fleets", self.namespace, self.name)
