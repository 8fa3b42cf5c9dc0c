"""Readers of Azure multimodal, Qwen-Bailian, ServeGen and Huawei: worked rows of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.errors import TraceFormatError
from serving.workload import FORMATS, Kind, read_table, read_trace, write_csv
from serving.workload.samples import SAMPLES, write_sample
from serving.workload.windows import GapLaw

BAILIAN = (
    '{"chat_id": 159, "parent_chat_id": 55, "timestamp": 0.0, "input_length": 33, '
    '"output_length": 132, "type": "text", "turn": 2, "hash_ids": [1089, 1090, 13148]}\n'
    '{"chat_id": 160, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 16, '
    '"output_length": 7, "type": "image", "turn": 1, "hash_ids": [5]}\n'
    '{"chat_id": 161, "parent_chat_id": 159, "timestamp": 61.114, "input_length": 0, '
    '"output_length": 1, "type": "file", "turn": 3, "hash_ids": []}\n'
    '{"chat_id": 162, "parent_chat_id": 55, "timestamp": 70, "input_length": 1, '
    '"output_length": 1, "type": "search", "turn": 2, "hash_ids": [9]}\n'
)
SERVEGEN = """client,window_start_s,rate_rps,iat_cv,iat_dist,iat_p0,iat_p1
0,0,1.33167,8.5984,Weibull,0.37535,0.39677
4,600,0.08667,1.4203,Gamma,0.4957,0.0
"""
CHUNK = "0,1.33167,8.5984,Weibull,0.37535,0.39677\n600,0,,,,\n1200,0.5,1,Gamma,1,2\n"
TOKENS = """client,block_start_s,field,mean,p05,p25,p50,p75,p90,p95,p99,max,support
0,21600,output_tokens,37.8,22.0,31.0,34.0,45.0,53.0,57.0,98.0,171.0,128
0,21600,reason_ratio,0.55,0.31536926147704586,0.4,0.5,0.6,0.7,0.8,0.9,0.99,501
"""
COLD_STARTS = """,day,time,clusterName,funcName,userID,requestID,totalCost_cold_start,\
podAllocationCost,deployCodeCost,deployDependencyCost,schedulingCost,podID,region
0,0,0.104,1,332,439,5d990e049d11666fa09b51971c30877a951a137dc01181...,0.911090,\
0.000590,0.001,0.000,0.909500,pool22-300-128-0006319574,R1
...,...,...,...,...,...,...,...,...,...,...,...,...,...
9,30,2678383.461,4,56,353,798ea243d0f630e4d861f1dc1b404c44d0741d06e3eee2...,0.381081,\
1.3e-04,0.002,0.000,0.378951,pool23-400-256-71,R5
8,30,2678350.991,3,224,201,db34396a82978dc0563ea33e3046d86407fb61226d22c4...,6.913106,\
0.027074,0.002,4.322,2.562032,pool35-6600-8192-0000463009,R5
"""
CALLS = """time_worker,time_frontend,requestID,clusterName,funcName,podID,userID,\
totalCost_worker,workerCost,runtimeCost,totalCost_frontend,frontendCost,busCost,readBodyCost,\
writeRspCost,cpu_usage,memory_usage,requestBodySize
2592000.020,2592000.021,b54cf4cd859e6263,3,411,pool22-300-128-0000177166,301,0.000931,\
0.000103,0.000829,0.002367,0.000531,0.000585,2.5e-05,9e-06,0.059806,34.238280,2.0
2678399.048,,F0C9211944E6CF928D88,4,296,pool22-300-128-0000206093,224,0.027543,\
0.000100,0.027444,,,,,,0.254372,32.324220,
"""


def read(path: Path, text: str):
    path.write_text(text, encoding="utf-8")
    table, report = read_table(path)
    table.check()
    assert report.rows_kept == len(table)
    return table, report


def test_multimodal_azure_keeps_the_number_of_images_through_csv(tmp_path: Path) -> None:
    text = (
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n"
        "2024-10-15 00:00:00.100000+00:00,3,2162,5\n2024-10-15 00:00:01+00:00,0,2399,6\n"
    )
    table, _ = read(tmp_path / "AzureLMMInferenceTrace_multimodal.csv", text)
    assert table.num_images.tolist() == [3, 0]
    assert table.take(np.array([1])).num_images.tolist() == [0]
    write_csv(table, tmp_path / "requests.csv")
    back, _ = read_trace(tmp_path / "requests.csv")
    assert back.num_images.tolist() == [3, 0]
    assert back.num_images.dtype == table.num_images.dtype


def test_bailian_sessions_follow_the_parent_chat(tmp_path: Path) -> None:
    table, report = read(tmp_path / "qwen_traceA_blksz_16.jsonl", BAILIAN)
    assert report.trace_format == "bailian"
    # 159 and 162 continue chat 55, which came before the file's start; 161 continues 159.
    assert table.session_index.tolist() == [0, 1, 0, 0]
    assert table.turn.tolist() == [2, 1, 3, 2]
    assert table.arrival_s.tolist() == [0.0, 61.114, 61.114, 70.0]
    assert table.prefix_block_tokens == 16
    assert [table.prefix_of(k).tolist() for k in range(4)] == [[1089, 1090, 13148], [5], [], [9]]
    assert set(table.kind[[0, 2, 3]]) == {Kind.CONVERSATION}
    assert table.kind[1] == Kind.IMAGE


@pytest.mark.parametrize(("name", "kind"), [("qwen_traceB", Kind.API), ("qwen_coder", Kind.AGENT)])
def test_bailian_kind_follows_the_file(tmp_path: Path, name: str, kind: Kind) -> None:
    table, _ = read(tmp_path / f"{name}_blksz_16.jsonl", BAILIAN)
    assert table.kind[0] == kind


def test_servegen_windows_are_read_with_and_without_header(tmp_path: Path) -> None:
    table, report = read(tmp_path / "m-large_windows.csv", SERVEGEN)
    assert report.trace_format == "servegen"
    assert table.client.tolist() == [0, 4]
    assert table.law.tolist() == [GapLaw.WEIBULL, GapLaw.GAMMA]
    assert (table.shape[0], table.scale[0], table.width_s) == (0.37535, 0.39677, 600.0)
    table, report = read(tmp_path / "chunk-17-trace.csv", CHUNK)
    assert report.trace_format == "servegen-client"
    assert table.client.tolist() == [17, 17, 17]
    assert table.start_s.tolist() == [0.0, 600.0, 1200.0]
    assert table.rate_rps.tolist() == [1.33167, 0.0, 0.5]
    assert table.law[1] == GapLaw.NONE
    assert np.isnan([table.iat_cv[1], table.shape[1], table.scale[1]]).all()


def test_servegen_token_quantiles_rise(tmp_path: Path) -> None:
    table, report = read(tmp_path / "tokens.csv", TOKENS)
    assert report.trace_format == "servegen-tokens"
    assert table.fields == ("output_tokens", "reason_ratio")
    assert table.quantiles[:, 0].tolist() == [22.0, 31.0, 34.0, 45.0, 53.0, 57.0, 98.0]
    assert table.quantiles[0, 1] == 0.31536926147704586
    assert table.maximum.tolist() == [171.0, 0.99]


def test_cold_starts_come_in_order_of_time_without_the_cut_mark(tmp_path: Path) -> None:
    table, report = read(tmp_path / "R1.csv", COLD_STARTS)
    assert report.trace_format == "huawei-cold-starts"
    assert report.dropped == {"cut mark": 1}
    assert table.t_s.tolist() == [0.104, 2678350.991, 2678383.461]
    assert table.day.tolist() == [0, 30, 30]
    assert table.request_key[0] == 0x5D990E049D11666F
    assert table.pod_alloc_s.tolist() == [0.00059, 0.027074, 0.00013]
    assert table.pod.pool.tolist() == [22, 35, 23]
    assert table.pod.cpu_milli.tolist() == [300, 6600, 400]
    assert table.pod.mem_mb.tolist() == [128, 8192, 256]
    assert table.pod.number.tolist() == [6319574, 463009, 71]
    assert not table.off_sum().any()


def test_invocations_keep_what_the_front_end_did_not_record_unknown(tmp_path: Path) -> None:
    table, report = read(tmp_path / "R5.csv", CALLS)
    assert report.trace_format == "huawei-requests"
    assert table.worker_at_s.tolist() == [2592000.02, 2678399.048]
    assert table.frontend_at_s[0] == 2592000.021
    assert (table.read_body_s[0], table.write_response_s[0]) == (2.5e-05, 9e-06)
    for column in ("frontend_at_s", "frontend_s", "bus_s", "body_bytes", "write_response_s"):
        assert np.isnan(getattr(table, column)[1]), column
    assert table.request_key.tolist() == [0xB54CF4CD859E6263, 0xF0C9211944E6CF92]


@pytest.mark.parametrize("kind", SAMPLES)
def test_format_is_known_by_its_first_line(tmp_path: Path, kind: str) -> None:
    write_sample(tmp_path / "sample.txt", kind, rows=3, seed=5)
    first = (tmp_path / "sample.txt").read_text().splitlines()[0]
    wanted = {"azure-multimodal": "azure", "burstgpt-3": "burstgpt"}.get(kind, kind)
    assert [name for name in FORMATS if FORMATS[name].recognises(first)] == [wanted]


@pytest.mark.parametrize("kind", [k for k in SAMPLES if k.startswith(("servegen", "huawei"))])
def test_tables_that_hold_no_requests_are_not_read_as_a_trace(tmp_path: Path, kind: str) -> None:
    write_sample(tmp_path / "sample.csv", kind, rows=3, seed=5)
    with pytest.raises(TraceFormatError, match="not requests; read it with read_table"):
        read_trace(tmp_path / "sample.csv")
