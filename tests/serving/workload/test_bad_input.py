"""Every damaged trace is a TraceFormatError that names the file: format x corruption."""

from __future__ import annotations

import gzip
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.errors import TraceFormatError
from serving.workload import generate, read_trace, write_csv
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
FORMATS = {
    "azure": AZURE,
    "burstgpt": BURSTGPT,
    "burstgpt_3": BURSTGPT_3,
    "mooncake": MOONCAKE,
    "requests": REQUESTS,
}
CSV = {name: rows for name, rows in FORMATS.items() if name != "mooncake"}

NOT_COUNTS = ["", "x", "nan", "inf", "-1", "1.5", "1e3", "9" * 25, "9" * 5000, "0x1", " 7"]
NOT_COUNTS += ["1_0", "²", "٣", "true", '"5"']
NOT_SECONDS = ["", "x", "nan", "-inf", "inf", "-1", "9" * 25, "1e400", "9" * 5000, "1_0", "\udcff"]
NOT_STAMPS = ["", "x", "nan", "0", "2023-13-16 18:15:46.1", "2023-02-30 18:15:46", "9" * 5000]
NOT_STAMPS += ["2023-11-16", "2023-11-16 24:15:46", "2023-11-16 18:60:46", "2023-11-16 18:15:61"]
NOT_STAMPS += ["2023-11-16 18:15:46.", "2023-11-16 18:15:46.1x", "2023-11-16 18:15:46+02:00"]
NOT_STAMPS += ["2023-11-16 18:15:46.1234567890", "-023-11-16 18:15:46", "2023-11-16 18.15.46"]
NOT_NAMES = ["", "a" * 65, "a\x07b", "\udcff"]
CELLS = {
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
JSON_CELLS = {
    "timestamp": ["null", "true", '"5"', "-1", "NaN", "Infinity", "9" * 25, "[0]", ""],
    "input_length": [*JSON_NOT_COUNTS, "513"],
    "output_length": JSON_NOT_COUNTS,
    "hash_ids": JSON_NOT_IDS,
}


def with_cell(name: str, column: str, value: str) -> list[str]:
    """The format's good rows, the second with one cell replaced."""
    header, first, second, last = FORMATS[name]
    # The second row of `requests` is a failure, whose zero output hides faults of others.
    cells = (first if name == "requests" else second).split(",")
    cells[header.split(",").index(column)] = value
    return [header, first, ",".join(cells), last]


def with_field(column: str, value: str) -> list[str]:
    row = {key: json.dumps(cell) for key, cell in json.loads(MOONCAKE[1]).items()} | {column: value}
    return [MOONCAKE[0], "{" + ", ".join(f'"{k}": {v}' for k, v in row.items()) + "}", MOONCAKE[2]]


def bad_rows() -> Iterator[tuple[str, list[str]]]:
    """(id, lines) with exactly one bad row, the second."""
    for (name, column), values in CELLS.items():
        for i, value in enumerate(values):
            yield f"{name}-{column}-{i}".replace(" ", "_"), with_cell(name, column, value)
    for column, values in JSON_CELLS.items():
        for i, value in enumerate(values):
            yield f"mooncake-{column}-{i}", with_field(column, value)
        row = json.loads(MOONCAKE[1])
        del row[column]
        yield f"mooncake-{column}-absent", [MOONCAKE[0], json.dumps(row), MOONCAKE[2]]
    for name, (first, *rest) in FORMATS.items():
        at = 1 if name == "mooncake" else 2
        lines = [first, *rest]
        for what, line in {
            "blank": "",
            "dots": "...",
            "half": lines[at][: len(lines[at]) // 3],
            "one-more": lines[at] + ",0",
            "json-array": "[1, 2]",
            "header-again": first if name != "mooncake" else "timestamp,input_length",
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
        body = lines if name == "mooncake" else lines[1:]
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
            (lines[0] + "\nx\ny\n").encode()[0 if name != "mooncake" else len(lines[0]) + 1 :],
        )
        if name != "mooncake":
            yield f"{name}-no-header", ".txt", "\n".join(body).encode()
            yield f"{name}-header-only", ".txt", lines[0].encode()
    for name, (header, *rows) in CSV.items():
        names = header.split(",")
        for column in names:
            if column in {"Total tokens", "Session ID", "Elapsed time"}:
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


def refused(path: Path, **how: object) -> str:
    with pytest.raises(TraceFormatError) as caught:
        read_trace(path, **how)
    message = str(caught.value)
    assert path.name in message
    assert len(message) < 800, "an error must be readable"
    return message


ROWS = list(bad_rows())
FILES = list(bad_files())


def test_the_suite_is_as_large_as_promised() -> None:
    assert len(ROWS) + len(FILES) >= 200
    assert len({case[0] for case in [*ROWS, *FILES]}) == len(ROWS) + len(FILES)


@pytest.mark.parametrize("lines", [c[1] for c in ROWS], ids=[c[0] for c in ROWS])
def test_bad_row_names_place_and_switch_and_is_counted_when_skipped(
    tmp_path: Path, lines: list[str]
) -> None:
    path = write(tmp_path / "damaged.txt", lines)
    bad_line = 2 if lines[0].startswith("{") else 3
    message = refused(path)
    assert message.startswith(f"damaged.txt:{bad_line}: column ")
    assert "--skip-bad-rows" in message
    table, report = read_trace(path, skip_bad_rows=True)
    table.check()
    assert (report.rows_read, report.rows_kept, sum(report.dropped.values())) == (3, 2, 1)
    assert len(table) == 2


@pytest.mark.parametrize(("suffix", "content"), [c[1:] for c in FILES], ids=[c[0] for c in FILES])
@pytest.mark.parametrize("skip", [False, True], ids=["strict", "skip"])
def test_bad_file_is_refused_with_and_without_the_switch(
    tmp_path: Path, suffix: str, content: bytes, skip: bool
) -> None:
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    refused(path, skip_bad_rows=skip)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("asked", ["azure", "burstgpt", "mooncake", "requests", "parquet"])
def test_asking_for_the_wrong_format_is_refused(tmp_path: Path, name: str, asked: str) -> None:
    path = write(tmp_path / "trace.txt", FORMATS[name])
    if asked == name.removesuffix("_3"):
        assert len(read_trace(path, trace_format=asked)[0]) == 3
    else:
        refused(path, trace_format=asked, skip_bad_rows=True)


@pytest.mark.parametrize("name", FORMATS)
def test_row_out_of_order_is_refused_or_dropped(tmp_path: Path, name: str) -> None:
    *head, middle, last = FORMATS[name]
    if name == "mooncake":
        last = last.replace("3000", "4000")
    path = write(tmp_path / "trace.txt", [*head, last, middle])
    assert "not before the row above" in refused(path)
    _, report = read_trace(path, skip_bad_rows=True)
    assert report.dropped == {"out of order": 1}


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: None], ids=["folder", "absent"])
def test_path_that_is_no_file_is_refused(tmp_path: Path, make) -> None:
    path = tmp_path / "trace.csv"
    make(path)
    refused(path)


def test_endless_column_of_new_model_names_is_refused(tmp_path: Path) -> None:
    rows = [f"{i},model-{i},1,1,2,API log" for i in range(300)]
    message = refused(write(tmp_path / "trace.csv", [BURSTGPT[0], *rows]))
    assert message.startswith("trace.csv:258: column 'Model' is 'model-256'")


def test_damaged_input_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(AZURE[0].encode() + b"\n" + b"7" * (16 << 20), 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_reading_never_alters_what_write_csv_wrote(tmp_path: Path) -> None:
    path = tmp_path / "generated.csv"
    write_csv(generate(seed=1, duration_s=60.0, rate_rps=2.0), path)
    _, report = read_trace(path)
    assert report.dropped == {}
