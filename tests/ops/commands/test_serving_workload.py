"""`midwatch serving workload`: fit, generate, check, from files to files."""

from __future__ import annotations

import re

import orjson
import pytest

from serving.workload import generate, read_trace, write_csv


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


def test_what_a_fit_generates_is_alike(cli, folder) -> None:
    done = workload(cli, "check", folder / "a.csv", folder / "b.csv")
    assert done.exit_code in (0, 1), done.stderr
    alike = len(re.findall(r" alike ", done.stdout))
    assert alike >= 12, done.stdout


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


def test_other_formats_are_written(cli, folder) -> None:
    for name in ("azure", "burstgpt"):
        out = folder / f"{name}.csv.gz"
        done = workload(
            cli, "generate", folder / "model.json", "--format", name, "--out", out, "--json"
        )
        table, _ = read_trace(out)
        assert len(table) == orjson.loads(done.stdout)["requests"]


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
