"""Every damaged trace is a TraceFormatError that names the file: format x corruption."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.errors import TraceFormatError
from serving.workload import FORMATS as READERS
from serving.workload import generate, read_table, read_trace, write_csv
from serving.workload.formats.lines import LINE_BYTES_MAX

AZURE = [
    "TIMESTAMP,ContextTokens,GeneratedTokens",
    "2023-11-16 18:15:46.6805900,374,44",
    "2023-11-16 18:15:50.9951690,396,109",
    "2023-11-16 18:15:51.2224670,879,55",
]
BURSTGPT = [
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "5,ChatGPT,472,18,490,Conversation log",
    "45,GPT-4,1087,230,1317,API log",
    "118,GPT-4,417,0,417,Conversation log",
]
BURSTGPT_3 = [
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "5,0af3-11,2,ChatGPT,472,18,490,Conversation log",
    "45,,3,GPT-4,1087,230,1317,API log",
    "118,0af3-11,9,GPT-4,417,60,477,Conversation log",
]
MOONCAKE = [
    '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}',
    '{"timestamp": 3000, "input_length": 512, "output_length": 9, "hash_ids": [0]}',
    '{"timestamp": 3000, "input_length": 1, "output_length": 2, "hash_ids": [7]}',
]
REQUESTS = [
    "trace_id,arrival_s,kind,model,num_prompt_tokens,num_output_tokens,status,session_index,"
    "e2e_s,prefix_block_tokens,prefix_ids,origin",
    "t,0.5,api,m,10,3,ok,,,4,1 2 3,real",
    "t,1.5,conversation,m,4,0,failed,0,0.25,4,1,real",
    "t,2.5,api,m,9,3,unknown,1,,4,1 2 5,real",
]
MULTIMODAL = [
    "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens",
    "2024-10-15 00:00:00.100000+00:00,1,374,44",
    "2024-10-15 00:00:01+00:00,0,396,109",
    "2024-10-15 00:00:01.500000+00:00,12,879,55",
]
BAILIAN = [
    '{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 20, '
    '"output_length": 5, "type": "text", "turn": 1, "hash_ids": [0, 1]}',
    '{"chat_id": 2, "parent_chat_id": 1, "timestamp": 3.25, "input_length": 16, '
    '"output_length": 9, "type": "search", "turn": 2, "hash_ids": [0]}',
    '{"chat_id": 3, "parent_chat_id": 9, "timestamp": 3.25, "input_length": 1, '
    '"output_length": 2, "type": "image", "turn": 4, "hash_ids": [7]}',
]
SERVEGEN = [
    "client,window_start_s,rate_rps,iat_cv,iat_dist,iat_p0,iat_p1",
    "0,0,1.33167,8.5984,Weibull,0.37535,0.39677",
    "4,0,0.08667,1.4203,Gamma,0.4957,12.03258",
    "5,600,0.125,1.4763,Gamma,0.45885,0.30647",
]
TOKENS = [
    "client,block_start_s,field,mean,p05,p25,p50,p75,p90,p95,p99,max,support",
    "0,0,input_tokens,427.5,234,251,275,311,380,422,4826,5073,387",
    "0,0,output_tokens,147.47,55,61,73,101,196,271,1857,2576,498",
    "3,21600,input_tokens,1082.54,695,732,787,1158,1801,2297,4242,10445,1636",
]
COLD_STARTS = [
    "day,time,clusterName,funcName,userID,requestID,totalCost_cold_start,podAllocationCost,"
    "deployCodeCost,deployDependencyCost,schedulingCost,podID",
    "0,0.104,1,332,439,5d990e049d11666fa09b51971c30877a,0.91109,0.00059,0.001,0,0.9095,"
    "pool22-300-128-0006319574",
    "0,0.226,2,462,431,3e1e354e1640b47e684061bd847dd877,0.193592,0.000786,0.042,0,0.150806,"
    "pool22-300-128-0005156468",
    "0,0.245,2,2016,556,b4b1286ba72b9f3636d4b1c98909965,0.201389,0.000642,0.037,0,0.163747,"
    "pool24-600-512-0003876526",
]
CALLS = [
    "time_worker,time_frontend,requestID,clusterName,funcName,podID,userID,totalCost_worker,"
    "workerCost,runtimeCost,totalCost_frontend,frontendCost,busCost,readBodyCost,writeRspCost,"
    "cpu_usage,memory_usage,requestBodySize",
    "2592000.020,2592000.021,b54cf4cd859e62637c91fd47,3,411,pool22-300-128-0000177166,301,"
    "0.000931,0.000103,0.000829,0.002367,0.000531,0.000585,0.000025,0.000009,0.059806,34.23828,2",
    "2592000.034,2592000.037,987863989fbd048b38594549,3,34,pool22-300-128-0000014767,83,"
    "0.001416,0.000646,0.00077,0.011992,0.000377,0.009904,0.000018,0.000008,0,26.699219,120",
    "2592000.099,,e554029e37642ebfde15e7ef,4,296,pool22-300-128-0000206093,224,"
    "0.038679,0.000111,0.038568,,,,,,0.173286,32.33203,",
]
FORMATS = {
    "azure": AZURE,
    "azure_multimodal": MULTIMODAL,
    "bailian": BAILIAN,
    "servegen": SERVEGEN,
    "servegen-tokens": TOKENS,
    "huawei-cold-starts": COLD_STARTS,
    "huawei-requests": CALLS,
    "burstgpt": BURSTGPT,
    "burstgpt_3": BURSTGPT_3,
    "mooncake": MOONCAKE,
    "requests": REQUESTS,
}
JSON = ("mooncake", "bailian")
CSV = {name: rows for name, rows in FORMATS.items() if name not in JSON}

NOT_COUNTS = ["", "x", "nan", "inf", "-1", "1.5", "1e3", "9" * 25, "9" * 5000, "0x1", " 7"]
NOT_COUNTS += ["1_0", "²", "٣", "true", '"5"']
NOT_SECONDS = ["", "x", "nan", "-inf", "inf", "-1", "9" * 25, "1e400", "9" * 5000, "1_0", "\udcff"]
NOT_STAMPS = ["", "x", "nan", "0", "2023-13-16 18:15:46.1", "2023-02-30 18:15:46", "9" * 5000]
NOT_STAMPS += ["2023-11-16", "2023-11-16 24:15:46", "2023-11-16 18:60:46", "2023-11-16 18:15:61"]
NOT_STAMPS += ["2023-11-16 18:15:46.", "2023-11-16 18:15:46.1x", "2023-11-16 18:15:46+02:00"]
NOT_STAMPS += ["2023-11-16 18:15:46.1234567890", "-023-11-16 18:15:46", "2023-11-16 18.15.46"]
NOT_NAMES = ["", "a" * 65, "a\x07b", "\udcff"]
NOT_NUMBERS = ["x", "nan", "inf", "-1", "1_0", "1e400", "0x1", "1,5"[:1] + "..5", "½"]
NOT_REQUEST_IDS = ["", "5d990e049d11666", "5d990e049d11666g", "...", "f" * 81, "²" * 16]
NOT_PODS = ["", "pool22", "pool22-300-128", "pool22-300-128-", "pool22-300-x-0006319574"]
NOT_PODS += ["22-300-128-0006319574", "pool22-300-128-00063195x4", "pool22--300-128-0006319574"]
CELLS = {
    ("azure_multimodal", "NumImages"): NOT_COUNTS,
    ("azure_multimodal", "TIMESTAMP"): NOT_STAMPS[:8],
    ("servegen", "client"): NOT_COUNTS,
    ("servegen", "window_start_s"): NOT_SECONDS,
    ("servegen", "rate_rps"): ["", *NOT_NUMBERS],
    ("servegen", "iat_cv"): ["", *NOT_NUMBERS],
    ("servegen", "iat_dist"): ["", "gamma", "Pareto", "Gamma "],
    ("servegen", "iat_p0"): ["", *NOT_NUMBERS],
    ("servegen", "iat_p1"): ["", *NOT_NUMBERS],
    ("servegen-tokens", "client"): NOT_COUNTS,
    ("servegen-tokens", "block_start_s"): NOT_SECONDS,
    ("servegen-tokens", "field"): NOT_NAMES,
    ("servegen-tokens", "mean"): ["", *NOT_NUMBERS],
    ("servegen-tokens", "p50"): ["", "9999", *NOT_NUMBERS],
    ("servegen-tokens", "max"): ["", "1", *NOT_NUMBERS],
    ("servegen-tokens", "support"): NOT_COUNTS,
    ("huawei-cold-starts", "day"): NOT_COUNTS,
    ("huawei-cold-starts", "time"): NOT_SECONDS,
    ("huawei-cold-starts", "clusterName"): [*NOT_COUNTS, "256"],
    ("huawei-cold-starts", "funcName"): NOT_COUNTS,
    ("huawei-cold-starts", "requestID"): NOT_REQUEST_IDS,
    ("huawei-cold-starts", "totalCost_cold_start"): ["", "0.25", *NOT_NUMBERS],
    ("huawei-cold-starts", "schedulingCost"): ["", "1.2", *NOT_NUMBERS],
    ("huawei-cold-starts", "podID"): NOT_PODS,
    ("huawei-requests", "time_worker"): NOT_SECONDS,
    ("huawei-requests", "time_frontend"): NOT_SECONDS[1:],
    ("huawei-requests", "userID"): NOT_COUNTS,
    ("huawei-requests", "requestID"): NOT_REQUEST_IDS,
    ("huawei-requests", "workerCost"): ["", *NOT_NUMBERS],
    ("huawei-requests", "busCost"): NOT_NUMBERS,
    ("huawei-requests", "podID"): NOT_PODS,
    ("azure", "TIMESTAMP"): NOT_STAMPS,
    ("azure", "ContextTokens"): NOT_COUNTS,
    ("azure", "GeneratedTokens"): NOT_COUNTS,
    ("burstgpt", "Timestamp"): NOT_SECONDS,
    ("burstgpt", "Request tokens"): NOT_COUNTS,
    ("burstgpt", "Response tokens"): NOT_COUNTS,
    ("burstgpt", "Model"): NOT_NAMES,
    ("burstgpt", "Log Type"): ["", "API", "api log", "nan"],
    ("burstgpt_3", "Timestamp"): NOT_SECONDS,
    ("burstgpt_3", "Elapsed time"): NOT_SECONDS[1:],
    ("burstgpt_3", "Session ID"): NOT_NAMES[1:],
    ("requests", "arrival_s"): NOT_SECONDS,
    ("requests", "num_prompt_tokens"): [*NOT_COUNTS, "99"],
    ("requests", "num_output_tokens"): NOT_COUNTS,
    ("requests", "session_index"): NOT_COUNTS[1:],
    ("requests", "e2e_s"): NOT_SECONDS[1:],
    ("requests", "prefix_ids"): ["", "1", "1 2 3 4", "1 2 x", "1 -2 3", "1 2 " + "9" * 25],
    ("requests", "prefix_block_tokens"): ["", "-4", "0", "8"],
    ("requests", "kind"): ["", "x"],
    ("requests", "status"): ["", "x", "failed"],
    ("requests", "origin"): ["", "x", "generated"],
    ("requests", "trace_id"): ["", "other"],
    ("requests", "model"): NOT_NAMES,
}
JSON_NOT_COUNTS = ["null", "true", '"5"', "1.5", "-1", "NaN", "9" * 25, "1e400", "[]", "{}", ""]
JSON_NOT_IDS = ["null", "[]", "[1.0]", "[true]", '["0"]', "[-1]", "[[0]]", "[0, 1]", "0"]
JSON_NOT_IDS += ["[" * 2000, "[9999999999999999999999]", "[18446744073709551615]"]
JSON_NOT_SECONDS = ["null", "true", '"5"', "-1", "NaN", "Infinity", "9" * 25, "[0]", ""]
JSON_CELLS = {
    ("mooncake", "timestamp"): JSON_NOT_SECONDS,
    ("mooncake", "input_length"): [*JSON_NOT_COUNTS, "513"],
    ("mooncake", "output_length"): JSON_NOT_COUNTS,
    ("mooncake", "hash_ids"): JSON_NOT_IDS,
    ("bailian", "chat_id"): JSON_NOT_COUNTS,
    ("bailian", "parent_chat_id"): [*JSON_NOT_COUNTS[:4], "-2", "-1.0", "--1", "-01"],
    ("bailian", "timestamp"): [*JSON_NOT_SECONDS, ".5", "5.", "05", "1.e1", "+1"],
    ("bailian", "input_length"): [*JSON_NOT_COUNTS, "17", "016"],
    ("bailian", "type"): ["null", "5", '""', "text", '"a\\u0007b"', '"' + "a" * 65 + '"'],
    ("bailian", "turn"): JSON_NOT_COUNTS,
    ("bailian", "hash_ids"): [*JSON_NOT_IDS, "[01]", "[1 ]]", "[ ,1]", "[1,]"],
}


def with_cell(name: str, column: str, value: str) -> list[str]:
    """The format's good rows, the second with one cell replaced."""
    header, first, second, last = FORMATS[name]
    # The second row of `requests` is a failure, whose zero output hides faults of others.
    cells = (first if name == "requests" else second).split(",")
    cells[header.split(",").index(column)] = value
    return [header, first, ",".join(cells), last]


