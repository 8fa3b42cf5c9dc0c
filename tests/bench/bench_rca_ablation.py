"""What each part of root cause analysis is worth: every recorded case with it and without it.

Run: python tests/bench/bench_rca_ablation.py [--data DIR] [--own DIR]; about five minutes.
Resumable: rows stand in results/rca_ablation.jsonl, and those of another state of `rca/` are
dropped. Own incidents come from `midwatch chaos record --seeds 0:6 --pairs 1 --quiet 1 --out DIR`.

"Whole" is `midwatch rca evaluate` with the shipped settings; each other row leaves out one part,
as the command's --no-PART does. "Told late" is the same with the fault time given 60 s, or two
rows, too late: that is what the change point (onset) is for. A difference is whole less without,
on the same cases, with a 95 % interval of a paired bootstrap over cases within sets; where the
model draws, five seeds, the one with the least gain told. Settings were chosen on the public sets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rca.datasets import Case, find_cases, read_case
from rca.disturb import Disturbance, disturb
from rca.granger_choice import choose
from rca.granger_kind import GrangerChoice
from rca.incident import Incident, Labels
from rca.knobs import LocaliseConfig
from rca.localisation import Localisation
from rca.localise import CHANNELS, decide
from rca.prepare import Prepared, prepare
from rca.scoring import MISS, accuracy, paired_difference, rank_of

FOLDER = Path(__file__).parent
REPO = FOLDER.parents[1]
DATA = Path(os.environ.get("MIDWATCH_DATA", REPO.parent / "shared" / "data")) / "rca"
RESULTS = FOLDER / "results"
SEEDS = range(5)
LEFT_OUT = 77
SEEDED = ("whole", "neural Granger")  # variants that are run with every seed


@dataclass(frozen=True)
class Variant:
    """One way to leave something out, beside which whole it is read."""

    name: str
    whole: str = "whole"
    granger: str = "neural"
    without: frozenset[str] = frozenset()
    repair: bool = True
    spans: bool = True
    logs: bool = True
    late: bool = False


VARIANTS = (
    Variant("whole"),
    Variant("neural Granger, linear instead", granger="linear"),
    Variant("any Granger", granger="off"),
    Variant("onset", repair=False),
    Variant("topology", without=frozenset({"topology"})),
    Variant("spans", spans=False),
    Variant("logs", logs=False),
    Variant("sequences", without=frozenset({"sequences"})),
    Variant("changes", without=frozenset({"change"})),
    Variant("whole, told late", whole="whole, told late", late=True),
    Variant("onset, told late", whole="whole, told late", repair=False, late=True),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of public sets")
    parser.add_argument("--own", type=Path, default=REPO / "out" / "incidents",
                        help="folder that midwatch chaos record wrote")  # fmt: skip
    parser.add_argument("--per-set", type=int, default=30, metavar="N",
                        help="evenly spaced own incidents of each set; 0: all")  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    roots = {"public": given.data, "own": given.own}
    for name, root in roots.items():
        if not root.is_dir():
            print(f"{name} incidents left out: no {root}")
    there = {name: root for name, root in roots.items() if root.is_dir()}
    if not there:
        return LEFT_OUT
    rows = Rows(given.results / "rca_ablation.jsonl", source_hash())
    for name, root in there.items():
        cases = spread(find_cases(root), given.per_set if name == "own" else 0)
        for number, case in enumerate(cases, 1):
            if not rows.has(name, case.dataset, case.name):
                incident, labels = read_case(case)
                if labels.is_fault:
                    found = list(measured(incident, labels))
                    rows.add([{"of": name, "set": case.dataset, "case": case.name, **one}
                              for one in found])  # fmt: skip
            print(f"\r{name} {number}/{len(cases)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "seeds": list(SEEDS), "code": rows.code,
        "cases": {name: counts(rows.of(name)) for name in there},
        "rows": [row for name in there for row in summary(name, rows.of(name))],
    }  # fmt: skip
    path = given.results / "rca_ablation.json"
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for row in figures["rows"]:
        print(told(row))
    print(f"wrote {path}")
    return 0


def spread(cases: list[Case], most: int) -> list[Case]:
    """At most so many evenly spaced cases of each set; 0 keeps all."""
    sets: dict[str, list[Case]] = {}
    for case in cases:
        sets.setdefault(case.dataset, []).append(case)
    return [case for name in sorted(sets) for number, case in enumerate(sets[name])
            if not most or number * most // len(sets[name])
            != (number - 1) * most // len(sets[name])]  # fmt: skip


def source_hash() -> str:
    """Of the package that is measured: rows of other code are no rows of this one."""
    digest = hashlib.sha256()
    for path in sorted((REPO / "rca").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def case_of(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["of"], row["set"], row["case"]


class Rows:
    """Results so far, one case after the other on disk."""

    def __init__(self, path: Path, code: str) -> None:
        self.path, self.code = path, code
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        # A line that a kill cut short has no end; what it belongs to is measured again.
        found = [json.loads(line) for line in text.split("\n")[:-1]]
        same = [row for row in found if row["code"] == code]
        met = Counter(case_of(row) for row in same)
        self.done = {case for case, count in met.items() if count == len(VARIANTS)}
        self.kept: list[dict[str, Any]] = [row for row in same if case_of(row) in self.done]
        if len(self.kept) < len(found):
            print(f"{len(found) - len(self.kept)} rows of other code, or of a case cut short, "
                  "dropped", file=sys.stderr)  # fmt: skip
        path.write_text("".join(json.dumps(row) + "\n" for row in self.kept), encoding="utf-8")

    def has(self, of: str, dataset: str, case: str) -> bool:
        return (of, dataset, case) in self.done

    def of(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.kept if row["of"] == name]

    def add(self, rows: list[dict[str, Any]]) -> None:
        rows = [{**row, "code": self.code} for row in rows]
        self.kept += rows
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def measured(incident: Incident, labels: Labels) -> Iterator[dict[str, Any]]:
    """Ranks of the cause under every variant and seed; null where it is not ranked."""
    models = {name: choose(GrangerChoice(name)) for name in ("neural", "linear", "off")}
    ready: dict[Variant, Prepared] = {}
    for variant in VARIANTS:
        key = replace(variant, name="", whole="", granger="")
        if key not in ready:
            ready[key] = prepared(incident, variant)
        ranks: list[int] = []
        metrics: list[int | None] = []
        for seed in SEEDS:
            answer = decide(
                ready[key], LocaliseConfig(), granger=models[variant.granger], seed=seed
            )
            ranks.append(rank_of([s.name for s in answer.services], labels.right))
            metrics.append(metric_rank(answer, labels))
            drawn = variant.name.startswith(SEEDED) and answer.granger.used
            if not drawn or metrics[0] is None:
                break  # services do not depend on the model at all: tests/rca/test_causal.py
        yield {
            "variant": variant.name, "ranks": [None if r == MISS else r for r in ranks],
            "metric_ranks": [None if r == MISS else r for r in metrics],
            "labelled": metrics[0] is not None, "granger": answer.granger.used,
            "channels": list(answer.used),
        }  # fmt: skip


def prepared(incident: Incident, variant: Variant) -> Prepared:
    """The incident without what the variant leaves out, read, split, channels asked."""
    if variant.late:
        late_s = max(60.0, 2.0 * incident.step_s)
        incident = disturb(incident, Disturbance(shift_s=late_s))
    if not variant.spans:
        incident = replace(incident, spans=None, normal_spans=())
    if not variant.logs:
        incident = replace(incident, logs=None, normal_logs=())
    return prepare(incident, channels=CHANNELS, without=variant.without, repair=variant.repair)


def metric_rank(answer: Localisation, labels: Labels) -> int | None:
    return rank_of([m.name for m in answer.metrics], labels.metrics) if labels.metrics else None


def counts(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Cases per set, those with a labelled metric, and those that a Granger model could be had."""
    out: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["variant"] == "whole":
            one = out.setdefault(row["set"], {"cases": 0, "metric_labelled": 0, "granger": 0})
            one["cases"] += 1
            one["metric_labelled"] += row["labelled"]
            one["granger"] += bool(row["granger"])
    return dict(sorted(out.items()))


