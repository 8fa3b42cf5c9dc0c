"""Readers: worked rows in the public formats, the choice by first line, the CSV round trip."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from serving.workload import FORMATS, Kind, Origin, Status, generate, read_trace, write_csv

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-17 00:00:00.0000001,879,55
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
2024-05-10 00:00:01.500000+00:00,76,15
"""
BURSTGPT_1 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,GPT-4,0,0,0,API log
45,GPT-4,417,276,693,Conversation log
"""
BURSTGPT_3 = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "19440110,aa-1,7,ChatGPT,472,18,490,Conversation log\n"
    "19440111,,2,GPT-4,30,5,35,API log\n"
    "19440111,bb-2,,GPT-4,417,276,693,Conversation log\n"
    "19440120,aa-1,3,GPT-4,500,0,500,Conversation log\n"
)
MOONCAKE = (
    '{"timestamp": 0, "input_length": 1025, "output_length": 500, "hash_ids": [0, 1, 2]}\n'
    '{"timestamp": 3000, "input_length": 512, "output_length": 2, "hash_ids": [0]}\n'
    '{"timestamp": 3000, "input_length": 0, "output_length": 4, "hash_ids": []}\n'
)


def read(path: Path, text: str):
    path.write_text(text, encoding="utf-8")
    table, report = read_trace(path)
    table.check()
    assert report.rows_read == report.rows_kept == len(table)
    return table, report


def same(a, b) -> None:
    """Every column equal, NaN equal to NaN."""
    for name in a.__dataclass_fields__:
        if name == "models" or isinstance(getattr(a, name), str | int):
            assert getattr(a, name) == getattr(b, name), name
        else:
            assert getattr(a, name).dtype == getattr(b, name).dtype, name
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_azure_2023_keeps_its_hundred_nanoseconds(tmp_path: Path) -> None:
    table, report = read(tmp_path / "AzureLLMInferenceTrace_conv.csv", AZURE_2023)
    assert report.trace_format == "azure"
    assert table.arrival_s.tolist() == [0.0, 4.314579, 20653.3194101]
    assert table.num_prompt_tokens.tolist() == [374, 396, 879]
    assert table.num_output_tokens.tolist() == [44, 109, 55]
    assert set(table.kind) == {Kind.CONVERSATION}
    assert set(table.status) == {Status.OK}
    assert table.trace_id == "AzureLLMInferenceTrace_conv"
    assert np.isnan(table.e2e_s).all()


def test_azure_2024_takes_stamps_with_zone_and_without_fraction(tmp_path: Path) -> None:
    table, _ = read(tmp_path / "AzureLLMInferenceTrace_code_1week.csv", AZURE_2024)
    np.testing.assert_allclose(table.arrival_s, [0.0, 0.99007, 1.49007], atol=1e-9)
    assert set(table.kind) == {Kind.API}


def test_azure_columns_are_found_by_name(tmp_path: Path) -> None:
    text = "NumImages,GeneratedTokens,TIMESTAMP,ContextTokens\r\n1,7,2024-05-10T00:00:01Z,90\r\n"
    table, _ = read(tmp_path / "multimodal.csv", text)
    assert (table.num_prompt_tokens[0], table.num_output_tokens[0]) == (90, 7)


def test_burstgpt_row_without_response_is_a_failure(tmp_path: Path) -> None:
    table, report = read(tmp_path / "BurstGPT_1.csv", BURSTGPT_1)
    assert report.trace_format == "burstgpt"
    assert table.arrival_s.tolist() == [0.0, 40.0, 40.0]
    assert table.status.tolist() == [Status.OK, Status.FAILED, Status.OK]
    assert table.kind.tolist() == [Kind.CONVERSATION, Kind.API, Kind.CONVERSATION]
    assert [table.models[code] for code in table.model] == ["ChatGPT", "GPT-4", "GPT-4"]
    assert table.session_index.tolist() == [-1, -1, -1]


def test_burstgpt_3_is_read_by_name_with_sessions_and_elapsed_time(tmp_path: Path) -> None:
    table, _ = read(tmp_path / "BurstGPT_3.csv", BURSTGPT_3)
    assert table.num_prompt_tokens.tolist() == [472, 30, 417, 500]
    assert table.session_index.tolist() == [0, -1, 1, 0]
    assert table.e2e_s[[0, 1, 3]].tolist() == [7.0, 2.0, 3.0]
    assert math.isnan(table.e2e_s[2])


def test_mooncake_row_owns_a_block_id_per_512_tokens(tmp_path: Path) -> None:
    table, report = read(tmp_path / "conversation_trace.jsonl", MOONCAKE)
    assert report.trace_format == "mooncake"
    assert table.arrival_s.tolist() == [0.0, 3.0, 3.0]
    assert table.prefix_block_tokens == 512
    assert [table.prefix_of(row).tolist() for row in range(3)] == [[0, 1, 2], [0], []]


def test_tool_agent_file_holds_agents(tmp_path: Path) -> None:
    table, _ = read(tmp_path / "toolagent_trace.jsonl", MOONCAKE)
    assert set(table.kind) == {Kind.AGENT}


@pytest.mark.parametrize("text", [AZURE_2023, BURSTGPT_1, BURSTGPT_3, MOONCAKE])
def test_gzip_and_byte_order_mark_change_nothing(tmp_path: Path, text: str) -> None:
    plain, _ = read(tmp_path / "trace.txt", text)
    packed = tmp_path / "trace.txt.gz"
    packed.write_bytes(gzip.compress(("\ufeff" + text).encode()))
    same(read_trace(packed)[0], plain)


@pytest.mark.parametrize("text", [AZURE_2023, BURSTGPT_1, BURSTGPT_3, MOONCAKE])
def test_csv_round_trip_keeps_every_value(tmp_path: Path, text: str) -> None:
    table, _ = read(tmp_path / "trace.txt", text)
    write_csv(table, tmp_path / "requests.csv")
    back, report = read_trace(tmp_path / "requests.csv")
    assert report.trace_format == "requests"
    same(back, table)


def test_csv_round_trip_keeps_a_generated_table(tmp_path: Path) -> None:
    table = generate(seed=3, duration_s=300.0, rate_rps=4.0)
    write_csv(table, tmp_path / "requests.csv")
    back, _ = read_trace(tmp_path / "requests.csv")
    assert back.origin is Origin.GENERATED
    assert [back.models[code] for code in back.model] == [
        table.models[code] for code in table.model
    ]
    back.models, back.model = table.models, table.model  # codes follow first sight
    same(back, table)


def test_name_that_breaks_a_cell_is_not_written(tmp_path: Path) -> None:
    table = generate(seed=3, duration_s=60.0, rate_rps=1.0)
    table.trace_id = "a,b"
    with pytest.raises(ValueError, match="'a,b'"):
        write_csv(table, tmp_path / "requests.csv")


def test_dropped_rows_are_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    bad = "2023-11-16 18:15:51,-4,5\n2023-11-16 18:15:52,x,5\n2023-11-16 18:15:53,y,5\n"
    path.write_text(AZURE_2023 + bad.replace("11-16", "11-18"))
    table, report = read_trace(path, skip_bad_rows=True)
    assert report.dropped == {"negative": 1, "not an integer": 2}
    assert (report.rows_read, report.rows_kept, len(table)) == (6, 3, 3)


def test_each_format_is_known_by_its_first_line_alone() -> None:
    firsts = {
        "azure": AZURE_2023.splitlines()[0],
        "burstgpt": BURSTGPT_3.splitlines()[0],
        "mooncake": MOONCAKE.splitlines()[0],
    }
    for name, line in firsts.items():
        assert [known for known in FORMATS if FORMATS[known].recognises(line)] == [name]
