"""Simulator: event kernel, cost model, engine instances on simulated time."""

from __future__ import annotations
