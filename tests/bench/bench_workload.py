"""Is a generated workload like the real one? Run: MIDWATCH_DATA=FOLDER python this file.

Writes tests/bench/results/workload.json. Every law is fitted on the earlier part of its data and
compared with the later part, never the reverse; seven seeds, mean and worst. Beside ours:
  poisson + zipf   Poisson arrivals at the same fitted rates, Zipf lengths with the exponent that
                   is likeliest for the training part (the paper's 1.1 stands beside it)
  training         the training part itself in place of a generated one: about the best that
                   can be had without a look at the later part
Two sets: BurstGPT's aggregates, days 0-20 against 21-40 (`burstgpt_days`), and traces that we
have request by request, first half against second.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

sys.path.insert(0, str(Path(__file__).parent))
import burstgpt_days as days
from run_all import LEFT_OUT
from workload_baselines import auc, poisson, zipf, zipf_exponent

from serving.workload import RequestTable, Status, cut, read_trace
from serving.workload.clock import stamp_s
from serving.workload.fidelity import compare
from serving.workload.fit import fit
from serving.workload.measures import ks, scaled_gaps
from serving.workload.resample import resample

SEEDS = range(1, 8)
RESULT = Path(__file__).parent / "results" / "workload.json"
TRACES = {
    "azure-conv": "azure_llm_2023/azure_llm_2023_conv.csv.gz",
    "azure-code": "azure_llm_2023/azure_llm_2023_code.csv.gz",
    "mooncake-conv": "mooncake_fast25/conversation_min00-40.jsonl.gz",
}
HOUR_MEDIANS_MAX, GAPS_MAX, HALF = 0.15, 0.10, 0.5
NEAR = 1.1  # of the training part's own error: no generator of it can be expected to do better
PASSES = 10
SLICE_TRAIN_ROWS = 240  # of the 400 raw rows of BurstGPT


def main() -> None:
    """Print and write all figures."""
    if "MIDWATCH_DATA" not in os.environ:
        print("MIDWATCH_DATA names no folder of traces; set it, see README, Real traces")
        raise SystemExit(LEFT_OUT)
    start = time.process_time()
    folder = Path(os.environ["MIDWATCH_DATA"])
    folder = folder / "traces" if (folder / "traces").is_dir() else folder
    rows = burstgpt(folder / "burstgpt")
    for name, file in TRACES.items():
        rows += halves(name, folder / file)
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "seeds": list(SEEDS),
        "cpu_s": round(time.process_time() - start, 1),
        "rows": rows,
    }
    show(rows, figures["cpu_s"])
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def row(
    data: str,
    figure: str,
    ours: list[float],
    baseline: list[float],
    *,
    training: float = math.nan,
    wanted: float = math.nan,
    **more: Any,
) -> dict[str, Any]:
    """One line: errors, smaller is better; a target is met by the worst seed or not at all."""
    mean, base = float(np.mean(ours)), float(np.mean(baseline))
    return {
        "data": data,
        "figure": figure,
        "ours_mean": _round(mean),
        "ours_worst": _round(max(ours)),
        "ours_seeds": [_round(v) for v in ours],
        "baseline_mean": _round(base),
        "baseline_best": _round(min(baseline)),
        "training": _round(training),
        "wanted_max": _round(wanted),
        "wanted_met": None if math.isnan(wanted) else bool(max(ours) <= wanted),
        "half_of_baseline": bool(mean <= HALF * base),
        "as_near_as_training": None if math.isnan(training) else bool(mean <= NEAR * training),
        **more,
    }


def burstgpt(folder: Path) -> list[dict[str, Any]]:
    """Days 0-20 against what they did not show."""
    seen, later = days.Training(folder), days.HeldOut(folder)
    span_s = (days.END_DAY - days.SPLIT_DAY) * days.DAY_S
    law, flat = seen.law(), seen.law(levels=False)
    tables = [
        (
            by_hour(resample(law, seed=seed, duration_s=span_s, shape="curve")),
            by_hour(resample(flat, seed=seed, duration_s=span_s, shape="curve")),
        )
        for seed in SEEDS
    ]
    found = []
    for name in days.STREAMS:
        label, real = f"{name[0]} {name[1]}", later.hour_medians[name]
        trained = seen.counts[name].reshape(-1, days.HOURS)
        known = [(ours[0][name], base[0][name]) for ours, base in tables]
        # A draw of 20 days scatters around what the law says; all seeds together say it.
        pooled = active_medians(np.concatenate([ours for ours, _ in known]))
        for figure, error in (("hourly medians", wape), ("hourly medians, worst hour", worst)):
            found.append(
                row(
                    "burstgpt " + label, figure,
                    [error(active_medians(ours), real) for ours, _ in known],
                    [error(active_medians(base), real) for _, base in known],
                    training=error(active_medians(np.round(trained)), real),
                    wanted=HOUR_MEDIANS_MAX,
                    pooled=_round(error(pooled, real)),
                    level_told=_round(error(_levelled(pooled, real), real)),
                )
            )  # fmt: skip
        found.append(_day_medians(label, later.by_stream[name], trained, known))
    booked = [(ours[1], base[1]) for ours, base in tables]
    real = np.median(later.all_hours, axis=0)
    found.append(
        row(
            "burstgpt all traffic", "hourly medians",
            [wape(np.median(ours, axis=0), real) for ours, _ in booked],
            [wape(np.median(base, axis=0), real) for _, base in booked],
            training=wape(np.median(seen.all_hours, axis=0), real), wanted=HOUR_MEDIANS_MAX,
        )
    )  # fmt: skip
    return found + _responses(seen, later) + _slice(seen.slice, later.failure_rate)


def by_hour(table: RequestTable) -> tuple[dict[tuple, np.ndarray], np.ndarray]:
    """Requests per hour of each stream, [days, 24], and of all as the hourly file books them."""
    num_days = days.END_DAY - days.SPLIT_DAY
    edges = np.arange(num_days * days.HOURS + 1) * days.HOUR_S
    found = {}
    for model, service in days.STREAMS:
        mask = (table.model == table.models.index(model)) & (table.kind == (service == "API"))
        counts = np.histogram(table.arrival_s[mask], edges)[0]
        found[model, service] = counts.reshape(num_days, days.HOURS).astype(float)
    # Conversation rows with neither an API row nor 15 minutes between them are one run, booked
    # at the hour in which it starts.
    conversation = table.kind == 0
    joined = np.concatenate(([False], conversation[1:] & conversation[:-1]))
    joined &= np.diff(table.arrival_s, prepend=-1e9) <= 900.0
    starts = np.maximum.accumulate(np.where(joined, 0, np.arange(len(table))))
    booked = np.histogram(table.arrival_s[starts], edges)[0].reshape(num_days, days.HOURS)
    return found, booked.astype(float)


def active_medians(counts: np.ndarray) -> np.ndarray:
    """Median by hour of day over the days that have a request in it, [24]; the published boxes
    of streams that idle for days can be no other."""
    return np.array([np.median(c[c > 0]) if (c > 0).any() else 0.0 for c in counts.T])


def wape(found: np.ndarray, real: np.ndarray) -> float:
    """Sum of the absolute errors over the sum of the real ones, hours that are known."""
    known = ~np.isnan(real)
    return float(np.abs(found - real)[known].sum() / real[known].sum())


def worst(found: np.ndarray, real: np.ndarray) -> float:
    """Largest relative error of an hour with at least 20 requests."""
    known = np.nan_to_num(real) >= 20
    return float((np.abs(found - real)[known] / real[known]).max())


def _levelled(found: np.ndarray, real: np.ndarray) -> np.ndarray:
    """With the level of the held-out hours told: what is left is the shape's error."""
    known = ~np.isnan(real)
    return found * real[known].sum() / max(found[known].sum(), 1e-9)


