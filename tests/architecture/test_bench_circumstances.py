"""A figure of a bench tells what it was measured under."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.mark.parametrize("name", ["prometheus", "watch_frame", "reflector", "operator_idle"])
def test_results_of_a_bench_tell_commit_machine_seed_and_load(name):
    source = (BENCH / f"bench_{name}.py").read_text(encoding="utf-8")
    assert f'"{name}.json"' in source
    assert "circumstances(seed=" in source


def test_circumstances_are_known():
    spec = importlib.util.spec_from_file_location("circumstances", BENCH / "circumstances.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    told = module.circumstances(seed=7)
    assert set(told) == {"commit", "machine", "seed", "load_average"}
    assert (told["seed"], len(told["load_average"])) == (7, 3)
