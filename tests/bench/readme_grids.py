"""README's tables with a row for each item of a list and several figures in each.

Like `readme_tables`, for results in which every item has the same figures; nothing here holds one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One column."""

    head: str
    figure: str  # path inside the item; null is shown as "-"
    shape: str = ".2f"  # format of a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table whose rows are the items of one list."""

    name: str  # of the markers
    source: str = ""  # results/SOURCE.json; the name where it is left out
    spread: str
    command: str
    items: str  # path of the list
    cells: tuple[Cell, ...]

    @property
    def run(self) -> str:
        """What makes the figures."""
        return self.command


def _interval(head: str, key: str) -> tuple[Cell, ...]:
    return (
        Cell(head=head, figure=f"{key}/value", shape="+.3f"),
        Cell(head="from", figure=f"{key}/low", shape="+.3f"),
        Cell(head="to", figure=f"{key}/high", shape="+.3f"),
    )


SETS = ("dycause_ss", "nezha_ob", "nezha_tt", "opennetai_ss", "rcd_sockshop")

GRIDS = (
    Grid(
        name="peers",
        spread="service level, AC@1 in each set; means over the five sets; R@5: cause among the "
        "first five, first|5: and then first; metric: AC@1 of the metric where it is labelled; "
        "CPU ms a case, median; failed: no answer, too late or the column order, a miss",
        command="make bench-rca",
        items="rows",
        cells=(
            Cell(head="method", figure="method"),
            Cell(head="cases", figure="n", shape="d"),
            *(Cell(head=name, figure=f"ac_at_1_by_set/{name}") for name in SETS),
            Cell(head="AC@1", figure="macro/ac_at_1", shape=".3f"),
            Cell(head="Avg@5", figure="macro/avg_at_5", shape=".3f"),
            Cell(head="R@5", figure="macro/retrieval_at_5"),
            Cell(head="first\\|5", figure="macro/rerank_at_1"),
            Cell(head="metric", figure="macro_metric/ac_at_1"),
            Cell(head="CPU ms", figure="cpu_ms_p50", shape=",.1f"),
            Cell(head="failed", figure="failures_told", shape="d"),
        ),
    ),
    Grid(
        name="peers_against",
        source="peers",
        spread="ours minus the best peer that ran all cases, paired bootstrap over the same cases, "
        "95 %; last: sets with more than one case fewer right than the best such peer of that set",
        command="make bench-rca",
        items="against_best",
        cells=(
            Cell(head="ours", figure="ours"),
            Cell(head="best peer", figure="theirs"),
            *_interval("AC@1", "ac_at_1"),
            *_interval("Avg@5", "avg_at_5"),
            Cell(head="sets more than one case behind", figure="behind"),
        ),
    ),
    Grid(
        name="peers_speed",
        spread="49 metrics of 600 rows, CPU s of one thread; RUN's port with 1 + 1 epochs, the "
        "least there is (paper: 50 + 50)",
        command="python tests/bench/peers/speed.py",
        items="rows_shown",
        cells=(
            Cell(head="what", figure="what"),
            Cell(head="CPU s", figure="cpu_s", shape=",.3f"),
            Cell(head="RUN's port takes so many times longer", figure="times", shape=",.0f"),
            Cell(head="target", figure="wanted"),
        ),
    ),
)
