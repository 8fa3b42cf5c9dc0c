"""The simulations of one `midwatch serving simulate`: each variant, with progress.

With prefix caches every variant runs once more without, on the same requests, so that the
difference is the cache's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ops.clock import cpu_s
from ops.commands.serving_variants import labels_of
from serving.sim.capacity import Capacity, Trial, find_capacity
from serving.sim.report import SimReport
from serving.sim.run import simulate
from serving.sim.world import FleetConfig, Policies
from serving.state import Slo
from serving.workload import RequestTable


@dataclass(slots=True, kw_only=True)
class Done:
    """What was simulated, in the order of the variants."""

    reports: list[SimReport] = field(default_factory=list)
    uncached: list[SimReport] = field(default_factory=list)  # the same without prefix caches
    capacities: list[Capacity] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)  # per report
    complete: bool = True

    @property
    def figures(self) -> list[dict[str, Any]]:
        """Figures of each report, with its speed and those of its run without prefix caches."""
        rows = [report.figures() for report in self.reports]
        for row, spent_s in zip(rows, self.cpu_s, strict=True):
            row["cpu_s"] = spent_s
            row["requests_per_cpu_s"] = row["requests"] / max(spent_s, 1e-9)
            row["without_prefix_cache"] = None
        for row, report in zip(rows, self.uncached, strict=False):  # fewer after an early stop
            row["without_prefix_cache"] = report.figures()
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs variants on the same requests."""

    console: Console
    requests: RequestTable
    fleet: FleetConfig
    slo: Slo
    seed: int

    def run(self, variants: Sequence[Policies], *, capacity: bool) -> Done:
        """Each variant; with `capacity` the search of its highest rate first.

        Raises:
            KeyboardInterrupt: stopped before anything was simulated.
        """
        done = Done()
        try:
            for policies, label in zip(variants, labels_of(variants), strict=True):
                if capacity:
                    done.capacities.append(self._search(policies, label))
                if not self._add(done, policies, label):
                    break
        except KeyboardInterrupt:
            done.complete = False
        if not done.reports:
            raise KeyboardInterrupt
        return done

    def _add(self, done: Done, policies: Policies, label: str) -> bool:
        """One variant, and once more without prefix caches; False when it was stopped early."""
        report, spent_s = self._simulate(self.fleet, policies, label)
        done.reports.append(report)
        done.cpu_s.append(spent_s)
        done.complete = report.complete
        if done.complete and self.fleet.prefix_cache:
            plain = replace(self.fleet, prefix_cache=False)
            report, _ = self._simulate(plain, policies, f"{label}, no cache")
            done.uncached.append(report)
            done.complete = report.complete
        return done.complete

    def _simulate(
        self, fleet: FleetConfig, policies: Policies, label: str
    ) -> tuple[SimReport, float]:
        with _progress(self.console, label) as tell:
            start_s = cpu_s()
            report = simulate(
                self.requests, fleet, policies, self.seed, slo=self.slo, progress=tell
            )
            return replace(report, label=label), cpu_s() - start_s

    def _search(self, policies: Policies, label: str) -> Capacity:
        with _progress(self.console, f"searching {label}") as tell:
            found = find_capacity(
                self.requests, self.fleet, policies, self.seed,
                slo=self.slo, progress=_trials(tell),
            )  # fmt: skip
        return replace(found, label=label)


def _trials(tell: Callable[[float], None]) -> Callable[[Trial], None]:
    """Progress of a search: about nine trials bracket and bisect to 2 %."""
    tried: list[Trial] = []

    def one_more(trial: Trial) -> None:
        tried.append(trial)
        tell(min(len(tried) / 9, 0.99))

    return one_more


@contextmanager
def _progress(console: Console, name: str) -> Iterator[Callable[[float], None]]:
    with Progress(
        TextColumn("{task.description:40}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(), console=console, disable=not sys.stderr.isatty(), transient=True,
    ) as bar:  # fmt: skip
        shown = bar.add_task(name, total=1.0)
        yield lambda share: bar.update(shown, completed=share)
