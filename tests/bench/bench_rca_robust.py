"""What settings chosen elsewhere and damaged records cost the service ranking, in one go.

Run: python tests/bench/bench_rca_robust.py --data DIR [--out tests/bench/results/rca_robust.json]
DIR holds incident sets in the documented layout. Everything is a share of the same undisturbed
ranking with the shipped settings. Random damage is drawn `DRAWS` times, `midwatch rca evaluate`
draws it once. A case whose cause has no value left after the damage cannot be answered; the
figures count it as a miss and say how many there were.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from rca.datasets import find_cases, read_case
from rca.disturb import Disturbance, disturb
from rca.evaluate import system_of
from rca.incident import Incident
from rca.judging import Judged
from rca.knobs import LocaliseConfig, settings
from rca.localise import CHANNELS, service_ranking
from rca.prepare import prepare
from rca.scoring import accuracy, mean_accuracy, rank_of
from rca.tuning import NEARLY, Tuner

DRAWS = 5
LEFT_OUT = 77
DATA = Path(os.environ.get("MIDWATCH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "rca"

COARSE_S = 30.0  # records with coarser rows are shifted by two rows, finer ones by a minute
LATE_S = 60.0
SHIPPED = LocaliseConfig()
TARGETS = {"hidden": 0.9}
TARGET = 0.95
LOSS = {"set": 0.05, "system": 0.08}
How = Callable[[Incident, int], Incident]


def shifted(sign: int) -> How:
    def apply(incident: Incident, draw: int) -> Incident:
        step_s = incident.step_s
        by_s = 2.0 * step_s if step_s >= COARSE_S else LATE_S
        return disturb(incident, Disturbance(shift_s=sign * by_s))

    return apply


def drawn(how: Disturbance) -> How:
    def apply(incident: Incident, draw: int) -> Incident:
        name = incident.incident_id + (f"#{draw}" if draw else "")
        return disturb(replace(incident, incident_id=name), how)

    return apply


CONDITIONS: dict[str, tuple[How, bool]] = {
    "late": (shifted(1), False),
    "early": (shifted(-1), False),
    "hidden": (drawn(Disturbance(hide_fault_time=True)), False),
    "cells": (drawn(Disturbance(drop_cells=0.3)), True),
    "late_services": (drawn(Disturbance(late_services=0.3)), True),
    "dirty": (drawn(Disturbance(dirty=True)), True),
}
WORDS = {
    "late": "fault time a minute or two steps late",
    "early": "fault time a minute or two steps early",
    "hidden": "fault time hidden, contiguous sets",
    "cells": "30 % of the cells missing",
    "late_services": "30 % of the services late",
    "dirty": "a tenth of the series dead, a reset, doubled stamps",
}


class Bench:
    """Cases of a folder, with the channels' answers kept per split: reading spans costs most."""

    def __init__(self, root: Path, *, all_channels: bool) -> None:
        self.cases = [(case, *read_case(case)) for case in find_cases(root)]
        self.cases = [one for one in self.cases if one[2].is_fault]
        self.all_channels = all_channels
        self.heard: dict[tuple[str, object], tuple] = {}
        self.clean = [self.prepared(n, one[1]) for n, one in enumerate(self.cases)]

    def prepared(self, number: int, incident: Incident):
        found = prepare(incident, channels=())
        if not self.all_channels or found.found.split is None:
            return found
        key = (self.cases[number][0].case_id, found.found.split)
        if key not in self.heard:
            self.heard[key] = tuple(
                s for c in CHANNELS for s in c(self.cases[number][1], found.found.split)
            )
        return replace(found, surprises=self.heard[key])

    def rank(self, number: int, prepared) -> int:
        ranking = [name for name, _ in service_ranking(prepared, SHIPPED)]
        return rank_of(ranking, self.cases[number][2].right)

    def by_set(self, ranks: Sequence[int]) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {}
        for (case, _, _), rank in zip(self.cases, ranks, strict=True):
            out.setdefault(case.dataset, []).append(rank)
        return out


def figures(by_set: dict[str, list[int]]) -> dict[str, object]:
    whole = mean_accuracy([accuracy(r) for r in by_set.values()])
    return {
        "ac_at_1": round(whole.ac_at_1, 4),
        "avg_at_5": round(whole.avg_at_5, 4),
        "sets": {s: round(accuracy(r).ac_at_1, 4) for s, r in sorted(by_set.items())},
    }