def ranks_of(rows: list[dict[str, Any]], variant: str, key: str, seed: int) -> dict[str, list[int]]:
    """Set -> ranks in one order of cases; what is not drawn is the same for all seeds."""
    out: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda r: (r["set"], r["case"])):
        if row["variant"] == variant and (key == "ranks" or row["labelled"]):
            values = row[key]
            value = values[min(seed, len(values) - 1)]
            out.setdefault(row["set"], []).append(MISS if value is None else value)
    return out


def summary(of: str, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row per variant and level."""
    for variant in VARIANTS:
        for level, key in (("service", "ranks"), ("metric", "metric_ranks")):
            seeds = SEEDS if variant.name.startswith(SEEDED) or "Granger" in variant.name else (0,)
            mine = [ranks_of(rows, variant.name, key, seed) for seed in seeds]
            whole = [ranks_of(rows, variant.whole, key, seed) for seed in seeds]
            if not mine[0]:
                continue
            words = variant.name if variant.name == variant.whole else f"without {variant.name}"
            row: dict[str, Any] = {"of": of, "part": variant.name, "level": level, "words": words}
            for figure, depth in (("ac_at_1", 1), ("avg_at_5", 5)):
                values = [mean_of(one, figure) for one in mine]
                gains = [paired_difference(w, m, depth=depth)
                         for w, m in zip(whole, mine, strict=True)]  # fmt: skip
                worst = min(gains, key=lambda g: g.value)
                row[figure] = round(statistics.mean(values), 4)
                row[f"{figure}_seeds"] = [round(min(values), 4), round(max(values), 4)]
                row[f"{figure}_worth"] = [round(v, 4) for v in (worst.value, worst.low, worst.high)]
                row[f"{figure}_worth_told"] = f"{worst.value:+.3f} ({worst.low:+.3f} to "\
                    f"{worst.high:+.3f})"  # fmt: skip
            row["sets"] = {name: round(accuracy(r).ac_at_1, 4) for name, r in mine[0].items()}
            row["spoke_in"] = spoke(rows, variant)
            yield row


def mean_of(ranks: dict[str, list[int]], figure: str) -> float:
    return statistics.mean(getattr(accuracy(one), figure) for one in ranks.values())


CHANNELS_OF = {
    "spans": {"self-time", "edges", "structure"}, "logs": {"errors", "sequences"},
    "sequences": {"sequences"}, "changes": {"change"},
}  # fmt: skip


def spoke(rows: list[dict[str, Any]], variant: Variant) -> int | None:
    """Cases of the whole in which the part said anything; null where that is not recorded."""
    whole = [row for row in rows if row["variant"] == "whole"]
    if variant.name in CHANNELS_OF:
        return sum(bool(CHANNELS_OF[variant.name] & set(row["channels"])) for row in whole)
    if "Granger" in variant.name:
        return sum(bool(row["granger"]) for row in whole)
    return None


def told(row: dict[str, Any]) -> str:
    worth = "" if row["part"].startswith("whole") else (
        f" worth {row['ac_at_1_worth_told']}, Avg@5 {row['avg_at_5_worth_told']}"
    )  # fmt: skip
    return (f"{row['of']:7s}{row['level']:8s}{row['part']:32s} AC@1 {row['ac_at_1']:.3f} Avg@5 "
            f"{row['avg_at_5']:.3f}{worth}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
