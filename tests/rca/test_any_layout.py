"""Incidents of any shape in the documented layout: never a failure, a plain step is always first.

Names, step lengths, sizes and gaps are drawn; nothing here comes from a recorded system.
"""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from rca.datasets import find_cases, read_case
from rca.judging import Method, judge
from rca.knobs import LocaliseConfig
from rca.localise import localise

KNOWN = ("cpu", "mem", "latency-90", "latency-50", "workload", "error", "diskio", "socket")
UNKNOWN = ("zorp", "quux-rate", "flim.flam", "x1")
NAMES = ("ts_order_service", "a", "front-end", "pay_2_db", "Käse")


class Made:
    """One case on disk: a calm deployment with a step of the second service's metrics."""

    def __init__(self, root, *, seed=0, step_s=60, services=8, normal=40, fault=10,
                 metrics=KNOWN, hidden=False):  # fmt: skip
        self.rng = np.random.default_rng(seed)
        self.folder = root / "set" / "case"
        self.folder.mkdir(parents=True)
        self.services = [*NAMES, *(f"s_{n:03d}" for n in range(services))][:services]
        self.cause = self.services[1]
        self.columns = [f"{s}_{m}" for s in self.services for m in metrics]
        self.rows, self.normal, self.step_s = normal + fault, normal, step_s
        level = self.rng.lognormal(0.0, 2.0, len(self.columns))
        self.values = level * self.rng.normal(1.0, 0.04, (self.rows, len(self.columns)))
        for n in self.of(self.cause)[:3]:
            self.values[normal:, n] += 2.0 * level[n]
        self.at_s = 1_700_000_000 + step_s * normal
        self.case = {} if hidden else {"inject_time": self.at_s}

    def of(self, service):
        return [n for n, c in enumerate(self.columns) if c.rpartition("_")[0] == service]

    def write(self):
        with (self.folder / "metrics.csv").open("w", newline="") as out:
            table = csv.writer(out)
            table.writerow(["time", *self.columns])
            for row, values in enumerate(self.values):
                time_s = self.at_s + self.step_s * (row - self.normal)
                table.writerow([time_s, *("" if np.isnan(v) else f"{v:.6g}" for v in values)])
        (self.folder / "case.json").write_text(json.dumps(self.case))

    def table(self, name, header, rows):
        with (self.folder / f"{name}.csv").open("w", newline="") as out:
            csv.writer(out).writerows([header, *rows])

    def answer(self):
        self.write()
        case = find_cases(self.folder.parent.parent)[0]
        judged = judge(case, Method(granger=None), LocaliseConfig(), cpu_s=lambda: 0.0)
        assert not judged.failed
        incident, _ = read_case(case)
        found = localise(incident, granger=None)
        assert [s.name for s in found.services] and found.reason
        assert all(np.isfinite(s.score) for s in found.services)
        return found

    def first(self):
        return self.answer().services[0].name


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("step_s", "normal", "fault"), [
    (1, 120, 60), (5, 60, 24), (60, 24, 6), (300, 40, 4), (300, 8, 2),
])  # fmt: skip
def test_any_step_length_and_few_rows(tmp_path, seed, step_s, normal, fault):
    made = Made(tmp_path, seed=seed, step_s=step_s, normal=normal, fault=fault)
    assert made.first() == made.cause


@pytest.mark.parametrize("services", [2, 5, 40])
def test_any_number_of_services(tmp_path, services):
    made = Made(tmp_path, services=services)
    assert made.first() == made.cause


@pytest.mark.slow
def test_four_hundred_services(tmp_path):
    made = Made(tmp_path, services=400)
    assert made.first() == made.cause


@pytest.mark.parametrize("metrics", [
    ("cpu", "mem", "diskio"), UNKNOWN, ("latency-90",), ("zorp",), ("latency-p50", "latency-p90"),
    ("cpu-usage-seconds", "mem-max", "requests", "availability", "latency-average"),
])  # fmt: skip
def test_any_names_of_metrics_with_or_without_latency(tmp_path, metrics):
    made = Made(tmp_path, metrics=metrics)
    assert made.first() == made.cause


