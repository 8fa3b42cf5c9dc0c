"""Peers of root cause analysis on the recorded incidents, beside `midwatch rca evaluate`.

Run: make bench-rca, or python tests/bench/peers/run.py --python PATH-OF-A-PYTHON-3.12
Every peer gets the same cleaned frame and the fault time, never a label; each case runs in a
process of its own with one thread, 120 CPU seconds and seed 0. Cheap methods answer all cases, slow
ones 20 evenly spaced cases a set, the narrowest tables first, until the time is up. Rows that stand
in results/peers.jsonl are not run again (`--again METHOD` does). Not for CI: it needs most of an
hour of two cores, and several GB for the environment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cleaning import clean
from frame import save
from references import REFERENCES
from summary import summarise, table
from worker import OUT_OF_TIME

from rca.datasets import Case, find_cases, read_case
from rca.incident import Column, Incident, Labels
from rca.scoring import MISS, candidates_of, rank_of, services_of

FOLDER = Path(__file__).parent
REPO = FOLDER.parents[2]
DATA = Path(os.environ.get("MIDWATCH_DATA", REPO.parent / "shared" / "data")) / "rca"
RESULTS = FOLDER.parent / "results"
VENV = REPO / "out" / "peers-venv"
RCAEVAL = "RCAEval==1.8.1"
CHEAP = ("nsigma", "baro", *REFERENCES)
SLOW = ("pc_pagerank", "circa", "granger_pagerank", "run")
SAMPLE = 20  # cases a set for the slow ones
OURS = {  # method -> options of `midwatch rca evaluate`
    "midwatch, metrics": ("--channels", "metrics", "--leave-out", "set"),
    "midwatch, metrics, system left out": ("--channels", "metrics", "--leave-out", "system"),
    "midwatch, all channels": ("--leave-out", "set"),
    "midwatch, all channels, system left out": ("--leave-out", "system"),
}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Known:
    """One case, read once for all methods."""

    case: Case
    incident: Incident
    labels: Labels
    frame: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of sets")
    parser.add_argument("--python", default="python3.12", help="for the peers' environment")
    parser.add_argument("--methods", nargs="*", default=[*CHEAP, *SLOW], metavar="METHOD",
                        help=f"some of {', '.join((*CHEAP, *SLOW))}; none: only ours")  # fmt: skip
    parser.add_argument("--again", nargs="*", default=[], metavar="METHOD", help="forget these")
    parser.add_argument("--limit-s", type=float, default=120.0, help="CPU seconds a case")
    parser.add_argument("--budget-min", type=float, default=40.0, help="stop taking cases then")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of peers.json[l]")
    parser.add_argument("--ours", choices=("run", "keep"), default="run", help="measure ours anew")
    given = parser.parse_args()
    unknown = {*given.methods, *given.again} - {*CHEAP, *SLOW}
    if unknown:
        parser.error(f"there is no method {min(unknown)!r}; take some of {', '.join(CHEAP + SLOW)}")
    if not given.data.is_dir():
        parser.error(f"{given.data} does not exist; name the folder of sets with --data")
    rows = Rows(
        given.results / "peers.jsonl", forget={*given.again, *(OURS if given.ours == "run" else ())}
    )
    until = time.time() + 60.0 * given.budget_min
    if given.methods:
        _run_peers(given, rows, until)
    if given.ours == "run":
        for name, options in OURS.items():
            rows.add(_ours(name, given.data, options))
    figures = summarise(rows.kept, first=(*OURS, *CHEAP, *SLOW), ours=tuple(OURS))
    figures = _about(given) | figures
    (given.results / "peers.json").write_text(
        json.dumps(figures, indent=1) + "\n", encoding="utf-8"
    )
    print(table(figures))


class Rows:
    """Results so far; each new one is on disk before the next begins."""

    def __init__(self, path: Path, *, forget: set[str]) -> None:
        self.path = path
        self.lock = threading.Lock()
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        found = [json.loads(line) for line in text.splitlines()]
        self.kept: list[dict[str, Any]] = [r for r in found if r["method"] not in forget]
        if len(self.kept) < len(found):
            self._write("w", self.kept)

    def has(self, method: str, case: Case) -> bool:
        """Whether this method has met this case."""
        return any((r["method"], r["set"], r["case"]) == (method, case.dataset, case.name)
                   for r in self.kept)  # fmt: skip

    def late(self, method: str, name: str) -> int:
        """Cases of a set that this method gave no answer to in time, 0 where it answered any."""
        found = [r["failed"] for r in self.kept if (r["method"], r["set"]) == (method, name)]
        return sum(f.startswith(OUT_OF_TIME) for f in found) if all(found) else 0

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Keep and write them."""
        with self.lock:
            self.kept += rows
            self._write("a", rows)

    def _write(self, mode: str, rows: Iterable[dict[str, Any]]) -> None:
        with self.path.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def _run_peers(given: argparse.Namespace, rows: Rows, until: float) -> None:
    python = environment(given.python)
    with tempfile.TemporaryDirectory() as folder:
        known = list(_read(given.data, Path(folder)))
        tasks = [(m, part) for m in given.methods for part in _parts(m, known, rows)]
        # Cheap methods in full, then the slow ones set by set: the narrowest tables first.
        tasks.sort(key=lambda t: (t[0] in SLOW, t[0] in SLOW and len(t[1][0].incident.columns)))
        with ThreadPoolExecutor(given.jobs) as pool:
            for done in [pool.submit(_task, python, m, part, given.limit_s, until, rows)
                         for m, part in tasks]:  # fmt: skip
                done.result()


