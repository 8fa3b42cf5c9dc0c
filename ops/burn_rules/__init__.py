"""Limits per class of requests -> Prometheus rules: what is recorded, and when a budget burns.

Pure data; nothing is asked and nothing is written.
"""

from __future__ import annotations

from ops.burn_rules.rules import FleetName, rule_file, rule_object

__all__ = ["FleetName", "rule_file", "rule_object"]
