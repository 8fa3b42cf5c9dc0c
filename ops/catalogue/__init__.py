"""Metric catalogue: series -> role, entity, kind, resource class. The data are in roles.toml."""

from __future__ import annotations

from ops.catalogue.matcher import Catalogue, RoleInfo, plain_name

__all__ = ["Catalogue", "RoleInfo", "plain_name"]
