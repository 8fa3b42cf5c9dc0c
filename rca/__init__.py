"""Root cause analysis: change scores, topology, Granger causality, ranking. Knows no world."""

from __future__ import annotations
