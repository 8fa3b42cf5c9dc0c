"""Load windows, cold starts and invocations written as ServeGen and Huawei publish them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.workload.export import open_packed
from serving.workload.formats import huawei, servegen
from serving.workload.starts import ColdStarts, Invocations, Pods
from serving.workload.windows import GapLaw, LoadWindows, TokenQuantiles

LAW_NAMES = {law: name for name, law in servegen.LAWS.items()} | {GapLaw.NONE: ""}
POD_DIGITS = huawei.POD_NUMBER_CHARS
KEY_DIGITS = huawei.KEY_CHARS


def write_windows(table: LoadWindows, path: Path, *, client: int | None = None) -> None:
    """Write load windows with a header, or those of one client as its chunk without one."""
    rows = np.arange(len(table)) if client is None else np.flatnonzero(table.client == client)
    columns: list[Iterable[str]] = [] if client is not None else [map(str, table.client[rows])]
    columns += [
        numbers(table.start_s[rows]),
        numbers(table.rate_rps[rows]),
        numbers(table.iat_cv[rows]),
        (LAW_NAMES[GapLaw(code)] for code in table.law[rows]),
        numbers(table.shape[rows]),
        numbers(table.scale[rows]),
    ]
    _write(path, servegen.WINDOW_COLUMNS if client is None else (), columns)


def write_quantiles(table: TokenQuantiles, path: Path) -> None:
    """Write token quantiles per client and block."""
    columns: list[Iterable[str]] = [
        map(str, table.client),
        numbers(table.start_s),
        (table.fields[code] for code in table.field),
        numbers(table.mean),
        *map(numbers, table.quantiles),
        numbers(table.maximum),
        map(str, table.support),
    ]
    _write(path, servegen.TOKEN_COLUMNS, columns)


def write_cold_starts(table: ColdStarts, path: Path) -> None:
    """Write cold starts; of a request's id the 16 digits that were read."""
    parts = (table.pod_alloc_s, table.deploy_code_s, table.deploy_deps_s, table.scheduling_s)
    columns: list[Iterable[str]] = [
        map(str, table.day),
        numbers(table.t_s),
        map(str, table.cluster),
        map(str, table.function_id),
        map(str, table.tenant_id),
        _keys(table.request_key),
        numbers(table.cold_start_s),
        *map(numbers, parts),
        _pod_names(table.pod),
    ]
    names = (huawei.DAY, "time", huawei.CLUSTER, huawei.FUNCTION, huawei.TENANT, huawei.REQUEST)
    _write(path, (*names, huawei.TOTAL, *huawei.PARTS, huawei.POD), columns)


def write_invocations(table: Invocations, path: Path) -> None:
    """Write invocations; what the front end did not record becomes an empty cell."""
    columns: dict[str, Iterable[str]] = {
        "time_worker": numbers(table.worker_at_s),
        "time_frontend": numbers(table.frontend_at_s),
        huawei.REQUEST: _keys(table.request_key),
        huawei.CLUSTER: map(str, table.cluster),
        huawei.FUNCTION: map(str, table.function_id),
        huawei.POD: _pod_names(table.pod),
        huawei.TENANT: map(str, table.tenant_id),
        "totalCost_worker": numbers(table.worker_total_s),
        "workerCost": numbers(table.worker_s),
        "runtimeCost": numbers(table.runtime_s),
        "totalCost_frontend": numbers(table.frontend_total_s),
        "frontendCost": numbers(table.frontend_s),
        "busCost": numbers(table.bus_s),
        "readBodyCost": numbers(table.read_body_s),
        "writeRspCost": numbers(table.write_response_s),
        "cpu_usage": numbers(table.cpu_cores),
        "memory_usage": numbers(table.memory_mb),
        "requestBodySize": numbers(table.body_bytes),
    }
    _write(path, tuple(columns), list(columns.values()))


def numbers(column: NDArray[np.float64]) -> Iterable[str]:
    """Shortest text that reads back as the same double; NaN is an empty cell."""
    for value in column.tolist():
        yield "" if value != value else repr(value).removesuffix(".0")


def _keys(column: NDArray[np.uint64]) -> Iterable[str]:
    return (f"{key:0{KEY_DIGITS}x}" for key in column.tolist())


def _pod_names(pods: Pods) -> Iterable[str]:
    sizes = (pods.pool.tolist(), pods.cpu_milli.tolist(), pods.mem_mb.tolist())
    for pool, cpu, mem, number in zip(*sizes, pods.number.tolist(), strict=True):
        yield f"pool{pool}-{cpu}-{mem}-{number:0{POD_DIGITS}d}"


def _write(path: Path, header: Sequence[str], columns: Sequence[Iterable[Any]]) -> None:
    with open_packed(path) as out:
        if header:
            out.write((",".join(header) + "\n").encode())
        out.writelines((",".join(row) + "\n").encode() for row in zip(*columns, strict=True))
