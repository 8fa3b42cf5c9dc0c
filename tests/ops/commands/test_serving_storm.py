"""`midwatch serving workload closed-loop` and `reuse`: figures, pages, wrong use."""

from __future__ import annotations

import re

import orjson
import pytest

from serving.workload import generate, read_trace, replay_reuse, write_csv
from serving.workload.samples import write_sample

SMALL = ("--slots", "8", "--duration-s", "1200", "--seeds", "2")


def closed_loop(cli, *arguments):
    return cli("serving", "workload", "closed-loop", *SMALL, *arguments)


def test_a_storm_is_a_finding_and_its_page_needs_no_network(cli, tmp_path) -> None:
    page = tmp_path / "storm.html"
    done = closed_loop(cli, "--think-s", "0", "--out", page)
    assert done.exit_code == 1, done.stderr
    assert done.stdout.startswith("Does not recover within 480 s; ")
    assert re.search(r"Recovery, a minute at 90 %, s +never / never / never", done.stdout)
    text = page.read_text(encoding="utf-8")
    assert "Does not recover" in text and text.count("<svg") >= 4
    assert not re.search(r"https?:|@import|url\((?!#)", text)


@pytest.mark.slow
def test_the_command_of_the_page_makes_the_same_page(cli, repeat, tmp_path) -> None:
    page = tmp_path / "a storm.html"
    closed_loop(
        cli, "--load", "0.7", "--think-s", "0", "--timeout-s", "15", "--tries", "3",
        "--backoff-s", "4", "--jitter", "0.5", "--budget", "0.2", "--service-s", "3",
        "--queue-max", "30", "--drop-expired", "--cut-ratio", "0.5", "--cut-s", "60", "--out", page,
    )  # fmt: skip
    before = page.read_text(encoding="utf-8")
    page.unlink()
    repeat(before)
    assert page.read_text(encoding="utf-8") == before


def test_a_queue_cap_is_no_finding_and_json_holds_every_figure(cli) -> None:
    done = closed_loop(cli, "--think-s", "0", "--queue-max", "12", "--load", "0.6", "--json")
    assert done.exit_code == 0, done.stderr
    users, replay = orjson.loads(done.stdout)["crowds"]
    assert users["recovery_s"]["one_minute_at_90"]["max"] <= 60.0
    assert users["tries_per_request"]["cut"]["median"] > 1.2
    assert replay["tries_per_request"]["cut"]["max"] == 1.0
    assert users["crowd"]["rate_rps"] == replay["crowd"]["rate_rps"] == pytest.approx(1.2)
    over_time = users["over_time"]
    assert len(over_time["at_s"]) == len(over_time["goodput_rps"]) == len(over_time["tries_rps"])


def test_thinking_users_ask_at_the_rate_of_the_load(cli) -> None:
    done = closed_loop(cli, "--load", "0.5", "--json")
    (users, _) = orjson.loads(done.stdout)["crowds"]
    assert users["crowd"]["population"] == 34
    assert users["goodput_rps"]["before"]["median"] == pytest.approx(1.0, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--load", "0", "--load is 0"),
        ("--think-s", "-1", "--think-s is -1"),
        ("--tries", "0", "tries_max is 0"),
        ("--jitter", "2", "jitter_ratio is 2"),
        ("--budget", "-1", "budget_ratio is -1"),
        ("--cut-ratio", "2", "cut_ratio is 2.0, expected 0 to 1"),
        ("--cut-s", "-1", "cut_s is -1.0, expected 0 or more"),
        ("--duration-s", "800", "--duration-s is 800"),
        ("--seeds", "0", "--seeds is 0"),
        ("--slots", "0", "--slots and --service-s are 0"),
    ],
)
def test_values_outside_their_domain_are_named(cli, option: str, value: str, named: str) -> None:
    done = closed_loop(cli, option, value)
    assert done.exit_code == 2
    assert named in " ".join(re.sub(r"[│\n]", " ", done.stderr).split())


def test_reuse_tells_the_ratios_of_the_replay(cli, tmp_path) -> None:
    path = tmp_path / "sample.jsonl"
    write_sample(path, "mooncake", rows=200, seed=3)
    done = cli("serving", "workload", "reuse", path, "--blocks", "50,inf", "--json")
    assert done.exit_code == 0, done.stderr
    sizes = orjson.loads(done.stdout)["sizes"]
    table, _ = read_trace(path)
    wanted = [replay_reuse(table, capacity_blocks=n) for n in (50, None)]
    assert [row["num_hits"] for row in sizes] == [reuse.num_hits for reuse in wanted]
    assert sizes[0]["hit_ratio"] < sizes[1]["hit_ratio"] == wanted[1].hit_ratio
    shown = cli("serving", "workload", "reuse", path, "--blocks", "50,inf").stdout
    assert f"{100 * wanted[1].hit_ratio:.1f} %" in shown.splitlines()[-1]


def test_reuse_refuses_a_trace_without_ids_and_a_size_that_is_none(cli, tmp_path) -> None:
    path = tmp_path / "plain.csv"
    write_csv(generate(seed=1, duration_s=30.0, rate_rps=1.0), path)
    done = cli("serving", "workload", "reuse", path)
    assert done.exit_code == 2
    assert "has no prefix ids" in done.stderr
    done = cli("serving", "workload", "reuse", path, "--blocks", "10,0")
    assert done.exit_code == 2
    assert "'0' is no cache size" in done.stderr
