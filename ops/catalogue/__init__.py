"""Metric catalogue: series -> role, entity, kind, resource class. The data are in roles.toml."""

from __future__ import annotations

from ops.catalogue.matcher import Catalogue, RoleInfo, plain_name
from ops.catalogue.unlisted import WithUnlisted

__all__ = ["Catalogue", "RoleInfo", "WithUnlisted", "plain_name"]
