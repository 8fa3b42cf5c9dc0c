"""A worker with its HTTP door for tests, and a recorded fleet as a Prometheus would store it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
from aiohttp import web

from ops.catalogue import Catalogue
from ops.controller.worker.server import WORKER, make_worker
from ops.controller.worker_link.client import WorkerClient
from ops.state import PodPhase, PodRecord
from rca.state import EntityKind, MetricFrame, Series

T0, STEP_S = 1_795_000_000.0, 5.0


@asynccontextmanager
async def serving(settings, *, token_file=None, **limits):
    """A worker on a free port of the loopback interface, and a client that asks it."""
    app = make_worker(settings)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    while not app[WORKER].ready:
        if app[WORKER].error is not None:
            raise app[WORKER].error
        await asyncio.sleep(0.005)
    try:
        async with WorkerClient(
            f"http://127.0.0.1:{port}", token_file=token_file, **limits
        ) as client:
            yield client
    finally:
        await runner.cleanup()


def store(fake, frame, *, namespace, shift_s=0.0, hidden=()):
    """Put a frame's samples into a fake Prometheus; `hidden` labels are left to the cluster."""
    stamps = np.rint((frame.times_s + shift_s) * 1000).astype(int).tolist()
    for column, series in enumerate(frame.series):
        values = frame.values[:, column]
        samples = [
            (ms, repr(v))
            for ms, v in zip(stamps, values.astype(float).tolist(), strict=True)
            if v == v
        ]
        labels = {key: value for key, value in series.labels if key not in hidden}
        fake.add(series.name, samples, **(labels | {"namespace": namespace}))


def pods_of(frame):
    """The pods that a frame speaks of, as a watch on the cluster would show them."""
    found = {}
    for series, role in zip(frame.series, frame.roles, strict=True):
        if role is None or role.entity.kind is not EntityKind.POD:
            continue
        name = role.entity.name
        known = found.setdefault(name, {"service": "", "node": ""})
        for key in known:
            known[key] = known[key] or series.label(key)
        known["region"] = role.entity.region
    return tuple(
        PodRecord(
            name=name, region=one["region"], service=one["service"], node=one["node"],
            phase=PodPhase.RUNNING, ready=True, restarts=0, created_at_s=0.0, owner="ReplicaSet",
        )
        for name, one in sorted(found.items())
    )  # fmt: skip


def small_fleet(*, rows=150, onset_row=120, seed=1):
    """Four engine pods behind one entry; from `onset_row` one GPU clock halves, users wait."""
    rng = np.random.default_rng(seed)
    late = np.arange(rows) >= onset_row
    columns = []

    def add(name, values, **labels):
        labels = {"region": "eu", **labels}
        columns.append((Series(name, tuple(sorted(labels.items()))), np.asarray(values, float)))

    def counter(name, per_row, **labels):
        add(name, np.cumsum(per_row), **labels)

    requests = rng.poisson(40, rows).astype(float)
    slow = np.round(requests * np.where(late, 0.35, 0.004))
    front = {"service": "front", "slo_class": "chat"}
    counter("http_requests_total", requests, status="200", pod="front-0", **front)
    for bound, share in (("0.5", 0.7), ("2.0", 1.0), ("+Inf", 1.0)):
        within = requests * share - (slow if bound != "+Inf" else 0.0)
        counter("dynamo_frontend_time_to_first_token_seconds_bucket", within, le=bound, **front)
    counter("dynamo_frontend_time_to_first_token_seconds_count", requests, **front)
    calls = [rng.normal(2.0, 0.05, rows) * np.where(late & (k == 2), 2.6, 1.0) for k in range(4)]
    waited = sum(calls) * requests / 4 + 0.1 * requests
    counter("dynamo_frontend_time_to_first_token_seconds_sum", waited, **front)
    for k, per_call in enumerate(calls):
        pod = {"pod": f"llm-{k}", "service": "llm", "node": f"gpu-{k % 2}"}
        hurt = late & (k == 2)
        tokens = rng.poisson(2000, rows) * np.where(hurt, 0.5, 1.0)
        counter("vllm:generation_tokens_total", tokens, **pod)
        counter("vllm:e2e_request_latency_seconds_count", requests / 4, **pod)
        counter("vllm:e2e_request_latency_seconds_sum", per_call * requests / 4, **pod)
        add("vllm:num_requests_running", rng.poisson(8, rows) * np.where(hurt, 2, 1), **pod)
        add("vllm:num_requests_waiting", rng.poisson(1, rows) + np.where(hurt, 6, 0), **pod)
        for reporter, where in (
            ("source", {"pod": "front-0", "to": pod["pod"]}),
            ("destination", pod),
        ):
            edge = {"reporter": reporter, "source_workload": "front", "destination_workload": "llm",
                    "response_code": "200", **where}  # fmt: skip
            counter("istio_requests_total", requests / 4, **edge)
            counter("istio_request_duration_milliseconds_count", requests / 4, **edge)
            spent = 1000 * per_call * requests / 4
            counter("istio_request_duration_milliseconds_sum", spent, **edge)
        clock = rng.normal(1700, 5, rows) * np.where(hurt, 0.5, 1.0)
        add("DCGM_FI_DEV_SM_CLOCK", clock, gpu="0", **pod)
    for job in ("llm", "front"):
        add("up", np.ones(rows), job=job, instance=f"{job}:8000")
    series, values = zip(*columns, strict=True)
    catalogue = Catalogue.load()
    return MetricFrame(
        times_s=T0 + STEP_S * np.arange(rows),
        values=np.column_stack(values),
        series=series,
        roles=tuple(catalogue.resolve(one) for one in series),
        step_s=STEP_S,
    )