def left_out(bench: Bench) -> dict[str, object]:
    judged = [
        Judged(case=case, labels=labels, prepared=bench.clean[n])
        for n, (case, _, labels) in enumerate(bench.cases)
    ]
    tuner, everything = Tuner(judged), list(range(len(judged)))
    inside = tuner.choose(everything)
    value = {c: tuner.value(c, everything) for c in settings()}
    out: dict[str, object] = {
        "num_settings": len(value),
        "nearly_best": sum(v >= max(value.values()) - NEARLY for v in value.values()),
        "in_sample": figures(bench.by_set(tuner.ranks[inside])) | {"knobs": asdict(inside)},
    }
    for kind, key in (("set", lambda j: j.case.dataset), ("system", system_of)):
        ranks, knobs = [0] * len(judged), {}
        for fold in sorted({key(j) for j in judged}):
            chosen = tuner.choose([n for n in everything if key(judged[n]) != fold])
            knobs[fold] = asdict(chosen)
            for n in everything:
                if key(judged[n]) == fold:
                    ranks[n] = tuner.ranks[chosen][n]
        out[kind] = figures(bench.by_set(ranks)) | {"knobs": knobs}
    return out


def damaged(bench: Bench, name: str, clean: dict[str, list[int]], draws: int) -> dict[str, object]:
    how, random = CONDITIONS[name]
    draws = draws if random else 1
    contiguous = {case.dataset for case, _, labels in bench.cases if labels.contiguous}
    kept = contiguous if name == "hidden" else set(clean)
    ratios, found, unanswerable = [], [], 0
    for draw in range(draws):
        ranks = []
        for number, (_, incident, labels) in enumerate(bench.cases):
            worse = how(incident, draw)
            unanswerable += not has_values(worse, labels.right)
            ranks.append(bench.rank(number, bench.prepared(number, worse)))
        by_set = {s: r for s, r in bench.by_set(ranks).items() if s in kept}
        found.append({s: accuracy(r).ac_at_1 for s, r in by_set.items()})
        base = np.mean([accuracy(clean[s]).ac_at_1 for s in by_set])
        ratios.append(float(np.mean(list(found[-1].values())) / base))
    return {
        "words": WORDS[name],
        "target": TARGETS.get(name, TARGET),
        "ratio": round(float(np.mean(ratios)), 4),
        "ratios": [round(r, 4) for r in ratios],
        "sets": {
            s: round(
                float(np.mean([f[s] for f in found])) / max(accuracy(clean[s]).ac_at_1, 1e-9), 4
            )
            for s in sorted(kept)
        },
        "cause_without_values": round(unanswerable / draws, 2),
    }


def has_values(incident: Incident, services: Sequence[str]) -> bool:
    mine = [n for n, c in enumerate(incident.columns) if incident.service_of(c.owner) in services]
    return bool(np.isfinite(incident.values[:, mine]).any())


def measure(root: Path, channels: str, draws: int) -> dict[str, object]:
    bench = Bench(root, all_channels=channels == "all")
    clean = bench.by_set([bench.rank(n, p) for n, p in enumerate(bench.clean)])
    chosen = left_out(bench)
    inside = chosen["in_sample"]["ac_at_1"]
    return {
        "channels": channels,
        "num_cases": len(bench.cases),
        "shipped": figures(clean),
        "settings": chosen,
        "loss": {
            kind: {"loss": round(inside - chosen[kind]["ac_at_1"], 4), "target": LOSS[kind]}
            for kind in LOSS
        },
        "damage": [damaged(bench, name, clean, draws) for name in CONDITIONS],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--channels", choices=("metrics", "all"), action="append")
    parser.add_argument("--draws", type=int, default=DRAWS, help="of random damage")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if not given.data.is_dir():
        print(f"no incidents at {given.data}: name their folder with --data")
        raise SystemExit(LEFT_OUT)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True,
                            text=True, check=False).stdout.strip()  # fmt: skip
    found = {
        "commit": commit, "machine": platform.machine(), "cpus": os.cpu_count(), "seed": 0,
        "unit": "AC@1 of services as the mean over sets; ratios to the undisturbed ranking",
        "draws": given.draws,
        "rows": [measure(given.data, c, given.draws) for c in given.channels or ("metrics", "all")],
    }  # fmt: skip
    text = json.dumps(found, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
