"""Real traces: the counts and means published for them, exactly."""

from __future__ import annotations

import gzip
import os
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pytest

from serving.workload import Kind, Status, read_table, read_trace, replay_reuse

REPO = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("MIDWATCH_DATA", REPO.parent / "shared" / "data")) / "traces"


def need(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"no real trace at {path}; set MIDWATCH_DATA to the folder that holds traces/")


@cache
def real(name: str, read=read_trace):
    path = DATA / name
    need(path)
    table, report = read(path)
    table.check()
    assert report.rows_read == report.rows_kept == len(table)
    return table


@pytest.mark.parametrize(
    ("name", "rows", "rate_rps", "iat_cv", "prompt_mean", "output_mean", "kind"),
    [
        ("azure_llm_2023_conv.csv.gz", 19_366, 5.53, 1.09, 1155, 211, Kind.CONVERSATION),
        ("azure_llm_2023_code.csv.gz", 8_819, 2.57, 13.2, 2048, 28, Kind.API),
    ],
)
def test_azure_2023_has_its_published_rate_and_lengths(
    name: str,
    rows: int,
    rate_rps: float,
    iat_cv: float,
    prompt_mean: float,
    output_mean: float,
    kind: Kind,
) -> None:
    table = real(f"azure_llm_2023/{name}")
    gaps = np.diff(table.arrival_s)
    assert len(table) == rows
    assert 1.0 / gaps.mean() == pytest.approx(rate_rps, abs=0.005)
    assert gaps.std() / gaps.mean() == pytest.approx(iat_cv, rel=0.005)
    assert table.num_prompt_tokens.mean() == pytest.approx(prompt_mean, abs=0.5)
    assert table.num_output_tokens.mean() == pytest.approx(output_mean, abs=0.5)
    assert set(table.kind) == {kind}


@pytest.mark.parametrize(
    ("name", "rows", "prompt_mean", "output_mean"),
    [
        ("conversation_min00-40.jsonl.gz", 7_851, 12_428, 347),
        ("synthetic_s000-700.jsonl.gz", 2_687, 13_329, 182),
    ],
)
def test_mooncake_has_its_published_lengths(
    name: str, rows: int, prompt_mean: float, output_mean: float
) -> None:
    table = real(f"mooncake_fast25/{name}")
    assert len(table) == rows
    assert table.num_prompt_tokens.mean() == pytest.approx(prompt_mean, abs=0.5)
    assert table.num_output_tokens.mean() == pytest.approx(output_mean, abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ratios", "share_p50"),
    [
        ("conversation_min00-40.jsonl.gz", (0.351, 0.044, 0.110, 0.282, 0.345), 0.31),
        ("synthetic_s000-700.jsonl.gz", (0.444, 0.022, 0.119, 0.368, 0.444), 0.0),
    ],
)
@pytest.mark.parametrize(
    ("column", "capacity"), list(enumerate([None, 1_000, 5_000, 20_000, 50_000]))
)
def test_mooncake_has_its_published_hit_ratio_at_every_cache_size(
    name: str, ratios: tuple[float, ...], share_p50: float, column: int, capacity: int | None
) -> None:
    reuse = replay_reuse(real(f"mooncake_fast25/{name}"), capacity_blocks=capacity)
    assert reuse.hit_ratio == pytest.approx(ratios[column], abs=0.001)  # half a point is asked
    if capacity is None:
        assert reuse.hit_share_p50 == pytest.approx(share_p50, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["azure_llm_2023_conv.csv.gz", "azure_llm_2023_code.csv.gz"])
def test_azure_arrivals_are_right_to_the_microsecond_and_tokens_exactly(name: str) -> None:
    table = real(f"azure_llm_2023/{name}")
    with gzip.open(DATA / "azure_llm_2023" / name, "rt") as handle:
        rows = [line.split(",") for line in handle][1:]
    stamps = [datetime.fromisoformat(cells[0][:26]) for cells in rows]
    wanted = np.array([(at - stamps[0]).total_seconds() for at in stamps])
    assert np.abs(table.arrival_s - wanted).max() <= 1e-6
    assert table.num_prompt_tokens.sum() == sum(int(cells[1]) for cells in rows)
    assert table.num_output_tokens.sum() == sum(int(cells[2]) for cells in rows)


def test_mooncake_arrivals_and_ids_are_those_of_a_json_parser() -> None:
    name = "mooncake_fast25/synthetic_s000-700.jsonl.gz"
    table = real(name)
    with gzip.open(DATA / name, "rb") as handle:
        rows = [orjson.loads(line) for line in handle]
    assert np.abs(table.arrival_s - np.array([row["timestamp"] for row in rows]) / 1e3).max() == 0
    assert table.num_prompt_tokens.tolist() == [row["input_length"] for row in rows]
    assert table.prefix_ids.tolist() == [block for row in rows for block in row["hash_ids"]]


@pytest.mark.parametrize(
    ("name", "rows", "clients", "rate_mean_rps"),
    [
        ("m-small_windows_days00-09", 28_923, 41, 1_127),
        ("deepseek-r1_windows_h00-17", 2_142, 62, 14.6),
        ("mm-image_windows_h00-17", 1_566, 33, 9.9),
    ],
)
def test_servegen_windows_have_their_published_rate(
    name: str, rows: int, clients: int, rate_mean_rps: float
) -> None:
    table = real(f"servegen/{name}.csv.gz", read=read_table)
    num_windows = len(np.unique(table.start_s))
    assert len(table) == rows
    assert len(np.unique(table.client)) == clients
    assert table.rate_rps.sum() / num_windows == pytest.approx(rate_mean_rps, rel=0.005)


def test_huawei_samples_are_read_as_printed() -> None:
    for name, start in (("cold_start", 0.104), ("cold_start_r2_joined", 0.323)):
        path = DATA / "huawei_coldstart_2025" / f"sample_rows_{name}.csv"
        need(path)
        table, report = read_table(path)
        table.check()
        assert (len(table), report.dropped) == (10, {"cut mark": 1})
        assert table.t_s[0] == start
        assert not table.off_sum().any()
    calls, report = read_table(DATA / "huawei_coldstart_2025" / "sample_rows_requests_r5.csv")
    assert (len(calls), report.dropped) == (10, {"cut mark": 1})
    assert np.isnan(calls.frontend_at_s).sum() == 5


def test_burstgpt_head_has_its_published_failures() -> None:
    table = real("burstgpt/burstgpt_1_head400.csv")
    failed = table.status == Status.FAILED
    assert (len(table), int(failed.sum())) == (400, 17)
    assert failed[1:][failed[:-1]].mean() == pytest.approx(0.29, abs=0.005)
    assert table.arrival_s[-1] == 37_274 - 5
