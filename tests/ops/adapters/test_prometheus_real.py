"""A simulated incident in a real Prometheus: read back over HTTP, it gets the same diagnosis."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace

import numpy as np
import pytest

from ops.adapters.prometheus import PrometheusReader
from ops.adapters.prometheus_frame import read_window
from ops.adapters.prometheus_selectors import Matcher
from ops.bundle import read_bundle
from ops.catalogue import Catalogue
from ops.clock import Deadline
from ops.errors import TooMuchError
from ops.replay import recorded
from ops.replay.openmetrics import metrics_text
from ops.replay.openmetrics_read import parse_metrics
from rca.pipeline import diagnose
from tests.ops.adapters.real_servers import SERVERS, STORED, program

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("promtool") is None,
        reason="prometheus and promtool are not installed (Debian package 'prometheus')",
    ),
]
CATALOGUE = Catalogue.load()
SHIFT_S = 1_700_000_000.0  # from the world's clock to one that Prometheus may have lived at


@dataclass
class Stored:
    """A window as a file gives it, the server that holds it, and what the loop asked then."""

    frame: object
    url: str
    asked: dict
    told: object
    error: float  # of a sample, relative


def shifted(moment):
    """The same events, symptom or frame on the later clock."""
    if isinstance(moment, tuple | list):
        return tuple(shifted(one) for one in moment)
    names = [name for name in ("at_s", "began_at_s", "detected_at_s") if hasattr(moment, name)]
    return replace(moment, **{name: getattr(moment, name) + SHIFT_S for name in names})


def incident(folder, monkeypatch):
    """Simulate the embedded scenario: frame of its bundle, the last question asked."""
    done = subprocess.run(
        [sys.executable, "-m", "ops", "replay", "chat", "--only", "with", "--out", str(folder)],
        capture_output=True, text=True,
    )  # fmt: skip
    bundle = folder / "bundle" / "inc-0001"
    assert bundle.is_dir(), done.stderr
    asked = []

    def remember(frame, **more):
        asked.append(more)
        return diagnose(frame, **more)

    monkeypatch.setattr(recorded, "diagnose", remember)
    recorded.replay_recorded(bundle)
    content = read_bundle(bundle)
    frame = parse_metrics(
        content.metrics_text, step_s=content.manifest.scrape_s, catalogue=CATALOGUE
    )
    return frame, asked[-1]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return incident(tmp_path_factory.mktemp("run") / "run", patch)


@pytest.fixture(scope="module", params=SERVERS)
def stored(request, simulated, tmp_path_factory, serve_prometheus):
    program(request.param)
    folder, (frame, asked) = tmp_path_factory.mktemp(request.param), simulated
    text = metrics_text(replace(frame, times_s=frame.times_s + SHIFT_S))
    again = parse_metrics(text, step_s=frame.step_s, catalogue=CATALOGUE)
    asked = {
        **asked,
        **{key: shifted(asked[key]) for key in ("symptom", "changes", "events")},
        "now_s": asked["now_s"] + SHIFT_S,
    }
    url = serve_prometheus(text, folder, request.param)
    yield Stored(again, url, asked, diagnose(again, **asked), STORED[request.param])


def window(stored, **more):
    times_s = stored.frame.times_s
    with PrometheusReader(stored.url) as reader:
        return read_window(
            reader, CATALOGUE, float(times_s[0]), float(times_s[-1]), stored.frame.step_s, **more
        )


def test_every_sample_comes_back_and_no_other(stored):
    reading = window(stored)
    read, file = reading.frame, stored.frame
    assert reading.notes == ()
    np.testing.assert_array_equal(read.times_s, file.times_s)
    place = {series: c for c, series in enumerate(file.series)}
    columns = [place[series] for series in read.series]
    kept = np.asarray(file.values)[:, columns]
    np.testing.assert_allclose(read.values, kept, rtol=stored.error, atol=0.0)
    assert [file.roles[c] for c in columns] == list(read.roles)
    # What is not there has no role, or is a bucket that nobody reads.
    left_out = {file.roles[c] for c in set(range(len(file.series))) - set(columns)}
    assert all(role is None or role.part == "bucket" for role in left_out)
    assert np.isnan(read.values).any()  # gaps, of which a range query would have filled some


def test_the_diagnosis_is_that_of_the_file_to_the_last_bit_of_its_samples(stored):
    told = diagnose(window(stored).frame, **stored.asked)
    assert told.causes
    for one, other in zip(told.causes, stored.told.causes, strict=True):
        assert (one.rank, one.entity, one.resource_class) == (
            other.rank, other.entity, other.resource_class,
        )  # fmt: skip
        assert one.score == pytest.approx(other.score, abs=1e5 * stored.error)
        assert one.confidence == pytest.approx(other.confidence, abs=1e5 * stored.error)
    if not stored.error:
        assert told == stored.told


def test_float32_would_change_the_scores(stored):
    frame = window(stored).frame
    narrow = diagnose(replace(frame, values=frame.values.astype(np.float32)), **stored.asked)
    assert [c.score for c in narrow.causes] != [c.score for c in stored.told.causes]


def test_a_range_query_would_have_filled_a_gap_of_one_scrape(stored):
    if stored.error:
        pytest.skip("VictoriaMetrics looks back by the distance of samples, not by five minutes")
    frame = window(stored).frame
    finite = np.isfinite(frame.values)
    row, column = np.argwhere(finite[:-2] & ~finite[1:-1] & finite[2:])[0] + (1, 0)
    series, at_s = frame.series[column], f"{frame.times_s[row]:.3f}"
    labels = [str(Matcher(label, "=", value)) for label, value in series.labels]
    asked = {"query": f"{series.name}{{{','.join(labels)}}}", "start": at_s, "end": at_s}
    query = urllib.parse.urlencode({**asked, "step": "5"})
    with urllib.request.urlopen(f"{stored.url}/api/v1/query_range?{query}", timeout=60.0) as answer:
        (told,) = json.load(answer)["data"]["result"]
    assert float(told["values"][0][1]) == frame.values[row - 1, column]


def test_the_step_is_found_from_the_samples(stored):
    times_s = stored.frame.times_s
    with PrometheusReader(stored.url) as reader:
        reading = read_window(reader, CATALOGUE, float(times_s[0]), float(times_s[-1]))
    assert reading.frame.step_s == stored.frame.step_s
    np.testing.assert_array_equal(reading.frame.times_s, times_s)


def test_a_real_limit_of_samples_is_met_in_halves(stored):
    times_s = stored.frame.times_s
    after_ms, until_ms = round(times_s[0] * 1000) - 1, round(times_s[-1] * 1000)
    with PrometheusReader(stored.url) as reader, pytest.raises(TooMuchError, match="422"):
        reader.samples(
            [series.name for series in stored.frame.series],
            after_ms=after_ms,
            until_ms=until_ms,
            matchers=(),
            deadline=Deadline.after(60.0),
        )
    assert stored.frame.values.size > 300_000


def test_a_real_server_accepts_odd_label_values(stored):
    names = [series.name for series in stored.frame.series[:1]]
    odd = Matcher("pod", "=", "a\"b\\c\nd{}'e")
    with PrometheusReader(stored.url) as reader:
        answer = reader.samples(
            names, after_ms=0, until_ms=60_000, matchers=[odd], deadline=Deadline.after(60.0)
        )
    assert answer.labels == ()