def _read(data: Path, folder: Path) -> Iterable[Known]:
    for number, case in enumerate(find_cases(data)):
        incident, labels = read_case(case)
        if labels.service:
            # Numbered: a folder's name may tell the cause.
            path = folder / f"{number:04d}.npz"
            save(clean(incident), path)
            yield Known(case, incident, labels, path)


def _parts(method: str, known: list[Known], rows: Rows) -> list[list[Known]]:
    """The cases a method still owes, set by set."""
    parts = []
    for name in sorted({k.case.dataset for k in known}):
        cases = [k for k in known if k.case.dataset == name]
        asked = spaced(cases, SAMPLE) if method in SLOW else cases
        parts.append([k for k in asked if not rows.has(method, k.case)])
    return [part for part in parts if part]


def spaced(cases: list[Known], count: int) -> list[Known]:
    """So many at evenly spaced places, the first and the last among them; all if they are few."""
    if len(cases) <= count:
        return cases
    return [cases[round(n * (len(cases) - 1) / (count - 1))] for n in range(count)]


def _task(
    python: Path, method: str, part: list[Known], limit_s: float, until: float, rows: Rows
) -> None:
    if time.time() >= until:
        return
    by_frame = {k.frame.stem: k for k in part}
    command = [str(python), str(FOLDER / "worker.py"), "--method", method,
               "--limit-s", str(limit_s), "--until-s", str(until),
               "--late", str(rows.late(method, part[0].case.dataset)),
               *(str(k.frame) for k in part)]  # fmt: skip
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | ONE_THREAD
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        for line in process.stdout or ():
            answer = json.loads(line)
            rows.add([scored(method, by_frame[answer["frame"]], answer)])
    if process.returncode:
        raise SystemExit(f"{method} on {part[0].case.dataset}: the process ended with code "
                         f"{process.returncode}; its words are above")  # fmt: skip
    print(f"{method} on {part[0].case.dataset}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def scored(method: str, known: Known, answer: dict[str, Any]) -> dict[str, Any]:
    """Ranks of an answer by the rules that ours is scored by."""
    incident, labels = known.incident, known.labels
    columns = [Column.parse(c) for c in answer.get("columns") or ()]
    services = services_of(columns, incident)
    if answer.get("services"):
        services = [s for s in answer["services"] if s in set(incident.services)]
    metrics = [str(c) for c in candidates_of(columns, incident)]
    return {
        "method": method,
        "set": known.case.dataset,
        "case": known.case.name,
        "kind": labels.fault_type,
        "rank": _or_none(rank_of(services, (labels.service, *labels.also))),
        "metric_rank": _or_none(rank_of(metrics, labels.metrics or ())),
        "metric_labelled": bool(labels.metrics),
        "candidates": len(incident.services),
        "cpu_s": answer.get("cpu_s"),
        "wall_s": answer.get("wall_s"),
        "failed": answer.get("failed", ""),
    }


def _or_none(rank: int) -> int | None:
    return None if rank == MISS else rank


def _ours(name: str, data: Path, options: tuple[str, ...]) -> list[dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "ops",
        "rca",
        "evaluate",
        "--data",
        str(data),
        "--json",
        *options,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True,
                          env=os.environ | ONE_THREAD)  # fmt: skip
    return [{"method": name} | row for row in json.loads(done.stdout)["cases"]]


def environment(python: str) -> Path:
    """Interpreter of the peers' environment, made where it is missing or its pins have changed."""
    requirements = FOLDER / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + RCAEVAL.encode()).hexdigest()
    own, ready = VENV / "bin" / "python", VENV / "ready"
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return own
    ask = [python, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    try:
        version = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"{python} does not run ({error}); give a Python 3.12 with --python"
        ) from None
    if version != "3.12":
        raise SystemExit(
            f"{python} is Python {version}, RCAEval hides its methods there; "
            "give a Python 3.12 with --python"
        )
    subprocess.run([python, "-m", "venv", str(VENV)], check=True)
    pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(requirements)], check=True)
    subprocess.run([*pip, "--no-deps", RCAEVAL], check=True)
    ready.write_text(wanted, encoding="utf-8")
    return own


def _about(given: argparse.Namespace) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=False, cwd=REPO).stdout.strip()  # fmt: skip
    return {
        "commit": commit,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "seed": 0,
        "package": RCAEVAL,
        "limit_cpu_s": given.limit_s,
        "threads": 1,
        "unit": "CPU seconds a case, median",
        "sample": f"{SAMPLE} evenly spaced cases a set for {', '.join(SLOW)}; all for the others",
        "run_epochs": "10 + 10 (paper: 50 + 50; the package itself: 1 + 1)",
    }


if __name__ == "__main__":
    main()
