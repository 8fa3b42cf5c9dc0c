"""One reader per public trace, behind `read_trace`."""

from __future__ import annotations

from serving.workload.formats.registry import (
    FORMATS,
    ReadReport,
    iter_trace,
    read_table,
    read_trace,
)
from serving.workload.formats.requests_csv import write_csv

__all__ = ["FORMATS", "ReadReport", "iter_trace", "read_table", "read_trace", "write_csv"]
