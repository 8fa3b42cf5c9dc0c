"""RCAEval's methods behind one signature. Imported in the peers' environment only.

Columns are handed over sorted by name: where a method's own sort leaves ties, they fall by name and
not by the order of the source. An answer that is that same order is a fallback, not a ranking.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from frame import FallbackError, Frame, Ranking, checked
from thin import thinned

RUN_EPOCHS = {"run": 10, "run_least": 1}  # the paper has 50 + 50; the port itself sets 1 + 1
DATASET = "re2-ob"  # drop constant columns, `*_mem` in MB: RCAEval's preprocessing
WHOLE = ("baro",)  # ranks better, .49 against .45, with constant columns kept, memory in MB anyway
WHOLE_DATASET = "causalrca-sock-shop"  # only the time column goes
THINNED = ("circa", "pc_pagerank", "granger_pagerank")  # singular on many columns of few rows
NAMES = ("nsigma", *WHOLE, *THINNED, *RUN_EPOCHS)


def method(name: str) -> Callable[[Frame], Ranking]:
    """One of `NAMES`; what it needs is imported here, before any clock runs.

    Raises:
        ImportError: the environment lacks it, which RCAEval itself would hide.
    """
    # Most names are both a function and the submodule that holds it.
    if name in ("nsigma", "baro"):
        package = importlib.import_module("RCAEval.e2e")
        importlib.import_module("RCAEval.e2e.baro")
        found = getattr(package, name)
        call = getattr(found, name, found)
        return functools.partial(_ask, call, name in WHOLE)
    if name in RUN_EPOCHS:
        module = importlib.import_module("RCAEval.e2e.run")
        return functools.partial(_run, module, RUN_EPOCHS[name])
    module = importlib.import_module(f"RCAEval.e2e.{name}")
    # The wrapper turns whatever goes wrong into the column order; the function inside says it.
    inside = inspect.getclosurevars(getattr(module, name)).nonlocals["func"]
    return functools.partial(_twice, inside)


def _twice(call: Callable[..., dict[str, Any]], frame: Frame) -> Ranking:
    try:
        return _ask(call, False, frame)
    except (ValueError, RuntimeError):  # singular, constant in a part, a perfect fit
        return _ask(call, False, thinned(frame))


def _ask(call: Callable[..., dict[str, Any]], whole: bool, frame: Frame) -> Ranking:
    table = _table(frame)
    if whole:
        memory = [c for c in table.columns if c.endswith("_mem")]
        table[memory] /= 1e6
    answer = call(table.copy(), inject_time=int(frame.fault_at_s),
                  dataset=WHOLE_DATASET if whole else DATASET, dk_select_useful=False,
                  sli=_symptom(frame), num_loop=None, anomalies=None)  # fmt: skip
    if "adj" in answer and not np.any(np.asarray(answer["adj"], dtype=float)):
        raise FallbackError("empty graph, the answer is the column order")
    return checked(answer["ranks"], [c for c in table.columns if c != "time"])


def _run(module: Any, epochs: int, frame: Frame) -> Ranking:
    # Loader processes would escape the clock and the limit; the epochs are ours to say.
    loader = module.DataLoader
    module.DataLoader = lambda data, **kwargs: loader(data, **(kwargs | {"num_workers": 0}))
    table = _table(frame)
    with tempfile.TemporaryDirectory() as folder:
        table.to_csv(Path(folder) / "data.csv", index=False)
        answer = module.run(
            table, int(frame.fault_at_s), dataset=DATASET,
            args=_Arguments(root_path=folder, data_path="data.csv", epochs=epochs),
        )  # fmt: skip
    return checked(answer["ranks"], list(table.columns[1:]))


class _Arguments(argparse.Namespace):
    """Keeps the epochs that it was made with, whatever the port assigns."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "epochs" or not hasattr(self, "epochs"):
            super().__setattr__(name, value)


def _table(frame: Frame) -> pd.DataFrame:
    order = sorted(range(len(frame.columns)), key=lambda n: frame.columns[n])
    values = pd.DataFrame(frame.values[:, order], columns=[frame.columns[n] for n in order])
    values.insert(0, "time", frame.times_s.astype(int))
    return values


def _symptom(frame: Frame) -> str:
    """A front-end latency if there is one, else the first column; no method here leans on it."""
    latency = [c for c in frame.columns if "latency" in c]
    front = [c for c in latency if c.startswith("front")]
    return (front or latency or list(frame.columns))[0]
