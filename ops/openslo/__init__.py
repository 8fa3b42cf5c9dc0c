"""OpenSLO v1 documents -> limits per class of requests. Pure: no file, no YAML."""

from __future__ import annotations

from ops.openslo.read import OpenSlo, read_openslo
from ops.openslo.values import Budgeting, BurnCondition, SloClass

__all__ = ["Budgeting", "BurnCondition", "OpenSlo", "SloClass", "read_openslo"]
