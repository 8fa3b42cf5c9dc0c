"""`midwatch serving simulate`: figures, comparison, page, wrong use."""

from __future__ import annotations

import re
from dataclasses import replace

import orjson
import pytest
from rich.console import Console

from ops.commands import serving_runs
from ops.commands.serving_simulate import GPUS, MODELS
from serving.policies import BATCH_POLICIES
from serving.sim.profile_files import gpu_keys
from serving.sim.profiles import MODELS as KNOWN_MODELS
from serving.sim.run import simulate
from serving.sim.world import FleetConfig, Policies
from serving.state import Slo
from serving.workload import generate, with_session_prefixes, write_csv

SMALL = ("--model", "llama-2-7b", "--instances", "1", "--tokens-max", "2048", "--duration", "10")


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "trace.csv"
    write_csv(generate(seed=1, duration_s=40.0, rate_rps=3.0, failures=False), path)
    return path


def test_figures_of_a_trace_are_printed_as_json(cli, trace) -> None:
    done = cli("serving", "simulate", "--trace", trace, *SMALL, "--rate", 3, "--json")
    assert done.exit_code == 0, done.output
    result = orjson.loads(done.stdout)
    (run,) = result["runs"]
    assert run["outcomes"]["done"] == run["requests"] > 10
    assert run["requests_per_cpu_s"] > 0
    assert 0 < run["ttft_s"]["p50"] <= run["ttft_s"]["p99"]
    assert result["config"]["seed"] == 7
    assert result["complete"] is True
    assert "commit" in result["made_by"]


