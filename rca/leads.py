"""A Granger model put to the series of one recorded incident that changed most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rca.channels.metric_table import DECIMALS, MetricTable
from rca.channels.surprise import Split
from rca.forecasters import Forecaster, GrangerResult, skip
from rca.incident import IntArray
from rca.localisation import GrangerUse
from rca.prepare import Prepared
from rca.state import FloatArray

COLUMNS_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Leads:
    """What the model said.

    Attributes:
        columns: places in the metric table that were fitted, ascending, shape [K].
        result: arcs and residuals of these columns.
        exogenous: log(1 + |z|) of what causes leave, 0 for columns not fitted, shape [N].
    """

    columns: IntArray
    result: GrangerResult
    exogenous: FloatArray
    use: GrangerUse


def find_leads(
    table: MetricTable, prepared: Prepared, split: Split, granger: Forecaster | None, *, seed: int
) -> Leads:
    """Screen by change, fit the normal rows, read the fault rows. None fits nothing."""
    exogenous = np.zeros(len(table.score))
    if granger is None:
        nothing = skip(0, "switched off")
        return Leads(columns=np.zeros(0, dtype=np.int64), result=nothing, exogenous=exogenous,
                     use=GrangerUse())  # fmt: skip
    rounded = np.round(table.score, DECIMALS)
    most = min(granger.num_series_max, COLUMNS_MAX)
    chosen = np.lexsort((np.arange(len(rounded)), -rounded))[:most]
    chosen = np.sort(chosen[rounded[chosen] > 0.0])
    result = granger.fit(
        prepared.levels[:, chosen],
        normal_end=int(np.searchsorted(prepared.times_s, split.normal_end_s)),
        fault_start=int(np.searchsorted(prepared.times_s, split.fault_start_s)),
        step_s=prepared.incident.step_s,
        rng=np.random.default_rng([seed, 5]),
    )
    if not result.skipped:
        exogenous[chosen] = np.log1p(np.abs(result.exogenous))
    use = GrangerUse(
        used=result.model,
        why=result.skipped or result.why or "handed over by the caller",
        num_series=0 if result.skipped else len(chosen),
    )
    return Leads(columns=chosen, result=result, exogenous=exogenous, use=use)
