"""Replay: a simulated fleet behind the ports, scenarios, faults, checks, sweeps."""

from __future__ import annotations