def test_without_a_fault_time(tmp_path):
    made = Made(tmp_path, normal=60, fault=20, hidden=True)
    assert made.first() == made.cause


def test_constant_and_empty_columns_beside_the_step(tmp_path):
    made = Made(tmp_path)
    for number, service in enumerate(made.services):
        dead = made.of(service)[3 + number % 5]
        made.values[:, dead] = np.nan if number % 2 else 7.0
    made.values[:, made.of(made.services[2])] = np.nan
    made.values[:, made.of(made.services[3])] = 5.0
    assert made.first() == made.cause


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_a_table_in_which_nothing_happens_has_an_answer_and_accuses_nobody(tmp_path, value):
    made = Made(tmp_path)
    made.values[:] = value
    found = made.answer()
    assert found.abstained and not found.accused
    assert [s.name for s in found.services] == sorted(made.services)


def test_only_the_fault_rows_or_only_normal_rows_have_values(tmp_path):
    made = Made(tmp_path)
    made.values[: made.normal] = np.nan
    assert made.answer().abstained
    made.values[:] = 1.0
    made.values[made.normal :] = np.nan
    assert made.answer().abstained


def test_pods_of_which_some_have_no_columns(tmp_path):
    made = Made(tmp_path)
    pods = {f"{s}": f"{s}-svc" for s in made.services}
    made.case["instances"] = pods | {"ghost.0": "ghost"}
    made.case["runs_on"] = dict.fromkeys(made.services, "m0") | {"ghost.0": "m1"}
    found = made.answer()
    assert found.services[0].name == f"{made.cause}-svc"
    assert made.cause in [s.name for s in found.instances[:2]]


def spans(made, *, parent):
    """Some traces on both sides: the cause answers late since the fault."""
    rows = []
    for trace in range(60):
        t_ms = 1000 * (trace - 30)
        slow = 50 if t_ms >= 0 else 1
        rows.append([t_ms, trace, 2 * trace, -1, made.services[0], "GET /", 9000 + 1000 * slow])
        rows.append(
            [t_ms, trace, 2 * trace + 1, parent(2 * trace), made.cause, "work", 1000 * slow]
        )
    return ["t_ms", "trace", "span", "parent", "service", "op", "dur_us"], rows


@pytest.mark.parametrize("parent", [lambda p: p, lambda p: -1, lambda p: 10**6 + p])
def test_spans_with_lost_or_without_parents(tmp_path, parent):
    made = Made(tmp_path)
    made.table("spans", *spans(made, parent=parent))
    assert made.first() == made.cause


def test_spans_alone_name_the_slow_service(tmp_path):
    made = Made(tmp_path)
    made.values[:] = 1.0
    made.table("spans", *spans(made, parent=lambda p: p))
    assert made.first() == made.cause


def test_logs_alone_name_the_failing_service(tmp_path):
    made = Made(tmp_path)
    made.values[:] = 1.0
    rows = [[500 * (n - 60), service, n, "INFO handled order"]
            for n in range(120) for service in made.services[:3]]  # fmt: skip
    rows += [[500 * n, made.cause, 60 + n, "ERROR order refused: no answer"] for n in range(60)]
    made.table("logs", ["t_ms", "service", "trace", "message"], rows)
    assert made.first() == made.cause


def test_spans_and_logs_of_strangers_on_one_side_only(tmp_path):
    made = Made(tmp_path)
    made.table("spans", ["t_ms", "trace", "span", "parent", "service", "op", "dur_us"],
               [[100, 1, 1, -1, "stranger", "x", 5]])  # fmt: skip
    made.table("logs", ["t_ms", "service", "trace", "message"], [[-5, "stranger", -1, "ERROR"]])
    assert made.first() == made.cause


def test_a_graph_of_other_names_changes_nothing(tmp_path):
    made = Made(tmp_path)
    plain = made.answer()
    (made.folder.parent / "graph.json").write_text(
        json.dumps({"calls": [["elsewhere", "nowhere"], ["x", "x"]], "runs_on": []})
    )
    assert [s.score for s in made.answer().services] == [s.score for s in plain.services]
