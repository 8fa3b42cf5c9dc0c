"""One seed of every fault kind and six healthy stretches: accuracy must not fall, nor alarms rise.

The stored value is what this gate printed when it was last accepted:
`MIDWATCH_ACCEPT=1 pytest -m slow tests/simulation/test_sweep_gate.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ops.replay.faults import CATALOGUE
from ops.replay.scenarios import load_embedded
from ops.replay.summary import summarise
from ops.replay.sweep import Task, sweep

STORED = Path(__file__).parents[1] / "golden" / "sweep_gate.json"
SEED, LOAD, HEALTHY_HOURS, NUM_HEALTHY = 4, (0.5, 0.85), 2.0, 6
DROP_MAX = 0.1


@pytest.mark.slow
def test_accuracy_has_not_dropped_and_a_healthy_fleet_is_left_alone(tmp_path):
    tasks = [Task(kind, SEED, LOAD, worlds=False) for kind in CATALOGUE]
    tasks += [Task("healthy", SEED + k, LOAD, hours=HEALTHY_HOURS) for k in range(NUM_HEALTHY)]
    rows = sweep(load_embedded("chat"), tasks, out=tmp_path, jobs=2, resume=False)
    figures = summarise(rows)
    found = {
        "ac_at_1": figures["ac_at_1"],
        "ac_at_3": figures["ac_at_3"],
        "accusations": figures["healthy"]["accusations"],
    }
    if os.environ.get("MIDWATCH_ACCEPT"):
        STORED.parent.mkdir(parents=True, exist_ok=True)
        STORED.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    named = {f"{r['kind']}/{r['seed']}": (r["truth"], r["named"]) for r in rows if "truth" in r}
    assert found["ac_at_1"] >= stored["ac_at_1"] - DROP_MAX, named
    assert found["accusations"] <= stored["accusations"] + 1
