"""Huawei's function traces: cold starts and requests, two CSV tables read by column name.

The front end's columns may be empty. Printed samples carry an index column without a name,
a row of `...` and cut request ids: the row is counted as a cut mark, of an id only the first
16 hexadecimal digits are used. Rows are put in order of time; ties keep file order.

Source: sir-lab/data-release; "Serverless Cold Starts and Where to Find Them", EuroSys 2025.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.workload.formats.cells import Cells, Table
from serving.workload.formats.columns import Column
from serving.workload.formats.numerals import Ints, Unsure
from serving.workload.formats.rows import (
    SECONDS_MAX,
    BadRow,
    CutMark,
    Header,
    RowReader,
    TraceFormat,
    column_names,
    parse_count,
    parse_number,
)
from serving.workload.starts import SUM_SLACK_RATIO, SUM_SLACK_S, ColdStarts, Invocations, Pods

REQUEST, POD = "requestID", "podID"
CLUSTER, FUNCTION, TENANT, DAY = "clusterName", "funcName", "userID", "day"
TOTAL = "totalCost_cold_start"
PARTS = ("podAllocationCost", "deployCodeCost", "deployDependencyCost", "schedulingCost")
START_COUNTS = (DAY, CLUSTER, FUNCTION, TENANT)
START_NUMBERS = ("time", TOTAL, *PARTS)
CALL_COUNTS = (CLUSTER, FUNCTION, TENANT)
CALL_NUMBERS = (
    *("time_worker", "totalCost_worker", "workerCost", "runtimeCost"),
    *("cpu_usage", "memory_usage"),
)
FRONT_END = (
    *("time_frontend", "totalCost_frontend", "frontendCost", "busCost"),
    *("readBodyCost", "writeRspCost", "requestBodySize"),
)
CLUSTER_MAX, ID_MAX = 255, 2**31 - 1
KEY_CHARS, REQUEST_CHARS_MAX = 16, 80
REQUEST_ID = re.compile(r"[0-9a-fA-F]{16}")
POD_NAME = re.compile(r"pool(\d{1,6})-(\d{1,9})-(\d{1,9})-(\d{1,15})", re.ASCII)
POD_NUMBER_CHARS = 10  # of every pod seen so far; others are read one at a time
POD_CODES = {"pool": "i", "cpu": "i", "mem": "i", POD: "q"}
CUT = "..."


class HuaweiReader:
    """What both tables share: counts, numbers, the request's key and the pod's name."""

    __slots__ = (
        "_at",
        "_cells",
        "_columns",
        "_counts",
        "_numbers",
        "_optional",
        "_pools",
        "_width",
    )

    def __init__(
        self,
        file_name: str,
        line: str,
        *,
        counts: Sequence[str],
        numbers: Sequence[str],
        optional: Sequence[str] = (),
    ) -> None:
        header = Header(file_name, line, (*counts, *numbers, *optional, REQUEST, POD))
        self._cells, self._width = header.cells, header.width
        self._counts, self._numbers, self._optional = tuple(counts), (*numbers,), (*optional,)
        names = (*counts, *numbers, *optional, REQUEST, POD)
        self._at = {name: header.at(name) for name in names}
        self._columns: dict[str, Column] = {
            **{name: Column("B" if name == CLUSTER else "i") for name in counts},
            **{name: Column("d") for name in (*numbers, *optional)},
            REQUEST: Column("Q"),
            **{name: Column(code) for name, code in POD_CODES.items()},
        }

    def block(self, raw: bytes) -> None:
        """Take whole lines."""
        table = Cells(raw).table(self._width)
        counts = [table.counts(self._at[n], limit=_count_max(n)) for n in self._counts]
        names = (*self._numbers, *self._optional)
        numbers = table.optional_decimals([self._at[n] for n in names], limit=SECONDS_MAX)
        if np.isnan(numbers[: len(self._numbers)]).any():
            raise Unsure
        if TOTAL in names and _off_sum(numbers[1], numbers[2:6].sum(axis=0)).any():
            raise Unsure
        starts, ends = table.span(self._at[REQUEST])
        keys, good = table.cells.text.hex_keys(starts)
        lengths = ends - starts
        if not (good & (lengths >= KEY_CHARS) & (lengths <= REQUEST_CHARS_MAX)).all():
            raise Unsure
        pods = self._pod_columns(table)
        for name, values in zip(
            (*self._counts, *names, REQUEST, *POD_CODES),
            (*counts, *numbers, keys, *pods),
            strict=True,
        ):
            self._columns[name].grow(values)

    def row(self, line: str) -> None:
        """Take one row."""
        cells = self._cells(line)
        if set(cells) == {CUT}:
            raise CutMark
        values: dict[str, float] = {}
        for name in self._counts:
            values[name] = parse_count(cells[self._at[name]], name, limit=_count_max(name))
        for name in (*self._numbers, *self._optional):
            text = cells[self._at[name]]
            unknown = not text and name in self._optional
            values[name] = float("nan") if unknown else parse_number(text, name, limit=SECONDS_MAX)
        if TOTAL in values:
            _refuse_off_sum(values)
        request = cells[self._at[REQUEST]]
        if not REQUEST_ID.match(request) or len(request) > REQUEST_CHARS_MAX:
            raise BadRow(
                "not a request id",
                column=REQUEST,
                value=request,
                expected=f"{KEY_CHARS} hexadecimal digits or more",
            )
        values[REQUEST] = int(request[:KEY_CHARS], 16)
        pod = _parse_pod(cells[self._at[POD]])
        values.update(zip(POD_CODES, pod, strict=True))
        for name, value in values.items():
            self._columns[name].append(value)

    def _pod_columns(self, table: Table) -> Sequence[NDArray[Any]]:
        starts, ends = table.span(self._at[POD])
        cut = ends - POD_NUMBER_CHARS
        text = table.cells.text
        number, good = text.numbers(cut, ends)
        good &= (cut - 1 > starts) & (text.bytes[cut - 1] == ord("-"))
        if not good.all():
            return tuple(np.array([_parse_pod(pod) for pod in table.texts(self._at[POD])]).T)
        sizes: list[tuple[int, int, int]] = []

        def code_of(prefix: str) -> int:
            sizes.append(_parse_pod(prefix + "-0")[:3])
            return len(sizes) - 1

        codes: Ints = text.codes(starts, cut - 1, code_of)
        return (*np.array(sizes)[codes].T, number)

    def _frozen(self, time_column: str) -> dict[str, NDArray[Any]]:
        """All columns in order of time."""
        columns = {name: column.frozen() for name, column in self._columns.items()}
        stamps = columns[time_column]
        if (np.diff(stamps) < 0).any():
            order = np.argsort(stamps, kind="stable")
            columns = {name: column[order] for name, column in columns.items()}
        return columns


class ColdStartsReader(HuaweiReader):
    """Rows of one file of cold starts."""

    __slots__ = ()

    def table(self, trace_id: str) -> ColdStarts:
        """The rows taken so far."""
        columns = self._frozen("time")
        alloc, code, deps, scheduling = (columns[name] for name in PARTS)
        return ColdStarts(
            trace_id=trace_id,
            t_s=columns["time"],
            day=columns[DAY],
            cluster=columns[CLUSTER],
            function_id=columns[FUNCTION],
            tenant_id=columns[TENANT],
            request_key=columns[REQUEST],
            cold_start_s=columns[TOTAL],
            pod_alloc_s=alloc,
            deploy_code_s=code,
            deploy_deps_s=deps,
            scheduling_s=scheduling,
            pod=_pods(columns),
        )


class RequestsReader(HuaweiReader):
    """Rows of one file of requests."""

    __slots__ = ()

    def table(self, trace_id: str) -> Invocations:
        """The rows taken so far."""
        columns = self._frozen("time_worker")
        return Invocations(
            trace_id=trace_id,
            worker_at_s=columns["time_worker"],
            frontend_at_s=columns["time_frontend"],
            request_key=columns[REQUEST],
            cluster=columns[CLUSTER],
            function_id=columns[FUNCTION],
            tenant_id=columns[TENANT],
            pod=_pods(columns),
            worker_total_s=columns["totalCost_worker"],
            worker_s=columns["workerCost"],
            runtime_s=columns["runtimeCost"],
            frontend_total_s=columns["totalCost_frontend"],
            frontend_s=columns["frontendCost"],
            bus_s=columns["busCost"],
            read_body_s=columns["readBodyCost"],
            write_response_s=columns["writeRspCost"],
            cpu_cores=columns["cpu_usage"],
            memory_mb=columns["memory_usage"],
            body_bytes=columns["requestBodySize"],
        )


def _pods(columns: dict[str, NDArray[Any]]) -> Pods:
    return Pods(
        pool=columns["pool"], cpu_milli=columns["cpu"], mem_mb=columns["mem"], number=columns[POD]
    )


def _count_max(name: str) -> int:
    return CLUSTER_MAX if name == CLUSTER else ID_MAX


def _off_sum(total: Any, parts: Any) -> Any:
    return abs(total - parts) > SUM_SLACK_S + SUM_SLACK_RATIO * total


def _refuse_off_sum(values: dict[str, float]) -> None:
    first, second, third, fourth = (values[name] for name in PARTS)
    parts = first + second + third + fourth
    if _off_sum(values[TOTAL], parts):
        raise BadRow(
            "parts do not add up",
            column=TOTAL,
            value=values[TOTAL],
            expected=f"the sum of its parts, {parts:.6f}, within 1 ms + 0.1 %",
        )


def _parse_pod(text: str) -> tuple[int, int, int, int]:
    match = POD_NAME.fullmatch(text)
    if match is None or max(int(match[2]), int(match[3])) > ID_MAX:
        raise BadRow(
            "not a pod id", column=POD, value=text, expected="poolNN-<mcores>-<MB>-<number>"
        )
    pool, cpu, mem, number = map(int, match.groups())
    return pool, cpu, mem, number


def _holds_cold_starts(line: str) -> bool:
    names = column_names(line)
    return TOTAL in names or "schedulingCost" in names


def _holds_requests(line: str) -> bool:
    names = column_names(line)
    return "time_worker" in names or "totalCost_worker" in names


def _cold_starts(file_name: str, line: str) -> RowReader:
    return ColdStartsReader(file_name, line, counts=START_COUNTS, numbers=START_NUMBERS)


def _requests(file_name: str, line: str) -> RowReader:
    return RequestsReader(
        file_name, line, counts=CALL_COUNTS, numbers=CALL_NUMBERS, optional=FRONT_END
    )


COLD_STARTS = TraceFormat(
    name="huawei-cold-starts",
    has_header=True,
    recognises=_holds_cold_starts,
    reader=_cold_starts,
    rows_are="cold starts",
)
REQUESTS = TraceFormat(
    name="huawei-requests",
    has_header=True,
    recognises=_holds_requests,
    reader=_requests,
    rows_are="invocations of functions",
)
