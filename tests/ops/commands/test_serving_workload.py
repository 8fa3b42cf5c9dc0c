"""`midwatch serving workload`: fit, generate, check, from files to files."""

from __future__ import annotations

import re

import orjson
import pytest

from serving.workload import generate, read_trace, write_csv
from serving.workload.samples import write_sample


@pytest.fixture(scope="module")
def folder(cli, tmp_path_factory):
    """Folder with a.csv, its model.json, and b.csv drawn from that."""
    folder = tmp_path_factory.mktemp("workload")
    write_csv(generate(seed=1, duration_s=3600.0, rate_rps=1.0), folder / "a.csv")
    done = workload(cli, "fit", folder / "a.csv", "--out", folder / "model.json")
    assert done.exit_code == 0, done.stderr
    assert "ChatGPT, api" in done.stdout
    done = workload(cli, "generate", folder / "model.json", "--out", folder / "b.csv")
    assert done.exit_code == 0, done.stderr
    return folder


def workload(cli, *arguments):
    return cli("serving", "workload", *arguments)


@pytest.mark.slow
def test_what_a_fit_generates_is_alike(cli, folder) -> None:
    done = workload(cli, "check", folder / "a.csv", folder / "b.csv")
    assert done.exit_code in (0, 1), done.stderr
    alike = len(re.findall(r" alike ", done.stdout))
    assert alike >= 12, done.stdout


@pytest.mark.slow
def test_a_trace_longer_than_the_fit_says_that_its_rates_repeat(cli, folder) -> None:
    model, out = folder / "model.json", folder / "long.csv"
    done = workload(cli, "generate", model, "--duration", 7200, "--out", out)
    assert "the model holds 59 min 52 s; its rates" in done.stdout
    assert "repeat to fill 2 h, so it has no day and night" in done.stdout
    done = workload(cli, "generate", model, "--duration", 1800, "--out", out, "--json")
    assert orjson.loads(done.stdout)["notes"] == []


def test_a_workload_is_like_itself(cli, folder) -> None:
    done = workload(cli, "check", folder / "a.csv", folder / "a.csv", "--json")
    result = orjson.loads(done.stdout)
    assert done.exit_code == 0
    assert result["alike"] is True
    assert {a["figure"] for a in result["aspects"]} <= {0.0, None}


def test_the_page_needs_no_network_and_tells_the_answer(cli, folder) -> None:
    page = folder / "page.html"
    other = folder / "zipf.csv"
    write_csv(generate(seed=1, duration_s=3600.0, rate_rps=1.0, lengths="zipf"), other)
    done = workload(cli, "check", folder / "a.csv", other, "--out", page)
    assert done.exit_code == 1
    text = page.read_text(encoding="utf-8")
    assert "apart: prompt" in text
    assert "Output given prompt" in text
    assert text.count("<svg") > 8
    assert not re.search(r"https?:|@import|url\((?!#)", text)


def test_the_command_of_the_page_makes_the_same_page(cli, repeat, folder) -> None:
    mine, page = folder / "my trace.csv", folder / "page 2.html"
    assert workload(
        cli, "generate", folder / "model.json", "--format", "azure", "--out", mine
    ).exit_code == 0  # fmt: skip
    mine.write_text(mine.read_text() + "x,1,1\n")
    options = ("--format", "azure", "--skip-bad-rows", "--out", page)
    done = workload(cli, "check", mine, mine, *options)
    assert done.exit_code == 0, done.stderr
    before = page.read_text(encoding="utf-8")
    page.unlink()
    repeat(before)
    assert page.read_text(encoding="utf-8") == before


def test_other_formats_are_written(cli, folder) -> None:
    for name in ("azure", "burstgpt"):
        out = folder / f"{name}.csv.gz"
        done = workload(
            cli, "generate", folder / "model.json", "--format", name, "--out", out, "--json"
        )
        table, _ = read_trace(out)
        assert len(table) == orjson.loads(done.stdout)["requests"]


@pytest.mark.slow
def test_servegen_windows_become_requests(cli, folder) -> None:
    windows, tokens, out = folder / "windows.csv", folder / "tokens.csv", folder / "clients.csv"
    write_sample(windows, "servegen", rows=100, seed=1)
    write_sample(tokens, "servegen-tokens", rows=30, seed=1)
    options = ("--tokens", tokens, "--duration", "300", "--out", out)
    done = workload(cli, "generate", windows, *options, "--json")
    assert done.exit_code == 0, done.stderr
    table, _ = read_trace(out)
    assert len(table) == orjson.loads(done.stdout)["requests"]
    for arguments, told in (
        (("generate", windows, "--out", out), "with --tokens"),
        (("generate", tokens, "--tokens", windows, "--out", out), "expected LoadWindows"),
        (("generate", folder / "model.json", "--start", "5", "--out", out), "belongs to ServeGen"),
    ):
        done = workload(cli, *arguments)
        assert done.exit_code == 2
        assert told in re.sub(r"[\s│]+", " ", done.stderr), done.stderr


@pytest.mark.slow
def test_a_fit_of_block_ids_generates_block_ids(cli, folder) -> None:
    trace, model, out = folder / "moon.jsonl", folder / "moon.json", folder / "again.jsonl"
    write_sample(trace, "mooncake", rows=500, seed=1)
    assert workload(cli, "fit", trace, "--out", model).exit_code == 0
    done = workload(cli, "generate", model, "--format", "mooncake", "--out", out)
    assert done.exit_code == 0, done.stderr
    table, _ = read_trace(out)
    assert table.prefix_block_tokens == 512
    done = workload(cli, "check", trace, out)
    assert "prefix hits" in done.stdout


def test_wrong_use_is_told(cli, folder) -> None:
    model, out = folder / "model.json", folder / "x.csv"
    for arguments, told in (
        (("generate", folder / "a.csv", "--out", out), "no JSON"),
        (("generate", folder / "absent.json", "--out", out), "absent.json"),
        (("generate", model, "--out", out, "--rate-ratio", "0"), "rate_ratio is 0.0"),
        (("generate", model, "--out", out, "--shape", "round"), "shape is 'round'"),
        (("generate", model, "--out", out, "--format", "mooncake"), "take another format"),
        (("generate", model, "--out", folder), "choose another"),
        (("fit", model), "model.json"),
        (("check", folder / "a.csv", model), "model.json"),
    ):
        done = workload(cli, *arguments)
        assert done.exit_code == 2, (arguments, done.stdout)
        assert told in re.sub(r"[\s│]+", " ", done.stderr), (arguments, done.stderr)
