"""Real traces: the counts and means published for them, exactly."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from serving.workload import Kind, Status, read_trace

REPO = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("MIDWATCH_DATA", REPO.parent / "shared" / "data")) / "traces"


def real(name: str):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no real trace at {path}; set MIDWATCH_DATA to the folder that holds traces/")
    table, report = read_trace(path)
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
    ("name", "rows", "prompt_mean", "output_mean", "infinite_hit_ratio"),
    [
        ("conversation_min00-40.jsonl.gz", 7_851, 12_428, 347, 0.351),
        ("synthetic_s000-700.jsonl.gz", 2_687, 13_329, 182, 0.444),
    ],
)
def test_mooncake_has_its_published_lengths_and_prefix_reuse(
    name: str, rows: int, prompt_mean: float, output_mean: float, infinite_hit_ratio: float
) -> None:
    table = real(f"mooncake_fast25/{name}")
    assert len(table) == rows
    assert table.num_prompt_tokens.mean() == pytest.approx(prompt_mean, abs=0.5)
    assert table.num_output_tokens.mean() == pytest.approx(output_mean, abs=0.5)
    seen: set[int] = set()
    hits = 0
    for row in range(rows):
        ids = table.prefix_of(row).tolist()
        hits += next((i for i, block in enumerate(ids) if block not in seen), len(ids))
        seen.update(ids)
    assert hits / len(table.prefix_ids) == pytest.approx(infinite_hit_ratio, abs=0.0005)


def test_burstgpt_head_has_its_published_failures() -> None:
    table = real("burstgpt/burstgpt_1_head400.csv")
    failed = table.status == Status.FAILED
    assert (len(table), int(failed.sum())) == (400, 17)
    assert failed[1:][failed[:-1]].mean() == pytest.approx(0.29, abs=0.005)
    assert table.arrival_s[-1] == 37_274 - 5
