"""Workload: the requests table, readers of public traces, the BurstGPT generator, replay cuts."""

from __future__ import annotations

from serving.workload.burstiness import generate
from serving.workload.export import write_trace
from serving.workload.formats import (
    FORMATS,
    ReadReport,
    iter_trace,
    read_table,
    read_trace,
    write_csv,
)
from serving.workload.prefixes import with_session_prefixes
from serving.workload.replay import cut, smear, to_rate
from serving.workload.reuse import Reuse, replay_reuse
from serving.workload.table import Kind, Origin, RequestTable, Status

__all__ = [
    "FORMATS",
    "Kind",
    "Origin",
    "ReadReport",
    "RequestTable",
    "Reuse",
    "Status",
    "cut",
    "generate",
    "iter_trace",
    "read_table",
    "read_trace",
    "replay_reuse",
    "smear",
    "to_rate",
    "with_session_prefixes",
    "write_csv",
    "write_trace",
]
