"""RUN's port beside the neural Granger of ours on one made case of 49 metrics: CPU s of both.

Run: make bench-rca, or python tests/bench/peers/speed.py --python PATH-OF-A-PYTHON-3.12
600 rows, noise and one step at three quarters, as in bench_rca.py. RUN runs 1 + 1 epochs, the least
there is and what the package itself sets (the paper: 50 + 50): its time grows with them. One
thread each, one after the other in one run, torch imported before the clock. The result is kept;
`--again` measures anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cleaning import clean
from frame import save
from run import FOLDER, ONE_THREAD, RCAEVAL, REPO, RESULTS, environment

from rca.granger_choice import choose
from rca.granger_kind import GrangerChoice
from rca.incident import Column, Incident
from rca.localise import localise

ROWS, NORMAL, SERVICES = 600, 450, 7
KINDS = ("cpu", "mem", "latency-90", "load", "error", "net-rx", "net-tx")
LIMIT_S = 1800.0
REPEATS = 5
WANTED_TIMES = 50


def made() -> Incident:
    """49 metrics of 7 services, the first of them faulty."""
    rng = np.random.default_rng(0)
    columns = tuple(Column(f"s{n}", kind) for n in range(SERVICES) for kind in KINDS)
    values = rng.normal(10.0, 1.0, (ROWS, len(columns)))
    values[NORMAL:, 0] += 20.0
    return Incident(incident_id="made", times_s=np.arange(float(ROWS)), values=values,
                    columns=columns, step_s=1.0, fault_at_s=float(NORMAL))  # fmt: skip


def ours(incident: Incident) -> dict[str, Any]:
    """The whole answer, and the model alone over all 49 columns."""
    model = choose(GrangerChoice.NEURAL)
    assert model is not None

    def fit() -> Any:
        return model.fit(incident.values, normal_end=NORMAL, fault_start=NORMAL, step_s=1.0,
                         rng=np.random.default_rng(0))  # fmt: skip

    answer = localise(incident, channels=(), granger=model)
    return {
        "first": answer.services[0].name,
        "columns_fitted": len(incident.columns),
        "answer_cpu_s": _cpu(lambda: localise(incident, channels=(), granger=model)),
        "fit_cpu_s": _cpu(fit),
    }


def _cpu(work: Any) -> dict[str, float]:
    work()
    spent = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    found = {"min": min(spent), "median": statistics.median(spent), "max": max(spent)}
    return {name: round(value, 4) for name, value in found.items()}


def theirs(python: Path, incident: Incident) -> dict[str, Any]:
    """RUN's port in the peers' environment, one thread, as any case of the bench."""
    with tempfile.TemporaryDirectory() as folder:
        save(clean(incident), Path(folder) / "made.npz")
        command = [str(python), str(FOLDER / "worker.py"), "--method", "run_least",
                   "--limit-s", str(LIMIT_S), "--until-s", str(time.time() + LIMIT_S),
                   str(Path(folder) / "made.npz")]  # fmt: skip
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | ONE_THREAD
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, check=True)
    answer = json.loads(done.stdout)
    first = (answer.get("columns") or [""])[0]
    return {
        "cpu_s": answer["cpu_s"],
        "first": first.rpartition("_")[0],
        "failed": answer.get("failed", ""),
    }


def shown(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of README's table; ratios against the slowest of our repeats."""
    mine, wanted = figures["ours"], f"at least {figures['wanted_times']}"
    return [
        {"what": "RUN's port", "cpu_s": figures["run"]["cpu_s"], "times": None, "wanted": ""},
        {"what": "midwatch, the whole answer with neural Granger",
         "cpu_s": mine["answer_cpu_s"]["median"], "times": figures["times_faster"]["answer"],
         "wanted": wanted},
        {"what": "the neural model alone, all 49 columns fitted",
         "cpu_s": mine["fit_cpu_s"]["median"], "times": figures["times_faster"]["fit"],
         "wanted": ""},
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="python3.12", help="for the peers' environment")
    parser.add_argument("--again", action="store_true", help="measure though there is a result")
    parser.add_argument("--out", type=Path, default=RESULTS / "peers_speed.json")
    given = parser.parse_args()
    if given.out.is_file() and not given.again:
        print(f"{given.out} is kept; --again measures anew", file=sys.stderr)
        return
    incident = made()
    mine, run = ours(incident), theirs(environment(given.python), incident)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=False, cwd=REPO).stdout.strip()  # fmt: skip
    figures = {
        "commit": commit,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "seed": 0,
        "package": RCAEVAL,
        "metrics": len(incident.columns),
        "rows": ROWS,
        "run_epochs": "1 + 1",
        "ours": mine,
        "run": run,
        "times_faster": {
            "answer": round(run["cpu_s"] / mine["answer_cpu_s"]["max"], 1),
            "fit": round(run["cpu_s"] / mine["fit_cpu_s"]["max"], 1),
        },
        "wanted_times": WANTED_TIMES,
    }
    figures["rows_shown"] = shown(figures)
    given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    sys.exit(main())
