"""Neural against ridge Granger: planted graphs, planted faults, recorded incidents, speed, memory.

Run: make bench ONLY=granger, or python tests/bench/bench_granger.py; about two CPU minutes.
Writes tests/bench/results/granger.json. Settings of both models are chosen on seeds 0-9; what is
told is of seeds 100-104 (graphs) and 100-129 (faults). Graphs are acyclic, 600 rows of which 450
are normal, lags 1-3, noise of sd 1; "curved" effects are drawn from |x|, sin, cos, tanh, the
positive part and a capped square. Ridge is tuned over penalty, lags and both of its scores.

Recorded incidents (MIDWATCH_DATA, or shared/data beside the repository) are those with 150 normal
rows and a sample per 15 s: `rcd_sockshop`, `dycause_ss`. They were looked at while the rest of the
package was made; neither Granger model was tuned on them. "Exogenous alone" ranks by the cause
score with no other evidence. "AERCA-style" is the neural model with moments matched and the
residual of the whole model as exogenous term. Arcs between services are held against calls where
those are known: own incidents (MIDWATCH_OWN, or out/incidents), as `midwatch chaos record` writes.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch  # its import is no part of any figure
from bench_rca_ablation import spread
from scipy.stats import rankdata

from rca.channels.metric_table import MetricTable
from rca.channels.metrics import service_scores
from rca.datasets import find_cases, read_case
from rca.encoder import EncoderConfig
from rca.forecasters import Forecaster, GrangerResult
from rca.granger import NeuralConfig, NeuralForecaster
from rca.granger_linear import GrangerConfig, LinearForecaster, screen
from rca.incident import Column, Incident
from rca.knobs import LocaliseConfig
from rca.leads import find_leads
from rca.localise import decide, localise
from rca.prepare import measure, prepare
from rca.rank import chance_in_top, rank_series
from rca.scoring import accuracy, rank_of, services_of

RESULT = Path(__file__).parent / "results" / "granger.json"
DATA = Path(os.environ.get("MIDWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
ROWS, NORMAL, LAGS_MAX = 600, 450, 3
OWN = Path(os.environ.get("MIDWATCH_OWN", Path(__file__).parents[2] / "out" / "incidents"))
SIZES, TUNE, REPORT, FAULTS = (20, 35, 50), range(10), range(100, 105), range(100, 130)
PENALTIES, LAGS = (3.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4), (2, 3, 5)
NEURAL = {
    "default": NeuralConfig(),
    "sparsity 0.5": NeuralConfig(sparsity=0.5),
    "sparsity 2": NeuralConfig(sparsity=2.0),
    "steps 80": NeuralConfig(steps=80, patience=20),
    "rank 12": NeuralConfig(rank=12),
    "window 32": NeuralConfig(encoder=EncoderConfig(window_rows=32)),
}
NOISE = EncoderConfig(noise=1.0)
AERCA = NeuralConfig(aerca=True, moment_weight=0.2)
NORMAL_ROWS = (100, 120, 150, 200, 300)
ABLATIONS = {
    "as it is": NeuralConfig(),
    "no pre-training": NeuralConfig(encoder=EncoderConfig(steps=0)),
    "60 steps of pre-training": NeuralConfig(encoder=EncoderConfig(steps=60)),
    "encoder from noise": NeuralConfig(encoder=replace(NOISE, steps=0)),
    "from noise, 60 steps": NeuralConfig(encoder=replace(NOISE, steps=60)),
    "gates not trained": NeuralConfig(steps=1),
    "moments matched, 0.2": NeuralConfig(moment_weight=0.2),
}
CURVES: tuple[Callable[[float], float], ...] = (
    lambda v: abs(v) - 0.8, lambda v: np.sin(1.5 * v), lambda v: np.cos(1.5 * v) - 0.35,
    lambda v: np.tanh(2.0 * v), lambda v: max(v, 0.0) - 0.4, lambda v: min(v * v, 4.0) - 0.9,
)  # fmt: skip
WANTED = {"auroc": 0.85, "permuted": 0.05, "cpu_s": {50: 0.3, 500: 0.8, 5000: 2.0}, "mb": 250}
FRESH = 5


@cache
def planted(
    seed: int, num: int, *, curved: bool, gain: tuple[float, float] = (0.4, 0.8), fault: float = 0.0
) -> tuple[np.ndarray, np.ndarray, int]:
    """Series [rows, num], arcs [effect, cause], and whose noise is pushed from row NORMAL on."""
    rng = np.random.default_rng([seed, num, int(curved)])
    order = rng.permutation(num)  # a column's place tells nothing
    truth = np.zeros((num, num), dtype=bool)
    arcs = []
    for place, effect in enumerate(order):
        for cause in rng.choice(order[:place], min(place, rng.poisson(1.5), 4), replace=False):
            size = rng.choice([-1.0, 1.0]) * rng.uniform(*gain) * (1.2 if curved else 1.0)
            curve = CURVES[rng.integers(len(CURVES))] if curved else float
            arcs.append((effect, cause, size, int(rng.integers(1, LAGS_MAX + 1)), curve))
            truth[effect, cause] = True
    own = rng.uniform(0.1, 0.5, num)
    noise = rng.normal(size=(ROWS + 100, num))
    origin = int(rng.choice(np.flatnonzero(truth.any(axis=0))))
    noise[100 + NORMAL :, origin] += fault * rng.choice([-1.0, 1.0])
    x = np.zeros_like(noise)
    for t in range(LAGS_MAX, len(x)):
        x[t] = own * x[t - 1] + noise[t]
        for effect, cause, size, lag, curve in arcs:
            x[t, effect] += size * curve(x[t - lag, cause])
    return x[100:], truth, origin


def fit(model: Forecaster, x: np.ndarray, seed: int, *, rows: int = NORMAL) -> GrangerResult:
    """Fit the last `rows` normal rows."""
    return model.fit(x[NORMAL - rows:], normal_end=rows, fault_start=rows, step_s=1.0,
                     rng=np.random.default_rng(seed))  # fmt: skip


def auroc(score: np.ndarray, truth: np.ndarray) -> float:
    """Chance that an arc scores above a pair without one; the diagonal is left out."""
    others = ~np.eye(len(truth), dtype=bool)
    rank, yes = rankdata(score[others]), truth[others]
    num_yes, num_no = int(yes.sum()), int((~yes).sum())
    return float((rank[yes].sum() - num_yes * (num_yes + 1) / 2) / (num_yes * num_no))


def graphs(
    model: Forecaster,
    seeds: Iterable[int],
    *,
    curved: bool,
    sizes: Iterable[int] = SIZES,
    rows: int = NORMAL,
) -> list[float]:
    out = []
    for num in sizes:
        for seed in seeds:
            x, truth, _ = planted(seed, num, curved=curved)
            out.append(auroc(fit(model, x, seed, rows=rows).ratio, truth))
    return out


def tuned(known: dict[str, Any]) -> tuple[dict[str, Forecaster], dict[str, Any]]:
    """The setting of each model with the best mean AUROC over both kinds of graph, seeds 0-9.

    `known`: what an earlier run found; empty to try all.
    """
    tried: dict[str, dict[str, float]] = known or {"ridge": {}, "neural": {}}
    made: dict[str, dict[str, Forecaster]] = {"ridge": {}, "neural": {}}
    for penalty in PENALTIES:
        for lags in LAGS:
            config = GrangerConfig(penalty=penalty, lags=lags)
            made["ridge"][f"penalty {penalty:g}, {lags} lags"] = LinearForecaster(config=config)
    for name, config in NEURAL.items():
        made["neural"][name] = NeuralForecaster(config=config)
    best: dict[str, Forecaster] = {}
    for kind, models in made.items():
        for name, model in models.items():
            if known:
                continue
            found = [
                v
                for curved in (False, True)
                for v in graphs(model, TUNE, curved=curved, sizes=(20, 50))
            ]
            tried[kind][name] = round(statistics.mean(found), 4)
        chosen = max(tried[kind], key=lambda name: tried[kind][name])
        best[kind] = models[chosen]
        print(f"tuned on seeds 0-9: {kind} with {chosen}, mean AUROC {tried[kind][chosen]:.4f}")
    return best, tried


def permuted(
    model: Forecaster, *, curved: bool, sizes: Iterable[int] = SIZES, rows: int = NORMAL
) -> float:
    """Share of sources that get an arc into a target whose rows were shuffled."""
    found, asked = 0, 0
    for num in sizes:
        for seed in REPORT:
            x, truth, _ = planted(seed, num, curved=curved)
            target = int(truth.sum(axis=1).argmax())
            x = x.copy()
            x[:, target] = np.random.default_rng([seed, 3]).permutation(x[:, target])
            found += int((fit(model, x, seed, rows=rows).granger[target] > 0.0).sum())
            asked += num - 1
    return found / asked


def arc_section(models: dict[str, Forecaster]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for kind, curved in (("linear", False), ("curved", True)):
        for name, model in models.items():
            values = graphs(model, REPORT, curved=curved)
            found, true, right = [], [], []
            for num in SIZES:
                for seed in REPORT:
                    x, truth, _ = planted(seed, num, curved=curved)
                    arcs = fit(model, x, seed).granger > 0.0
                    found.append(float(arcs[~truth & ~np.eye(num, dtype=bool)].mean()))
                    true.append(float(arcs[truth].mean()))
                    right.append(float(truth[arcs].mean()))
            share = permuted(model, curved=curved)
            out[f"{kind}, {name}"] = figures = {
                "auroc_mean": round(statistics.mean(values), 4),
                "auroc_worst": round(min(values), 4),
                "permuted_target_arcs": round(share, 4),
                "found_of_arcs": round(statistics.mean(true), 3),
                "false_of_others": round(statistics.mean(found), 4),
                "precision_of_arcs": round(statistics.mean(right), 3),
            }
            print(f"{kind:7s}{name:7s} AUROC {figures['auroc_mean']:.4f} worst "
                  f"{figures['auroc_worst']:.4f}; found {figures['found_of_arcs']:.2f}, "
                  f"precision {figures['precision_of_arcs']:.2f}, "
                  f"false {figures['false_of_others']:.3f}, shuffled {share:.3f}")  # fmt: skip
    return out


def rows_section(models: dict[str, Forecaster]) -> dict[str, Any]:
    """What few normal rows cost; `rca.forecasters.ROWS_MIN` is chosen from this."""
    out: dict[str, Any] = {}
    for rows in NORMAL_ROWS:
        for name, model in models.items():
            config = replace(model.config, rows_min=min(NORMAL_ROWS))  # type: ignore[attr-defined]
            free = replace(model, config=config)  # type: ignore[type-var]
            row: dict[str, Any] = {}
            for kind, curved in (("linear", False), ("curved", True)):
                found = graphs(free, REPORT, curved=curved, sizes=(20, 50), rows=rows)
                row |= {f"{kind}_mean": round(statistics.mean(found), 4),
                        f"{kind}_worst": round(min(found), 4),
                        f"{kind}_permuted": round(permuted(free, curved=curved, sizes=(20, 50),
                                                           rows=rows), 4)}  # fmt: skip
            out[f"{rows} rows, {name}"] = row
            print(f"{rows} normal rows, {name}: {row}")
    return out


def ablation_section() -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, config in ABLATIONS.items():
        model = NeuralForecaster(config=config)
        linear, curved = (graphs(model, REPORT, curved=c) for c in (False, True))
        out[name] = {
            "linear_mean": round(statistics.mean(linear), 4), "linear_worst": round(min(linear), 4),
            "curved_mean": round(statistics.mean(curved), 4), "curved_worst": round(min(curved), 4),
            "exogenous_first": round(statistics.mean(
                origins(model, curved=c, gain=(0.8, 1.3), fault=4.0, seeds=FAULTS[:10])["exogenous"]
                for c in (False, True)), 3),
        }  # fmt: skip
        print(f"ablation {name:26s} {out[name]}")
    return out


def origins(
    model: Forecaster,
    *,
    curved: bool,
    gain: tuple[float, float],
    fault: float,
    seeds: Iterable[int] = FAULTS,
) -> dict[str, float]:
    """Share of planted faults whose origin comes first, by score; ties count by chance."""
    first: dict[str, list[float]] = {}
    for seed in seeds:
        x, _, origin = planted(seed, 30, curved=curved, gain=gain, fault=fault)
        result = fit(model, x, seed)
        normal = x[:NORMAL]
        change = np.abs(x[NORMAL:].mean(axis=0) - normal.mean(axis=0)) / normal.std(axis=0)
        outside = np.abs(result.exogenous)
        walk = rank_series(result.granger, restart=change, prior=outside,
                           names=[f"m{n:02d}" for n in range(30)])  # fmt: skip
        scores = {"change alone": change, "own history": np.abs(result.innovation),
                  "exogenous": outside, "walk": walk.scores}  # fmt: skip
        for name, score in scores.items():
            first.setdefault(name, []).append(chance_in_top(score, origin, 1))
    return {name: round(statistics.mean(values), 3) for name, values in first.items()}


def origin_section(models: dict[str, Forecaster]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for kind, curved in (("linear", False), ("curved", True)):
        for gain in ((0.4, 0.8), (0.8, 1.3)):
            for fault in (2.0, 6.0):
                for name, model in models.items():
                    key = f"{kind}, effects {gain[0]}-{gain[1]}, {fault:g} sd, {name}"
                    out[key] = origins(model, curved=curved, gain=gain, fault=fault)
                    print(f"origin first: {key}: {out[key]}")
    return out


def incident_section(models: dict[str, Forecaster | None]) -> dict[str, Any]:
    """AC@1 and Avg@5 of services and metrics, metrics alone, the fault time as given."""
    out: dict[str, Any] = {}
    roots = [DATA / "rca" / "rcd_sockshop", DATA / "rca" / "dycause_ss"]
    roots += sorted(path for path in OWN.glob("*") if path.is_dir())
    for root in roots:
        if not root.is_dir():
            print(f"{root.name}: left out, no {root}; set MIDWATCH_DATA to the folder of rca/")
            continue
        cases = [found for case in spread(find_cases(root), CASES_MAX)
                 if (found := read_case(case))[1].is_fault]  # fmt: skip
        for name, model in models.items():
            ranks: dict[str, list[int]] = {}
            for incident, labels in cases:
                for way, found in ways(incident, model).items():
                    wanted = labels.metrics if way.startswith("metric") else labels.right
                    if wanted:
                        ranks.setdefault(way, []).append(rank_of(found, wanted))
            row = {way: {"ac1": round(accuracy(found).ac_at_1, 3),
                         "avg5": round(accuracy(found).avg_at_5, 3)}
                   for way, found in ranks.items()}  # fmt: skip
            nothing = {"ac1": None, "avg5": None}
            out[f"{root.name}, {len(cases)} cases, {name}"] = told = {
                way: row.get(way, nothing) for way in WAYS
            }
            print(f"{root.name}, {len(cases)} cases, {name}: {told}")
    return out


WAYS = (
    "service", "metric", "service_exogenous_alone", "metric_exogenous_alone", "service_walk",
    "service_plus_0.1", "service_plus_0.3", "service_plus_1", "service_less_explained",
)  # fmt: skip
CASES_MAX = 50


def ways(incident: Incident, model: Forecaster | None) -> dict[str, list[str]]:
    """Rankings with a model's word in several places; the first two are what is shipped."""
    prepared = prepare(incident, channels=(), repair=False)
    assert prepared.found.split is not None
    answer = decide(prepared, LocaliseConfig(), granger=model)
    out = {"service": [s.name for s in answer.services], "metric": [m.name for m in answer.metrics]}
    if model is None:
        return out
    table = measure(prepared, prepared.found.split, LocaliseConfig())
    leads = find_leads(table, prepared, prepared.found.split, model, seed=0)
    names, outside = table.columns.names, np.round(leads.exogenous, 6)
    alone = [names[n] for n in sorted(range(len(names)), key=lambda n: (-outside[n], names[n]))]
    out["service_exogenous_alone"] = services_of(alone, incident)
    out["metric_exogenous_alone"] = [str(column) for column in alone]
    out["service_walk"] = [name for name, _ in answer.graph.visits]
    for weight in (0.1, 0.3, 1.0):
        score = table.score + weight * leads.exogenous * table.columns.weight
        out[f"service_plus_{weight:g}"] = by_score(incident, table, score)
    left = np.ones(len(names))
    innovation = np.log1p(np.abs(leads.result.innovation))
    left[leads.columns] = np.clip(
        (leads.exogenous[leads.columns] + 0.1) / (innovation + 0.1), 0.0, 1.0
    )
    out["service_less_explained"] = by_score(incident, table, table.score * (0.5 + 0.5 * left))
    return out