def test_compared_policies_see_the_same_requests_and_share_a_page(cli, trace, tmp_path) -> None:
    done = cli(
        "serving", "simulate", "--trace", trace, *SMALL, "--rate", 3, "--out", tmp_path,
        "--compare", "fcfs,chunked-prefill+256",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Within limits" in done.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "prefill-first" in page
    assert "least-loaded" not in page.split("<h1")[1].split("</h1>")[0]  # shared, so left out
    assert "chunked-prefill 256" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert " style=" not in page
    runs = orjson.loads((tmp_path / "result.json").read_bytes())["runs"]
    assert runs[0]["requests"] == runs[1]["requests"]
    assert runs[0]["ttft_s"] != runs[1]["ttft_s"]


def test_a_limit_without_end_is_not_told_and_not_drawn(cli, trace, tmp_path) -> None:
    done = cli(
        "serving", "simulate", "--trace", trace, *SMALL, "--rate", 3, "--slo-tpot", "inf",
        "--out", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    title = page.split("<h1")[1].split("</h1>")[0]
    assert title.endswith("within a TTFT of 1\u00a0s")  # no line ends before the unit
    assert "unbounded" not in page
    tpot = page.split("Distribution of TPOT")[1].split("</svg>")[0]
    assert "lim" not in tpot
    assert "lim" in page.split("Distribution of TTFT")[1].split("</svg>")[0]


def test_readings_beside_a_figure_say_which_they_are(cli, trace, tmp_path) -> None:
    done = cli("serving", "simulate", "--trace", trace, *SMALL, "--rate", 3, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for label, which in (("Waiting", "most"), ("Running", "mean")):
        assert re.search(rf"<b>{label}</b>.*<b>{which} [\d.]+</b>", page), label


def test_the_command_of_the_page_gives_the_same_figures(cli, repeat, trace) -> None:
    mine, out = trace.parent / "my trace.csv", trace.parent / "my run"
    mine.write_text(trace.read_text() + "x\n")
    done = cli(
        "serving", "simulate", "--trace", mine, "--skip-bad-rows", *SMALL, "--rate", 2,
        "--slo-ttft", 0.03, "--slo-tpot", 0.02, "--slo-target", 0.3, "--seed", 3, "--gpu", "h100",
        "--sequences", 3, "--chunk", 64, "--dispatch", "round-robin", "--out", out,
    )  # fmt: skip
    again = repeat((out / "report.html").read_text(encoding="utf-8"))
    first, second = (
        [line for line in run.stdout.splitlines() if not re.search("per CPU s|^Report", line)]
        for run in (done, again)
    )
    assert len(first) > 15
    assert first == second


def test_generated_traffic_takes_a_share_of_the_saturated_throughput(cli) -> None:
    done = cli(
        "serving", "simulate", "--model", "llama-2-7b", "--instances", 1, "--tokens-max", 1024,
        "--duration", 5, "--load", 0.3, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "load 0.3 of the" in orjson.loads(done.stdout)["notes"][0]


def test_limits_that_nothing_meets_are_a_finding(cli, trace) -> None:
    done = cli(
        "serving", "simulate", "--trace", trace, *SMALL, "--rate", 3, "--slo-ttft", 1e-6, "--json"
    )
    assert done.exit_code == 1
    assert orjson.loads(done.stdout)["runs"][0]["good_rps"] == 0.0


def test_limits_that_an_idle_fleet_misses_end_the_search(cli, trace, tmp_path) -> None:
    done = cli(
        "serving", "simulate", "--trace", trace, *SMALL, "--rate", 3, "--slo-ttft", 1e-6,
        "--capacity", "--out", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 1, done.output
    assert re.search(r"no rate keeps .* even at [\d.e-]+ requests/s, .* it is 0.0 %", done.stdout)
    (found,) = orjson.loads((tmp_path / "result.json").read_bytes())["capacities"]
    assert len(found["trials"]) == 4
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.split('id="capacity"')[1].count(">none<") == 2


def test_requests_beyond_context_or_memory_are_noted_and_counted(cli, tmp_path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03,100,10\n2023-11-16 18:17:04,5000,10\n2023-11-16 18:17:05,900000,10\n"
    )
    done = cli("serving", "simulate", "--trace", path, "--model", "yi-34b", "--gpu", "h100",
               "--out", tmp_path)  # fmt: skip
    assert re.search(r"Unanswered +1 rejected", done.stdout), done.output
    notes = orjson.loads((tmp_path / "result.json").read_bytes())["notes"]
    assert notes[0].startswith("2 of 3 requests are longer than the 4,096 tokens of yi-34b")
    assert notes[0].endswith("--tokens-max 4096")
    assert notes[1].startswith("1 of 3 prompts are rejected: an instance has KV memory for ")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(note in page for note in notes)


def test_rows_that_are_left_out_are_counted_with_the_reason(cli, trace, tmp_path) -> None:
    done = cli("serving", "simulate", "--trace", trace, "--tokens-max", 1500, "--json")
    assert re.match(r"\d+ of \d+ rows left out: no tokens, or more than 1,500$",
                    orjson.loads(done.stdout)["notes"][0])  # fmt: skip
    failed = tmp_path / "failed.jsonl"
    row = '{"timestamp": %d, "input_length": 60, "output_length": %d, "hash_ids": [1]}\n'
    failed.write_text("".join(row % (900 * k, k % 2) for k in range(8)))
    done = cli("serving", "simulate", "--trace", failed, "--json")
    assert orjson.loads(done.stdout)["notes"] == ["4 of 8 rows left out: no tokens"]


def test_a_trace_stretched_to_seconds_is_noted(cli, trace) -> None:
    whole = ("serving", "simulate", "--trace", trace, *SMALL[:-2], "--json", "--rate")
    short, long = (orjson.loads(cli(*whole, rate).stdout)["notes"] for rate in (30, 0.3))
    assert any("at this rate the trace lasts" in note for note in short)
    assert not any("at this rate" in note for note in long)


def test_a_model_may_be_named_as_its_publisher_does(cli, trace) -> None:
    done = cli("serving", "simulate", "--trace", trace, *SMALL, "--model",
               "meta-llama/Meta-Llama-3.1-8B-Instruct", "--rate", 3, "--json")  # fmt: skip
    assert orjson.loads(done.stdout)["fleet"].endswith("llama-3.1-8b")


def test_help_names_what_the_simulator_knows() -> None:
    assert GPUS.split(", ") == [key for key in gpu_keys() if "@" not in key]
    assert sorted(MODELS.split(", ")) == sorted(KNOWN_MODELS)
    own = [BATCH_POLICIES[name]().token_budget for name in ("chunked-prefill", "prefill-first")]
    assert own == [512, 2048]  # as the help of --chunk says


@pytest.mark.slow
def test_the_capacity_search_prints_rate_and_goodput(cli, trace, tmp_path) -> None:
    done = cli(
        "serving", "simulate", "--trace", trace, *SMALL, "--rate", 3, "--capacity",
        "--out", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "goodput" in done.stdout
    assert "Goodput per GPU" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--trace", "no-such.csv"), "no-such.csv"),
        (("--policy", "magic"), "choose from chunked-prefill, fcfs, prefill-first"),
        (("--dispatch", "magic"), "choose from least-loaded, prefix-aware, round-robin"),
        (("--gpu", "abacus"), "has no coefficients"),
        (("--model", "llama-2-70b", "--gpu", "A100"), "raise tp_degree"),
        (("--rate", "0"), "--rate is 0.0, expected more than 0"),
        (("--rate", "1", "--load", "1"), "exclude each other"),
        (("--compare", "fcfs,fcfs"), "twice"),
        (("--compare", "fcfs,magic"), "'magic'"),
        (("--chunk", "-1"), "--chunk -1"),
        (("--slo-ttft", "0"), "limits above 0"),
        (("--instances", "0"), "--instances is 0, expected 1 or more"),
        (("--sequences", "0"), "--sequences is 0, expected 1 or more"),
        (("--tp", "0"), "--tp is 0, expected 1 or more"),
        (("--compare", "512,chunked-prefill"), "twice"),
        (("--seed", "-1"), "--seed -1"),
        (("--tokens-max", "-5"), "--tokens-max is -5"),
        (("--dispatch", "prefix-aware"), "without --prefix-cache the instances keep nothing"),
        (("--compare", "fcfs,prefix-aware"), "without --prefix-cache the instances keep nothing"),
    ],
)
def test_wrong_use_is_told_in_one_sentence(cli, arguments, says) -> None:
    done = cli("serving", "simulate", *arguments)
    assert done.exit_code == 2
    plain = re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", done.stderr))
    assert says in plain, done.stderr
    assert "Traceback" not in done.output


@pytest.fixture(scope="module")
def conversations(tmp_path_factory):
    """A Mooncake file of sessions that grow: each turn begins with the one before."""
    path = tmp_path_factory.mktemp("trace") / "sessions.jsonl"
    rows = [
        {
            "timestamp": 250 * number,
            "input_length": 512 * (1 + number // 10) + 100,
            "output_length": 8,
            "hash_ids": [
                *(100 * (number % 10) + k for k in range(1 + number // 10)),
                5000 + number,
            ],
        }
        for number in range(60)
    ]
    path.write_text("".join(orjson.dumps(row).decode() + "\n" for row in rows), encoding="utf-8")
    return path


CACHED = ("--model", "llama-3.1-8b", "--instances", "2", "--prefix-cache")


def test_prefix_caches_are_told_with_and_without(cli, conversations, tmp_path) -> None:
    done = cli(
        "serving", "simulate", "--trace", conversations, *CACHED, "--out", tmp_path,
        "--compare", "round-robin,prefix-aware",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Prefix hits, lowest" in done.stdout
    assert "TTFT p99, no cache" in done.stdout
    result = orjson.loads((tmp_path / "result.json").read_bytes())
    turns, aware = (run["prefix_cache"] for run in result["runs"])
    assert turns["queried_tokens"] == sum(i["queried_tokens"] for i in turns["instances"])
    assert 0.0 < turns["hit_ratio"] <= aware["hit_ratio"] <= result["reuse_ratio"]
    for run in result["runs"]:
        without = run["without_prefix_cache"]
        assert without["prefix_cache"] is None
        assert without["requests"] == run["requests"]
        assert run["ttft_s"]["mean"] < without["ttft_s"]["mean"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Prefix caches" in page
    assert "--prefix-cache" in page


def test_a_load_is_the_same_rate_with_and_without_prefix_caches(cli, conversations) -> None:
    rates = []
    for arguments in (CACHED, CACHED[:4]):
        done = cli("serving", "simulate", "--trace", conversations, *arguments, "--load", 0.5,
                   "--json")  # fmt: skip
        rates.append(orjson.loads(done.stdout)["traffic"])
    assert rates[0] == rates[1]


def test_a_run_that_is_stopped_is_not_compared_with_one_without_caches(monkeypatch) -> None:
    table = with_session_prefixes(generate(seed=1, duration_s=20.0, rate_rps=2.0, failures=False))
    fleet = FleetConfig(num_instances=1, gpu="A100", model="llama-2-7b", prefix_cache=True)

    def stopped(requests, fleet, policies, seed, *, slo, progress):
        report = simulate(requests, fleet, policies, seed, slo=slo)
        return replace(report, complete=not fleet.prefix_cache)

    monkeypatch.setattr(serving_runs, "simulate", stopped)
    runner = serving_runs.Runner(
        console=Console(quiet=True), requests=table, fleet=fleet, slo=Slo(ttft_s=1.0, tpot_s=0.05),
        seed=1,
    )  # fmt: skip
    done = runner.run([Policies(), Policies(dispatch="round-robin")], capacity=False)
    assert not done.complete
    assert len(done.reports) == 1
    assert done.uncached == []
    assert done.figures[0]["without_prefix_cache"] is None


@pytest.mark.slow
def test_without_the_switch_nothing_is_said_of_caches(cli, conversations) -> None:
    done = cli("serving", "simulate", "--trace", conversations, *CACHED[:4], "--json")
    assert done.exit_code == 0, done.output
    result = orjson.loads(done.stdout)
    assert result["runs"][0]["prefix_cache"] is None
    assert result["runs"][0]["without_prefix_cache"] is None
    assert result["reuse_ratio"] is None


def test_generated_conversations_share_their_beginning(cli) -> None:
    done = cli("serving", "simulate", *CACHED, "--duration", 120, "--rate", 2, "--json")
    assert done.exit_code == 0, done.output
    assert orjson.loads(done.stdout)["runs"][0]["prefix_cache"]["hit_ratio"] > 0.01


def test_prompts_that_never_begin_alike_are_noted(cli, tmp_path) -> None:
    rows = '{"timestamp": %d, "input_length": 600, "output_length": 4, "hash_ids": [%d, %d]}\n'
    path = tmp_path / "alone.jsonl"
    path.write_text("".join(rows % (900 * k, 2 * k, 2 * k + 1) for k in range(9)))
    done = cli("serving", "simulate", "--trace", path, *CACHED, "--json")
    result = orjson.loads(done.stdout)
    assert result["runs"][0]["prefix_cache"]["hit_ratio"] == 0.0
    assert result["notes"] == [
        "no prompt begins like an earlier one: prefix caches find nothing here"
    ]


def test_a_trace_without_prefix_ids_cannot_be_reused(cli, trace) -> None:
    done = cli("serving", "simulate", "--trace", trace, "--prefix-cache")
    assert done.exit_code == 2
    plain = re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", done.stderr))
    assert "trace.csv has no prefix ids" in plain
    assert "nothing can be reused" in plain
