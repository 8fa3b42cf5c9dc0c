"""`midwatch replay` end to end on a small fleet: figures, files, bundles, repeats."""

from __future__ import annotations

import shutil
import tarfile

import orjson
import pytest

pytestmark = pytest.mark.slow

REQUESTS = ["arrived", "ok", "failed", "timed_out", "rejected", "cancelled", "in_flight"]


def test_the_printed_keys_are_the_fixed_ones(faulty_run):
    figures, _ = faulty_run
    assert list(figures) == [
        "requests", "attempts", "load", "seed", "engine", "bad_minutes", "incidents", "report",
    ]  # fmt: skip
    assert list(figures["requests"]) == REQUESTS
    assert list(figures["attempts"]) == ["total", "retries"]
    assert list(figures["bad_minutes"]) == ["without", "with"]
    incident = figures["incidents"][0]
    assert list(incident) == [
        "began_at_s", "detected_at_s", "diagnosed_at_s", "causes", "actions",
    ]  # fmt: skip
    assert list(incident["causes"][0]) == ["entity", "resource_class", "confidence"]
    assert list(incident["actions"][0]) == ["kind", "target", "outcome"]


def test_both_ledgers_balance(faulty_run):
    requests, attempts = faulty_run[0]["requests"], faulty_run[0]["attempts"]
    rejected = sum(requests["rejected"].values())
    told = sum(requests[k] for k in REQUESTS[1:] if k != "rejected") + rejected
    assert requests["arrived"] == told > 1000
    waiting = requests["arrived"] + attempts["retries"] - attempts["total"]
    assert 0 <= waiting <= requests["in_flight"]  # of those that wait for their next attempt


def test_the_broken_service_is_named_and_acted_upon(faulty_run):
    figures, _ = faulty_run
    incident = figures["incidents"][0]
    assert incident["causes"][0]["entity"] == "service:home/auth"
    assert 180.0 <= incident["detected_at_s"] <= incident["diagnosed_at_s"] <= 270.0
    assert incident["actions"]
    assert figures["bad_minutes"]["with"] <= figures["bad_minutes"]["without"]


def test_every_file_is_written(faulty_run):
    _, out = faulty_run
    names = {"report.html", "report.md", "report.json", "journal.jsonl", "run.json", "bundle"}
    assert {p.name for p in out.iterdir()} == names
    assert (out / "report.html").stat().st_size < 400 * 1024
    run = orjson.loads((out / "run.json").read_bytes())
    assert run["complete"] is True
    assert len(run["journal_sha256"]) == 64
    assert {"midwatch", "python", "numpy"} <= run["versions"].keys()
    assert run["source"]["seed"] == 3


def test_the_report_does_not_know_the_truth(faulty_run):
    _, out = faulty_run
    for name in ("report.html", "report.md", "report.json", "journal.jsonl", "run.json"):
        assert "bad-code" not in (out / name).read_text(encoding="utf-8"), name
    truth = (out / "bundle" / "inc-0001" / "truth.json").read_text(encoding="utf-8")
    assert "bad-code" in truth