def by_score(incident: Incident, table: MetricTable, score: np.ndarray) -> list[str]:
    found = service_scores(incident, replace(table, score=score))
    return sorted(found, key=lambda name: (-found[name], name))


def call_section(models: dict[str, Forecaster]) -> dict[str, Any]:
    """Arcs between services beside the calls of the fleet that made the incidents."""
    if not OWN.is_dir():
        print(f"arcs beside calls: left out, no {OWN}; midwatch chaos record --out {OWN}")
        return {}
    cases = [read_case(case)[0] for root in sorted(OWN.glob("*")) if root.is_dir()
             for case in spread(find_cases(root), CASES_MAX)]  # fmt: skip
    out: dict[str, Any] = {}
    for name, model in models.items():
        asked, arcs, along, against, by_chance = 0, 0, 0, 0, []
        for incident in cases:
            answer = localise(incident, channels=(), granger=model)
            calls = {(callee, caller) for caller, callee in incident.calls if caller != callee}
            if not answer.granger.used or not calls:
                continue
            asked += 1
            found = [arc for arc in answer.graph.services if arc.strength > 0.0]
            arcs += len(found)
            along += sum(arc.called is True for arc in found)
            against += sum((arc.effect, arc.cause) in calls for arc in found)
            num = len(incident.services)
            by_chance.append(len(calls) / (num * (num - 1)))
        out[name] = row = {
            "cases": asked, "arcs_per_case": round(arcs / max(asked, 1), 2),
            "along_calls": round(along / max(arcs, 1), 3),
            "against_calls": round(against / max(arcs, 1), 3),
            "calls_of_pairs": round(statistics.mean(by_chance), 3) if by_chance else None,
        }  # fmt: skip
        print(f"arcs beside calls, {name}: {row}")
    return out


