"""The sweep: every row on disk at once, resumable after a torn line."""

from __future__ import annotations

from dataclasses import replace

import pytest

import ops.replay.sweep
from ops.replay.sweep import Task, read_rows, run_task, sweep

LOAD = (0.5, 0.85)
TASKS = [Task(kind, seed, LOAD) for kind in ("cpu-hog", "pod-kill") for seed in (0, 1)]


@pytest.fixture
def ran(monkeypatch):
    """Keys of the tasks that were simulated."""
    seen = []

    def fake(base, task):
        seen.append(task.key)
        return {"key": task.key, "kind": task.kind, "seed": task.seed}

    monkeypatch.setattr(ops.replay.sweep, "run_task", fake)
    monkeypatch.setattr(ops.replay.sweep, "capacity_rps", lambda base, traffic: 5.0)
    return seen


def go(sim, folder, tasks=TASKS, *, resume=True, progress=None):
    return sweep(sim.scenario(), tasks, out=folder, jobs=1, resume=resume, progress=progress)


def test_rows_come_in_the_order_of_the_tasks(sim, ran, tmp_path):
    rows = go(sim, tmp_path)
    assert [r["key"] for r in rows] == [t.key for t in TASKS] == ran
    assert list(read_rows(tmp_path / "runs.jsonl")) == ran


@pytest.mark.slow
def test_a_fault_without_a_target_does_not_stop_the_sweep(sim, monkeypatch):
    monkeypatch.setattr(ops.replay.sweep, "capacity_rps", lambda base, traffic: 0.1)
    scenario = sim.scenario()
    services = tuple(
        replace(s, calls=tuple(replace(c, pool=0) for c in s.calls)) for s in scenario.services
    )
    bare = replace(scenario, services=services)
    row = run_task(bare, Task("pool-exhaustion", 0, LOAD, worlds=False))
    assert row["key"] == "pool-exhaustion/0/0.5:0.85/0/0"
    assert "nothing in scenario 'tiny' qualifies" in row["skipped"]


def test_a_stopped_sweep_goes_on_where_it_was(sim, ran, tmp_path):
    def stop(row):
        if row["seed"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(sim, tmp_path, progress=stop)
    assert len(read_rows(tmp_path / "runs.jsonl")) == 2
    rows = go(sim, tmp_path)
    assert len(rows) == 4
    assert ran == [t.key for t in TASKS]  # none of them twice


def test_a_torn_last_line_is_simulated_again(sim, ran, tmp_path):
    go(sim, tmp_path)
    path = tmp_path / "runs.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    ran.clear()
    assert len(go(sim, tmp_path)) == 4
    assert ran == [TASKS[-1].key]
    assert len(path.read_bytes().splitlines()) == 4


def test_without_resume_everything_is_simulated_again(sim, ran, tmp_path):
    go(sim, tmp_path)
    go(sim, tmp_path, resume=False)
    assert len(ran) == 8


def test_a_finished_sweep_simulates_nothing(sim, ran, tmp_path):
    first = go(sim, tmp_path)
    ran.clear()
    assert go(sim, tmp_path) == first
    assert ran == []


def test_every_part_of_a_task_is_in_its_key():
    base = Task("cpu-hog", 0, LOAD)
    others = [
        Task("bad-code", 0, LOAD), Task("cpu-hog", 1, LOAD), Task("cpu-hog", 0, (0.5, 0.8)),
        Task("cpu-hog", 0, LOAD, hours=2.0), Task("cpu-hog", 0, LOAD, worlds=False),
    ]  # fmt: skip
    assert len({t.key for t in (base, *others)}) == 6


def test_no_file_is_no_rows(tmp_path):
    assert read_rows(tmp_path / "nothing.jsonl") == {}
