"""An incident in a real Prometheus is ranked as its file is, whole or damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from ops.bundle import read_bundle, write_bundle
from ops.catalogue import Catalogue
from ops.cli import app
from ops.commands.rca_options import PrometheusOptions
from ops.commands.rca_prometheus import incidents_of_prometheus
from ops.replay.bundle_incident import incidents_of_bundle
from ops.replay.openmetrics import metrics_text
from ops.replay.openmetrics_read import parse_metrics
from rca.state import Topology
from tests.ops.adapters.real_servers import SERVERS, STORED, program

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("promtool") is None,
        reason="prometheus and promtool are not installed (Debian package 'prometheus')",
    ),
]
SHIFT_S = 1_700_000_000.0  # from the world's clock to one that Prometheus may have lived at
ROUNDING = 1e-9
PATIENT = {"timeout_s": 300.0, "deadline_s": 900.0}  # the machine may be slow
AMPLIFIED = 1e6


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Frame of the embedded scenario's incident on a Prometheus' clock, and its bundle's parts."""
    folder = tmp_path_factory.mktemp("replay")
    done = subprocess.run(
        [sys.executable, "-m", "ops", "replay", "chat", "--only", "with", "--out", str(folder)],
        capture_output=True, text=True,
    )  # fmt: skip
    bundle = folder / "bundle" / "inc-0001"
    assert bundle.is_dir(), done.stderr
    content = read_bundle(bundle)
    frame = parse_metrics(
        content.metrics_text, step_s=content.manifest.scrape_s, catalogue=Catalogue.load()
    )
    return replace(frame, times_s=frame.times_s + SHIFT_S), content.manifest


def damaged(frame):
    """A gap of everybody, one of a pod, a reset, a late series, a target that goes stale."""
    values = np.array(frame.values)
    rows = len(values)
    pods = sorted({s.label("pod") for s in frame.series if s.label("pod")})
    places = {pod: [c for c, s in enumerate(frame.series) if s.label("pod") == pod] for pod in pods}
    values[20:23] = np.nan
    values[40:52, places[pods[1]]] = np.nan
    values[rows - 30 :, places[pods[2]]] = np.nan
    counters = [
        c for c, r in enumerate(frame.roles)
        if r and r.counter and not r.part and np.isfinite(values[:, c]).sum() > rows // 2
    ]  # fmt: skip
    for column in counters[:40]:
        values[70:, column] -= np.nan_to_num(values[69, column])
    late = [c for c, s in enumerate(frame.series) if s.name == "container_memory_working_set_bytes"]
    values[: rows // 2, late[0]] = np.nan
    kept = np.isfinite(values).any(axis=1)
    return replace(frame, times_s=frame.times_s[kept], values=values[kept])


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    """Name of a server that can be started here."""
    program(request.param)
    return request.param


@pytest.fixture(scope="module", params=["whole", "damaged"])
def both(request, server, recorded, serve_prometheus, tmp_path_factory):
    """The same samples as a bundle and in a server."""
    frame, manifest = recorded
    if request.param == "damaged":
        frame = damaged(frame)
    text, folder = metrics_text(frame), tmp_path_factory.mktemp(f"{server}-{request.param}")
    write_bundle(
        folder / "bundle", manifest=replace(manifest, source={}), metrics_text=text, journal=b"",
        topology=Topology(), slos=(),
    )  # fmt: skip
    first, last = float(frame.times_s[0]), float(frame.times_s[-1])
    return SimpleNamespace(
        bundle=folder / "bundle", url=serve_prometheus(text, folder, server),
        start=f"{first:.3f}", end=f"{last:.3f}", middle=f"{(first + last) / 2:.0f}",
    )  # fmt: skip


def ask(*arguments):
    done = CliRunner().invoke(
        app, ["rca", "rank", *map(str, arguments), "--granger", "linear", "--json"]
    )
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


def same(left, right, path=""):
    """Equal, numbers within the rounding of sums that are added up in another order."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            same(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list):
        assert len(left) == len(right), path
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            same(one, other, f"{path}[{place}]")
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=ROUNDING, abs=ROUNDING), path
    else:
        assert left == right, path


@pytest.mark.parametrize("more", [[], ["--fault-at"]], ids=["time unknown", "time given"])
def test_the_ranking_is_that_of_the_file(both, more):
    more = [*more, both.middle] if more else []
    file = ask(both.bundle, *more)
    limits = ("--timeout-s", PATIENT["timeout_s"], "--deadline-s", PATIENT["deadline_s"])
    where = ("--prometheus", both.url, "--start", both.start, "--end", both.end)
    http = ask(*where, *limits, *more)
    assert len(file["services"]) > 5 and file["metrics"] and file["instances"]
    for answer in (file, http):
        region = answer.pop("incident_id").rpartition("/")[2]
        answer["region"] = region
        for how_it_was_read in ("notes", "report"):
            answer.pop(how_it_was_read)
    same(file, http)


def test_levels_and_gaps_are_those_of_the_file(both, server):
    # A level is the small difference of two large counters.
    error = max(ROUNDING, AMPLIFIED * STORED[server])
    file = incidents_of_bundle(both.bundle)
    options = PrometheusOptions(url=both.url, start=both.start, end=both.end, **PATIENT)
    http = incidents_of_prometheus(options)
    assert file.keys() == http.keys()
    for region, one in file.items():
        other = http[region]
        np.testing.assert_array_equal(one.times_s, other.times_s)
        assert one.columns == other.columns
        np.testing.assert_array_equal(np.isnan(one.values), np.isnan(other.values))
        np.testing.assert_allclose(one.values, other.values, rtol=error, atol=error - ROUNDING)
        assert (one.instances, one.nodes, one.calls, one.entry) == (
            other.instances, other.nodes, other.calls, other.entry,
        )  # fmt: skip
        assert np.isnan(one.values).any()


def test_a_service_alone_is_read_where_a_condition_says_so(both):
    found = incidents_of_prometheus(
        PrometheusOptions(
            url=both.url,
            start=both.start,
            end=both.end,
            where=("service=auth", "region=us-east"),
            **PATIENT,
        )
    )
    assert list(found) == ["us-east"]
    assert "auth" in found["us-east"].services


def test_a_metric_is_also_found_by_a_selector(both):
    found = incidents_of_prometheus(
        PrometheusOptions(
            url=both.url, start=both.start, end=both.end, where=("region=us-east",),
            match=('{__name__=~"kube_pod_status_.+",pod!=""}',), **PATIENT,
        )
    )  # fmt: skip
    assert any("pod-ready" in str(column) for column in found["us-east"].columns)
