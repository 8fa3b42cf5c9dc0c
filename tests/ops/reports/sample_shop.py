"""Invented recorded incidents of a shop, with spans and logs where asked for."""

from __future__ import annotations

import numpy as np

from rca.incident import Column, Incident, Logs, Spans

ROWS, FAULT_ROW = 120, 90
STAMP = 1_800_000_000.0  # 15 Jan 2027
SHOP = ("ads", "cart", "front", "mail", "pay", "stock")
SHOP_CALLS = (("front", "ads"), ("front", "cart"), ("cart", "stock"), ("front", "pay"))
SHOP_LEVELS = {"cpu": 0.2, "mem": 2e8, "latency-90": 0.04, "load": 30.0}


def draw_shop(
    *,
    broken=(("pay", "cpu", 4.0),),
    services=SHOP,
    step_s=10.0,
    start_s=STAMP,
    lag_rows=(),
    gap=(),
    calls=SHOP_CALLS,
    users=True,
    traces=False,
    slow="",
    seed=0,
    **more,
):
    """Rows of every service at rest, with noise of 2 %, and what is broken from row 90 on.

    Args:
        broken: (service, metric, factor); lag_rows: (service, rows later than the others).
        gap: (service, metric) without any sample since row 80.
        traces: with spans and logs, in which `slow` is slow by itself and writes error lines.
    """
    rng = np.random.default_rng(seed)
    columns = [Column(s, m) for s in services for m in SHOP_LEVELS]
    values = np.array([SHOP_LEVELS[c.metric] for c in columns])
    values = values * rng.normal(1.0, 0.02, (ROWS, len(columns)))
    if users:
        columns.append(Column("sli", "latency-90"))
        values = np.hstack([values, rng.normal(0.2, 0.004, (ROWS, 1))])
        if broken:
            values[FAULT_ROW:, -1] *= 5.0
    place = {(c.owner, c.metric): n for n, c in enumerate(columns)}
    late = dict(lag_rows)
    for service, metric, factor in broken:
        values[FAULT_ROW + late.get(service, 0) :, place[service, metric]] *= factor
    if gap:
        values[80:, place[gap]] = np.nan
    spans, logs, fault_free = None, None, {}
    fault_at_s = start_s + step_s * FAULT_ROW
    if traces:
        spans, logs = _records(services, calls, fault_at_s, slow, seed)
        quiet = _records(services, calls, 0.0, "", seed + 1)
        fault_free = {"normal_spans": (quiet[0],), "normal_logs": (quiet[1],)}
    fields = {
        "incident_id": "made",
        "times_s": start_s + step_s * np.arange(ROWS),
        "values": values,
        "columns": tuple(columns),
        "step_s": step_s,
        "fault_at_s": fault_at_s,
        "calls": tuple(c for c in calls if set(c) <= set(services)),
        "spans": spans,
        "logs": logs,
    }
    return Incident(**(fields | fault_free | more))


def _records(services, calls, start_s, slow, seed):
    """60 requests through the call graph; each service writes one line a visit."""
    rng = np.random.default_rng([seed, 9])
    callees = {s: [b for a, b in calls if a == s] for s in services}
    root = next(iter(dict(calls)))
    rows, lines = [], []

    def visit(service, trace, parent, at_s):
        number = len(rows)
        rows.append([at_s, trace, number, parent, services.index(service), 0.0])
        own = 0.002 * rng.lognormal(0.0, 0.1) * (20.0 if service == slow else 1.0)
        lines.append((at_s, services.index(service), trace, f"served request {number}"))
        if service == slow:
            lines.append((at_s, services.index(service), trace, "ERROR backend refused it"))
        spent = own + sum(visit(c, trace, number, at_s) for c in callees[service])
        rows[number][5] = spent
        return spent

    for trace in range(60):
        visit(root, trace, -1, start_s + 2.0 * trace)
    table = np.array(rows)
    whole = table[:, 1:5].astype(np.int64)
    spans = Spans(
        start_s=table[:, 0], trace=whole[:, 0], span=whole[:, 1], parent=whole[:, 2],
        service=whole[:, 3], operation=whole[:, 3], duration_s=table[:, 5],
        services=tuple(services), operations=tuple(f"{s}/serve" for s in services),
    )  # fmt: skip
    logs = Logs(
        at_s=np.array([line[0] for line in lines]),
        service=np.array([line[1] for line in lines]),
        trace=np.array([line[2] for line in lines]),
        messages=tuple(line[3] for line in lines),
        services=tuple(services),
    )
    return spans, logs