def _day_medians(label: str, real: np.ndarray, trained: np.ndarray, known: list) -> dict[str, Any]:
    """Median requests per day, days 21 to 39."""
    wanted = float(np.nanmedian(np.abs(real)))

    def error(counts: np.ndarray) -> float:
        return abs(float(np.median(counts.sum(axis=1))) - wanted) / wanted

    return row(
        f"burstgpt {label}", "daily medians",
        [error(ours[: len(real)]) for ours, _ in known],
        [error(base[: len(real)]) for _, base in known],
        training=error(trained),
    )  # fmt: skip


def _responses(seen: days.Training, later: days.HeldOut) -> list[dict[str, Any]]:
    """Median response at a request length: fitted on the raw slice, against the file's curve."""
    found = []
    for model, curve in later.response.items():
        law = next(s for s in seen.slice_law.streams if s.model == model and s.num_requests > 50)
        part = seen.slice.num_output_tokens[
            (seen.slice.model == seen.slice.models.index(model)) & (seen.slice.status == Status.OK)
        ]
        theta = zipf_exponent(part)

        def rmse(medians: np.ndarray, real: np.ndarray = curve[:, 1]) -> float:
            return float(np.sqrt(np.mean(np.log(np.maximum(medians, 1.0) / real) ** 2)))

        ours, base = [], []
        for seed in SEEDS:
            rng = np.random.default_rng([seed, 3])
            drawn = [law.output.draw(np.full(999, at), rng.random(999)) for at in curve[:, 0]]
            ours.append(rmse(np.median(drawn, axis=1)))
            flat = [zipf(rng, 999, theta, int(part.max())) for _ in curve]
            base.append(rmse(np.median(flat, axis=1)))
        plain = rmse(np.full(len(curve), np.median(part)))
        found.append(
            row(f"burstgpt {model} Conv", "response given request, RMSE of ln median", ours, base,
                training=plain, training_is="one median for all lengths")
        )  # fmt: skip
    return found


