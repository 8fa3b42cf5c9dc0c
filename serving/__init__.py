"""LLM serving: workloads, one serving instance without I/O, policies, simulator."""

from __future__ import annotations