def wide(width: int) -> Incident:
    """Random walks of one fleet beside each other, and one step at three quarters in each tenth."""
    rng = np.random.default_rng(0)
    columns = tuple(Column(f"s{n // 10:03d}", f"m{n % 10}") for n in range(width))
    values = rng.normal(10.0, 1.0, (ROWS, width))
    for lag in (1, 2):
        values[lag:] += 0.4 * np.roll(values, 1, axis=1)[:-lag]
    values[NORMAL:, ::10] += 6.0
    return Incident(incident_id="made", times_s=np.arange(float(ROWS)), values=values,
                    columns=columns, step_s=1.0, fault_at_s=float(NORMAL))  # fmt: skip


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def answers(width: int, kind: str) -> dict[str, Any]:
    """CPU and memory of full answers in this process: change scores, screen, fit, ranking."""
    incident, model = wide(width), NeuralForecaster()
    names = [str(column) for column in incident.columns]

    def screened() -> None:
        normal, late = incident.values[:NORMAL], incident.values[NORMAL:]
        z = (late.mean(axis=0) - np.median(normal, axis=0)) / normal.std(axis=0)
        scores = np.sign(z) * np.log1p(np.abs(z))
        # Every column passes for changed: the screen is full, which is the worst case.
        taken = screen(1.1 + np.abs(scores), range(width), name=names.__getitem__, num_max=128)
        result = fit(model, incident.values[:, taken], 0)
        rank_series(result.granger, restart=np.abs(scores[taken]), prior=np.abs(result.exogenous),
                    names=[names[n] for n in taken])  # fmt: skip
        sizes.append(len(taken))

    def localised() -> None:
        localise(incident, channels=(), granger=model if kind == "localise" else None)

    sizes: list[int] = []
    work = screened if kind == "screened" else localised
    before, spent = peak_mb(), []
    for _ in range(FRESH + 1):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return {
        "metrics": width, "answer": kind,
        "series_fitted": sizes[0] if sizes else 32 * (kind == "localise"),
        "cpu_s_first": round(spent[0], 3),
        "cpu_s": {"min": round(min(spent[1:]), 3), "median": round(statistics.median(spent[1:]), 3),
                  "max": round(max(spent[1:]), 3)},
        "mb_above_import": round(peak_mb() - before, 1),
    }  # fmt: skip


