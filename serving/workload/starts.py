"""Cold starts and invocations of a function service: the two tables that Huawei publishes.

They are no requests to a language model; they stand here because the readers do, and because
`coldstart` and `serving` do not know each other. Whoever needs them takes the columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.workload.windows import refuse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SmallInts = NDArray[np.int32]

SUM_SLACK_S, SUM_SLACK_RATIO = 1e-3, 1e-3  # parts are printed with fewer digits than the sum


@dataclass(slots=True, kw_only=True)
class Pods:
    """Pods as their names tell them, `poolNN-<mcores>-<MB>-<id>`, a column each, [n]."""

    pool: SmallInts
    cpu_milli: SmallInts
    mem_mb: SmallInts
    number: Ints


@dataclass(slots=True, kw_only=True)
class ColdStarts:
    """One row a cold start, in order of time, a column each, [n].

    `request_key` is the number that the first 16 hexadecimal digits of the request's id give:
    it joins with `Invocations`, and a request may cause several cold starts.

    Source: sir-lab/data-release; "Serverless Cold Starts and Where to Find Them", EuroSys 2025.
    """

    trace_id: str
    t_s: Floats  # from the start of day 0 of the data set
    day: SmallInts
    cluster: NDArray[np.uint8]
    function_id: SmallInts
    tenant_id: SmallInts
    request_key: NDArray[np.uint64]
    cold_start_s: Floats
    pod_alloc_s: Floats
    deploy_code_s: Floats
    deploy_deps_s: Floats
    scheduling_s: Floats
    pod: Pods

    def __len__(self) -> int:
        return len(self.t_s)

    def off_sum(self) -> NDArray[np.bool_]:
        """Rows whose parts do not add up to the whole within 1 ms + 0.1 %, [n]."""
        parts = self.pod_alloc_s + self.deploy_code_s + self.deploy_deps_s + self.scheduling_s
        slack = SUM_SLACK_S + SUM_SLACK_RATIO * self.cold_start_s
        result: NDArray[np.bool_] = np.abs(self.cold_start_s - parts) > slack
        return result

    def check(self) -> None:
        """Hold the table against its invariants.

        Raises:
            TraceFormatError: the first invariant broken, with the row and the value seen.
        """
        refuse(self, np.diff(self.t_s, prepend=self.t_s[:1]) < 0, "t_s", "sorted")
        parts = ("pod_alloc_s", "deploy_code_s", "deploy_deps_s", "scheduling_s", "cold_start_s")
        for name in parts:
            refuse(self, ~(getattr(self, name) >= 0), name, ">= 0")


@dataclass(slots=True, kw_only=True)
class Invocations:
    """One row a call of a function, in order of the worker's clock, a column each, [n].

    NaN stands for what the front end did not record.
    """

    trace_id: str
    worker_at_s: Floats
    frontend_at_s: Floats
    request_key: NDArray[np.uint64]
    cluster: NDArray[np.uint8]
    function_id: SmallInts
    tenant_id: SmallInts
    pod: Pods
    worker_total_s: Floats
    worker_s: Floats
    runtime_s: Floats
    frontend_total_s: Floats
    frontend_s: Floats
    bus_s: Floats
    read_body_s: Floats
    write_response_s: Floats
    cpu_cores: Floats
    memory_mb: Floats
    body_bytes: Floats

    def __len__(self) -> int:
        return len(self.worker_at_s)

    def check(self) -> None:
        """Hold the table against its invariants.

        Raises:
            TraceFormatError: the first invariant broken, with the row and the value seen.
        """
        stamps = self.worker_at_s
        refuse(self, np.diff(stamps, prepend=stamps[:1]) < 0, "worker_at_s", "sorted")
        for name in ("worker_total_s", "worker_s", "runtime_s", "cpu_cores", "memory_mb"):
            refuse(self, getattr(self, name) < 0, name, ">= 0 or NaN")