def _slice(table: RequestTable, failure_rate: float) -> list[dict[str, Any]]:
    """The raw rows: the first 240 against the last 160."""
    at_s = float(table.arrival_s[SLICE_TRAIN_ROWS])
    a, b = cut(table, 0.0, at_s), cut(table, at_s, float(table.arrival_s[-1]) - at_s + 1.0)
    law = fit(a)
    real = scaled_gaps(b.arrival_s)
    # Its windows over and over: one pass has too few gaps and failures to tell.
    drawn = [resample(law, seed=s, duration_s=PASSES * law.duration_s) for s in SEEDS]
    flat = [poisson(a, s, PASSES * law.duration_s) for s in SEEDS]
    rng = np.random.default_rng(5)
    chance = np.mean([ks(rng.exponential(1, 10**4), rng.exponential(1, len(real))) for _ in SEEDS])
    marks = b.status == Status.FAILED
    after = marks[1:][marks[:-1]]
    one = max(law.streams, key=lambda s: s.num_requests)

    def error(chance_to: float) -> float:
        """1 = as far off as 95 % of samples of so few failures are."""
        p = float(after.mean())
        return abs(chance_to - p) / (1.96 * math.sqrt(max(p * (1 - p), 0.05) / len(after)))

    stays = [_after_failure(t) for t in drawn]
    alone = float((a.status == Status.FAILED).mean())
    return [
        row("burstgpt slice, Conv", "gaps, KS", [ks(scaled_gaps(t.arrival_s), real) for t in drawn],
            [ks(scaled_gaps(t.arrival_s), real) for t in flat], training=ks(
                scaled_gaps(a.arrival_s), real), wanted=GAPS_MAX,
            same_law=_round(float(chance)), num_gaps=len(real)),
        row("burstgpt slice", "P(fail | fail), binomial errors", [error(p) for p in stays],
            [error(alone)] * len(SEEDS), training=error(_after_failure(a)), wanted=1.0,
            real=_round(float(after.mean())), failures=int(marks.sum()), fitted=one.fail_after_fail,
            ),
        row("burstgpt file", "failure share, relative",
            [abs(one.fail_ratio - failure_rate) / failure_rate] * len(SEEDS),
            [abs(alone - failure_rate) / failure_rate] * len(SEEDS),
            training=abs(alone - failure_rate) / failure_rate, real=_round(failure_rate)),
    ]  # fmt: skip


