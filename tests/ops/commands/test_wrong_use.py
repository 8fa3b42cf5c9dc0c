"""Wrong use of the commands: exit code 2 and a sentence, never a traceback."""

from __future__ import annotations

import pytest

TRACE = "arrival_s,num_prompt_tokens\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("no-such",), "neither a file nor one of"),
        (("chat", "--load", "nan"), "--load"),
        (("chat", "--load", "-1"), "out of range"),
        (("chat", "--load", "many"), "number"),
        (("chat", "--load", "0"), "generator has none"),
        (("chat", "--seed", "-1"), "expected 0 or more"),
        (("chat", "--instances", "999"), "out of range"),
        (("chat", "--regions", "9"), "has 2 regions"),
        (("chat", "--regions", "mars"), "is no region"),
        (("chat", "--gpu", "H0"), "is no gpu"),
        (("chat", "--model", "abacus"), "is no model"),
        (("chat", "--only", "neither"), "'with', 'without'"),
        (("chat", "--trace", "no-such.csv"), "no-such.csv"),
    ],
)
def test_bad_values_of_replay_are_named(cli, tmp_path, arguments, says):
    done = cli("replay", *arguments, "--out", tmp_path)
    told = " ".join(done.stderr.replace("│", " ").split())
    assert done.exit_code == 2, done.output
    assert says in told
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("content", "more", "says"),
    [
        (b"", (), "empty"),
        (b"\x00\xff\x00", (), "trace"),
        (b"a,b\n1,2\n", (), "no known trace format"),
        (b"a,b\n1,2\n", ("--format", "azure-2023"), "pass --format"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\nx,1,2\n", (), "TIMESTAMP"),
    ],
)
def test_a_bad_trace_is_named(cli, tmp_path, content, more, says):
    trace = tmp_path / "trace.csv"
    trace.write_bytes(content)
    done = cli("replay", "chat", "--trace", trace, *more, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert says in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.output


def test_a_bad_scenario_lists_its_problems(cli, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('[scenario]\nname = "x"\nduration_s = nan\n', encoding="utf-8")
    done = cli("replay", path, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "duration_s" in done.stderr


def test_a_bundle_takes_no_options(cli, tmp_path):
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    done = cli("replay", tmp_path, "--seed", "4")
    assert done.exit_code == 2
    assert "replayed as it was" in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("raw", ("", "[1]", "{}", '{"source": 3, "journal_sha256": ""}'))
def test_a_broken_run_file_is_named(cli, tmp_path, raw):
    (tmp_path / "run.json").write_text(raw, encoding="utf-8")
    done = cli("replay", tmp_path)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nowhere"),
        ("show", "nowhere", "--markdown", "--json"),
        ("export", "nowhere", "--id", "inc-0001", "--out", "x.tar"),
    ],
)
def test_an_incident_of_nowhere_is_named(cli, tmp_path, arguments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cli("incident", *arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert not (tmp_path / "x.tar").exists()


def test_an_unknown_incident_is_named_with_those_that_exist(cli, tmp_path):
    (tmp_path / "journal.jsonl").write_text(
        '{"at_s":1,"kind":"open","incident_id":"inc-0001","reason":"r"}\n', encoding="utf-8"
    )
    done = cli("incident", "show", tmp_path, "--id", "inc-0009")
    assert done.exit_code == 2
    assert "it has inc-0001" in " ".join(done.stderr.replace("│", " ").split())