def with_field(name: str, column: str, value: str) -> list[str]:
    first, second, last = FORMATS[name]
    row = {key: json.dumps(cell) for key, cell in json.loads(second).items()} | {column: value}
    return [first, "{" + ", ".join(f'"{k}": {v}' for k, v in row.items()) + "}", last]


def bad_rows() -> Iterator[tuple[str, list[str]]]:
    """(id, lines) with exactly one bad row, the second."""
    for (name, column), values in CELLS.items():
        for i, value in enumerate(values):
            yield f"{name}-{column}-{i}".replace(" ", "_"), with_cell(name, column, value)
    for (name, column), values in JSON_CELLS.items():
        for i, value in enumerate(values):
            yield f"{name}-{column}-{i}", with_field(name, column, value)
        first, second, last = FORMATS[name]
        row = json.loads(second)
        del row[column]
        yield f"{name}-{column}-absent", [first, json.dumps(row), last]
    for name, (first, *rest) in FORMATS.items():
        at = 1 if name in JSON else 2
        lines = [first, *rest]
        for what, line in {
            "blank": "",
            "dots": "...",
            "half": lines[at][: len(lines[at]) // 3],
            "one-more": lines[at] + ",0",
            "json-array": "[1, 2]",
            "header-again": first if name not in JSON else "timestamp,input_length",
            "html": "<html><body>404</body></html>",
            "commas": "," * 40,
        }.items():
            yield f"{name}-row-{what}", [*lines[:at], line, *lines[at + 1 :]]


def bad_files() -> Iterator[tuple[str, str, bytes]]:
    """(id, file suffix, content) of files that no switch can save."""
    for name, lines in FORMATS.items():
        text = ("\n".join(lines) + "\n").encode()
        packed = gzip.compress(text * 50)
        damaged = packed[:30] + bytes(b ^ 0xFF for b in packed[30:40]) + packed[40:]
        body = lines if name in JSON else lines[1:]
        yield f"{name}-gz-cut", ".txt.gz", packed[: len(packed) // 2]
        yield f"{name}-gz-one-byte-short", ".txt.gz", packed[:-1]
        yield f"{name}-gz-head-only", ".txt.gz", packed[:10]
        yield f"{name}-gz-damaged", ".txt.gz", damaged
        yield f"{name}-gz-of-nothing", ".txt.gz", gzip.compress(b"")
        yield f"{name}-plain-named-gz", ".txt.gz", text
        yield f"{name}-utf16", ".txt", text.decode().encode("utf-16")
        yield f"{name}-leading-nul", ".txt", b"\x00" + text
        yield f"{name}-endless-line", ".txt", text + b"7" * (LINE_BYTES_MAX + 1)
        yield f"{name}-gz-bomb", ".txt.gz", gzip.compress(text + b"7" * (8 << 20), 1)
        yield f"{name}-blank-first", ".txt", b"\n" + text
        yield (
            f"{name}-only-garbage-rows",
            ".txt",
            (lines[0] + "\nx\ny\n").encode()[0 if name not in JSON else len(lines[0]) + 1 :],
        )
        if name not in JSON:
            yield f"{name}-no-header", ".txt", "\n".join(body).encode()
            yield f"{name}-header-only", ".txt", lines[0].encode()
    for name, (header, *rows) in CSV.items():
        names = header.split(",")
        for column in names:
            if column in {"Total tokens", "Session ID", "Elapsed time", "NumImages"}:
                continue
            other = ",".join("other" if n == column else n for n in names)
            yield (
                f"{name}-without-{column}".replace(" ", "_"),
                ".txt",
                "\n".join([other, *rows]).encode(),
            )
        yield f"{name}-twice", ".txt", (header + "," + names[0] + "\n1,2\n").encode()
    yield "empty", ".csv", b""
    yield "newline", ".csv", b"\n"
    yield "png", ".csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    yield "zip", ".csv", b"PK\x03\x04" + bytes(40)
    yield "noise", ".csv", bytes(range(1, 256)) * 40
    yield "other-table", ".csv", b"a,b,c\n1,2,3\n"
    yield "html", ".csv", b"<html>not found</html>\n"
    yield "json-array", ".jsonl", b'[{"timestamp": 0}]\n'


def write(path: Path, lines: list[str]) -> Path:
    path.write_bytes("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
    return path


def read_as_requests(name: str) -> bool:
    return READERS[name.split("_")[0]].rows_are == "requests"


def refused(path: Path, **how: object) -> str:
    with pytest.raises(TraceFormatError) as caught:
        read_table(path, **how)
    message = str(caught.value)
    assert path.name in message
    assert len(message) < 800, "an error must be readable"
    return message


ROWS, FILES = list(bad_rows()), list(bad_files())
GROUP = 8  # cases a test: starting a test takes longer than reading a tiny file


def groups(cases: list[tuple]) -> list[object]:
    parts = [cases[start : start + GROUP] for start in range(0, len(cases), GROUP)]
    return [pytest.param(part, id=f"{part[0][0]}..{part[-1][0]}") for part in parts]


def test_the_suite_is_as_large_as_promised() -> None:
    assert len(ROWS) + len(FILES) >= 700
    assert len({case[0] for case in [*ROWS, *FILES]}) == len(ROWS) + len(FILES)


@pytest.mark.parametrize("cases", groups(ROWS))
def test_bad_row_names_place_and_switch_and_is_counted_when_skipped(
    tmp_path: Path, cases: list[tuple[str, list[str]]]
) -> None:
    for case, lines in cases:
        path = write(tmp_path / "damaged.txt", lines)
        bad_line = 2 if lines[0].startswith("{") else 3
        message = refused(path)
        assert message.startswith(f"damaged.txt:{bad_line}: column "), case
        assert "--skip-bad-rows" in message, case
        table, report = read_table(path, skip_bad_rows=True)
        table.check()
        counts = (report.rows_read, report.rows_kept, sum(report.dropped.values()))
        assert counts == (3, 2, 1), case
        assert len(table) == 2, case


# What the error says of a file, by a part of the case's id; the first part that fits counts.
SAYS = {
    "gz-of-nothing": "the file is empty",
    "plain-named-gz": "does not start with the gzip mark",
    "gz-bomb": "the line is longer than",
    "gz-cut": "cannot be read further",
    "gz-one-byte-short": "cannot be read further",
    "gz-head-only": "cannot be read further",
    "gz-damaged": "cannot be read further",
    "utf16": "binary data",
    "leading-nul": "binary data",
    "endless-line": "the line is longer than",
    "blank-first": "the first line ''",
    "header-only": "no row below its header",
    "twice": "twice",
    "empty": "the file is empty",
    "png": "binary data",
    "zip": "binary data",
    "html": "is of no known trace format",
}


@pytest.mark.parametrize("cases", groups(FILES))
def test_bad_file_is_refused_with_and_without_the_switch(
    tmp_path: Path, cases: list[tuple[str, str, bytes]]
) -> None:
    for case, suffix, content in cases:
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(content)
        says = next((text for part, text in SAYS.items() if part in case), "")
        for message in (refused(path), refused(path, skip_bad_rows=True)):
            assert says in message, case
            assert "; " in message, f"{case}: no next step in {message}"


@pytest.mark.parametrize("name", FORMATS)
def test_asking_for_the_wrong_format_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "trace.txt", FORMATS[name])
    for asked in (*READERS, "parquet"):
        if asked == name.split("_")[0]:
            assert len(read_table(path, trace_format=asked)[0]) == 3
        elif (asked, name) != ("mooncake", "bailian"):  # to the former, the latter's blocks differ
            refused(path, trace_format=asked, skip_bad_rows=True)


@pytest.mark.parametrize("name", [n for n in FORMATS if read_as_requests(n)])
def test_row_out_of_order_is_refused_or_dropped(tmp_path: Path, name: str) -> None:
    *head, middle, last = FORMATS[name]
    if name in JSON:
        last = last.replace("3000", "4000").replace("3.25", "4.25")
    path = write(tmp_path / "trace.txt", [*head, last, middle])
    assert "not before the row above" in refused(path)
    _, report = read_trace(path, skip_bad_rows=True)
    assert report.dropped == {"out of order": 1}


@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda p: p.mkdir(), "not a plain file"), (lambda p: None, "no such file")],
    ids=["folder", "absent"],
)
def test_path_that_is_no_file_is_refused(tmp_path: Path, make, says: str) -> None:
    path = tmp_path / "trace.csv"
    make(path)
    assert says in refused(path)


def test_endless_column_of_new_model_names_is_refused(tmp_path: Path) -> None:
    rows = [f"{i},model-{i},1,1,2,API log" for i in range(300)]
    message = refused(write(tmp_path / "trace.csv", [BURSTGPT[0], *rows]))
    assert message.startswith("trace.csv:258: column 'Model' is 'model-256'")


def test_reading_never_alters_what_write_csv_wrote(tmp_path: Path) -> None:
    path = tmp_path / "generated.csv"
    write_csv(generate(seed=1, duration_s=60.0, rate_rps=2.0), path)
    _, report = read_trace(path)
    assert report.dropped == {}