def test_the_same_seed_gives_the_same_bytes(faulty_run, faulty_run_again):
    (first, a), (second, b) = faulty_run, faulty_run_again
    assert first["incidents"] == second["incidents"]
    for name in ("journal.jsonl", "report.json", "bundle/inc-0001/metrics.om.gz"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_a_bundle_of_a_simulation_gives_the_same_journal_again(cli, faulty_run, tmp_path):
    _, out = faulty_run
    done = cli("replay", out / "bundle" / "inc-0001", "--out", tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert "the same as recorded" in done.stderr
    again = (tmp_path / "again" / "journal.jsonl").read_bytes()
    assert again == (out / "journal.jsonl").read_bytes()


def test_a_recording_without_a_world_is_ranked_the_same_way_each_time(cli, faulty_run, tmp_path):
    recording = tmp_path / "recording"
    shutil.copytree(faulty_run[1] / "bundle" / "inc-0001", recording)
    manifest = orjson.loads((recording / "manifest.json").read_bytes())
    (recording / "manifest.json").write_bytes(orjson.dumps(manifest | {"source": {}}))
    first, second = cli("replay", recording), cli("replay", recording)
    assert first.exit_code == 0, first.output
    assert first.stdout == second.stdout
    assert "service:home/auth" in first.stdout.splitlines()[1]


def test_without_the_loop_no_incident_is_told(cli, inputs, faulty_run, tmp_path):
    done = cli(
        "replay", inputs / "faulty.toml", "--trace", inputs / "trace.csv", "--load", 0,
        "--seed", 3, "--only", "without", "--json", "--out", tmp_path,
    )  # fmt: skip
    figures = orjson.loads(done.stdout)
    assert figures["incidents"] == []
    both = faulty_run[0]["bad_minutes"]["without"]
    assert figures["bad_minutes"] == {"without": both, "with": None}
    assert not (tmp_path / "bundle").exists()
    assert "with midwatch" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_healthy_run_names_nobody(cli, inputs, tmp_path):
    done = cli(
        "replay", inputs / "healthy.toml", "--trace", inputs / "trace.csv", "--load", 0,
        "--seed", 3, "--only", "with", "--out", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "No incident in" in done.stdout
    *lines, path = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert path.endswith("report.html")


def test_a_missed_steady_state_is_a_finding(cli, inputs, tmp_path):
    text = (inputs / "healthy.toml").read_text(encoding="utf-8")
    strict = tmp_path / "strict.toml"
    strict.write_text(text.replace("ttft_s = 2.0", "ttft_s = 0.01"), encoding="utf-8")
    done = cli(
        "replay", strict, "--trace", inputs / "trace.csv", "--load", 0, "--only", "without",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 1
    assert "steady state missed" in done.stderr


def test_show_and_export_tell_of_the_incident(cli, faulty_run, tmp_path):
    _, out = faulty_run
    plain = cli("incident", "show", out, "--id", "inc-0001")
    assert "inc-0001" in plain.stdout
    assert "service:home/auth" in plain.stdout
    assert cli("incident", "show", out / "bundle" / "inc-0001").stdout == plain.stdout
    assert "| diagnose |" in cli("incident", "show", out, "--markdown").stdout
    entries = orjson.loads(cli("incident", "show", out, "--json").stdout)
    assert {e["incident_id"] for e in entries} >= {"inc-0001"}
    tar = tmp_path / "inc.tar"
    done = cli("incident", "export", out, "--id", "inc-0001", "--out", tar)
    assert done.exit_code == 0, done.output
    with tarfile.open(tar) as archive:
        archive.extractall(tmp_path)
    assert not (tmp_path / "inc-0001" / "truth.json").exists()
    again = cli("incident", "show", tmp_path / "inc-0001")
    assert again.stdout == plain.stdout


def test_a_bundle_that_was_changed_is_refused(cli, faulty_run, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(faulty_run[1] / "bundle" / "inc-0001", changed)
    (changed / "changes.jsonl").write_bytes(b"")
    for arguments in (
        ("replay", changed),
        ("incident", "export", changed, "--id", "inc-0001", "--out", tmp_path / "x.tar"),
    ):
        done = cli(*arguments)
        assert done.exit_code == 2
        assert "was changed" in " ".join(done.stderr.replace("│", " ").split())
        assert "Traceback" not in done.output


def test_a_scenario_that_was_changed_since_is_refused(cli, inputs, tmp_path):
    scenario = tmp_path / "mine.toml"
    shutil.copy(inputs / "faulty.toml", scenario)
    run = tmp_path / "run"
    done = cli(
        "replay", scenario, "--trace", inputs / "trace.csv", "--load", 0, "--only", "without",
        "--out", run,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    scenario.write_text(scenario.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    done = cli("replay", run, "--out", tmp_path / "again")
    assert done.exit_code == 2
    assert "another content" in " ".join(done.stderr.replace("│", " ").split())