def _after_failure(table: RequestTable) -> float:
    marks = table.status == Status.FAILED
    return float(marks[1:][marks[:-1]].mean()) if marks[:-1].any() else 0.0


def halves(name: str, path: Path) -> list[dict[str, Any]]:
    """First half of a trace against its second, aspect by aspect."""
    table, _ = read_trace(path)
    tick_s = stamp_s(table.arrival_s)
    half_s = float(table.arrival_s[-1]) / 2
    half_s = round(half_s / tick_s) * tick_s if tick_s else half_s
    a, b = cut(table, 0.0, half_s), cut(table, half_s, half_s + 1.0)
    law = fit(a)
    ours = [figures(b, resample(law, seed=s, duration_s=half_s), s) for s in SEEDS]
    base = [figures(b, poisson(a, s, half_s), s) for s in SEEDS]
    paper = figures(b, poisson(a, SEEDS[0], half_s, theta=1.1), SEEDS[0])
    trained = figures(b, a, SEEDS[0])
    return [
        row(name, figure, [f[figure] for f in ours], [f[figure] for f in base],
            training=trained[figure], wanted=GAPS_MAX if figure == "gaps, KS" else math.nan,
            zipf_1_1=_round(paper[figure]))
        for figure in trained
    ]  # fmt: skip


def figures(real: RequestTable, drawn: RequestTable, seed: int) -> dict[str, float]:
    """Errors that two tables of requests can show, by name."""
    names = {
        "gaps": "gaps, KS", "burstiness": "CV of gaps in a window, relative",
        "Fano 1 s": "Fano 1 s, relative", "Fano 10 s": "Fano 10 s, relative",
        "Fano 60 s": "Fano 60 s, relative", "prompt": "prompt, KS", "output": "output, KS",
        "output given prompt": "output given prompt, KS",
        "prefix hits": "prefix hits, endless cache",
        "prefix hits, small cache": "prefix hits, cache of 5 % of the blocks",
    }  # fmt: skip
    found = {
        names[aspect.name]: aspect.figure for aspect in compare(real, drawn) if aspect.name in names
    }
    found["two-sample classifier, |AUC - 0.5|"] = abs(auc(real, drawn, seed) - 0.5)
    return found


def show(rows: list[dict[str, Any]], cpu_s: float) -> None:
    """The table."""
    print(f"{'data':<26}{'error':<42}{'ours':>8}{'worst':>8}{'poisson+':>10}{'training':>10}"
          f"{'wanted':>8}  met, half of baseline, as near as training")  # fmt: skip
    for r in rows:
        cells = "".join(
            f"{'-' if r[key] is None else format(r[key], '.3f'):>{width}}"
            for key, width in (("ours_mean", 8), ("ours_worst", 8), ("baseline_mean", 10),
                               ("training", 10), ("wanted_max", 8))
        )  # fmt: skip
        told = [{None: "-", True: "yes", False: "no"}[r[key]]
                for key in ("wanted_met", "half_of_baseline", "as_near_as_training")]  # fmt: skip
        print(f"{r['data']:<26}{r['figure']:<42}{cells}  {', '.join(told)}")
    print(f"{cpu_s} CPU s, seeds {list(SEEDS)}")


def _round(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")


if __name__ == "__main__":
    main()