def speed_section() -> list[dict[str, Any]]:
    out = []
    for width, limit in WANTED["cpu_s"].items():
        for kind in ("screened", "localise", "without"):
            done = subprocess.run([sys.executable, __file__, str(width), kind], check=True,
                                  capture_output=True)  # fmt: skip
            out.append(row := orjson.loads(done.stdout))
            most = max(row["cpu_s"]["max"], row["cpu_s_first"])
            ours = kind != "without"  # the yardstick: the same answer without a Granger model
            slow = "  MISSED" if ours and most > limit else ""
            large = "  MISSED" if ours and row["mb_above_import"] > WANTED["mb"] else ""
            print(f"{width:5d} metrics, {kind:9s}({row['series_fitted']} fitted): "
                  f"{row['cpu_s']['median']:.3f} CPU s, first {row['cpu_s_first']:.3f}, most "
                  f"{row['cpu_s']['max']:.3f}, limit {limit} s{slow}; {row['mb_above_import']:.0f} "
                  f"MB above the import, limit {WANTED['mb']}{large}")  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="SECTION,..",
                        help="make these anew, keep the rest of the results")  # fmt: skip
    wanted = parser.parse_args().only.split(",")
    before = orjson.loads(RESULT.read_bytes()) if wanted != [""] else {}
    start = time.process_time()
    config = NeuralConfig()
    print(f"epochs (full batches): encoder {config.encoder.steps}, forecaster {config.steps}")
    models, tried = tuned(before.get("tuning", {}))
    three = {**models, "AERCA-style": NeuralForecaster(config=AERCA)}
    sections: dict[str, Callable[[], Any]] = {
        "speed": speed_section,
        "arcs": lambda: arc_section(models),
        "normal_rows_needed": lambda: rows_section(models),
        "origins": lambda: origin_section(three),
        "ablations": ablation_section,
        "incidents": lambda: incident_section({"no Granger": None, **three}),
        "calls": lambda: call_section(models),
    }
    unknown = set(wanted) - {"", *sections}
    if unknown:
        parser.error(f"there is no section {min(unknown)!r}; take some of {', '.join(sections)}")
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "torch": torch.__version__, "threads": 1, "rows": ROWS, "normal_rows": NORMAL,
        "seeds": [100, 129], "seeds_of": {"tuning": [0, 9], "graphs": [100, 104],
                                          "faults": [100, 129]},
        "epochs": {"encoder": config.encoder.steps, "forecaster": config.steps},
        "wanted": {**WANTED, "cpu_s": {str(k): v for k, v in WANTED["cpu_s"].items()}},
        "tuning": tried,
    }  # fmt: skip
    for name, make in sections.items():
        keep = wanted != [""] and name not in wanted
        figures[name] = before[name] if keep else make()
    RESULT.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"{time.process_time() - start:.0f} CPU s; wrote {RESULT}")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].isdecimal():
        print(orjson.dumps(answers(int(sys.argv[1]), sys.argv[2])).decode())
    else:
        main()
