"""The folder of bundles: room on its volume, memory to read one back, a worker that was killed."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from ops.bundle import MANIFEST
from ops.controller.worker import incident_bundle
from ops.controller.worker.incident_bundle import BundleStore, Origin
from ops.controller.worker.question import Question
from ops.errors import BundleError
from rca.state import MetricFrame, Series, Symptom, Topology

QUESTION = Question(
    frame=MetricFrame(
        times_s=np.arange(3) * 5.0 + 1.79e9, values=np.ones((3, 5)),
        series=tuple(Series("up", (("instance", str(k)),)) for k in range(5)), roles=(None,) * 5,
        step_s=5.0,
    ),
    symptom=Symptom(region="eu", slo_class="chat", began_at_s=1.79e9, detected_at_s=1.79e9,
                    bad_ratio=0.3, reason="latency"),
    topology=Topology(), changes=(), events=(), now_s=1.79e9, seed=1, granger="off",
)  # fmt: skip


def kept(folder):
    return sorted(m.parent.name for m in folder.glob(f"*/[!.]*/{MANIFEST}"))


def put(bundles, *names):
    for name in names:
        bundles.write(
            Origin(namespace="shop", fleet="chat", incident=name), QUESTION, ranking_sha256="0",
            decisions=(),
        )  # fmt: skip


def test_bundles_leave_room_on_their_volume(tmp_path):
    put(BundleStore(tmp_path, bundles_max=9), "a")
    size = sum(file.stat().st_size for file in (tmp_path / "shop" / "a").iterdir())
    bundles = BundleStore(tmp_path, bundles_max=9, bytes_max=2 * size + size // 2)
    put(bundles, "b", "c")
    assert kept(tmp_path) == ["b", "c"]
    put(BundleStore(tmp_path, bundles_max=9, bytes_max=1), "d")  # the newest stays
    assert kept(tmp_path) == ["d"]


def test_a_full_volume_costs_the_oldest_bundles_and_not_the_newest(tmp_path, monkeypatch):
    bundles = BundleStore(tmp_path, bundles_max=9)
    put(bundles, "a", "b")
    whole, errors = incident_bundle.write_bundle, [errno.ENOSPC, errno.EACCES]

    def refused(*args, **kwargs):
        if errors and len(kept(tmp_path)) > 1:
            raise BundleError("no") from OSError(errors[0], "")
        return whole(*args, **kwargs)

    monkeypatch.setattr(incident_bundle, "write_bundle", refused)
    put(bundles, "c")
    assert len(kept(tmp_path)) == 2 and "c" in kept(tmp_path)
    errors.pop(0)
    with pytest.raises(BundleError):  # another trouble is none of the oldest bundles' fault
        put(bundles, "d")
    assert len(kept(tmp_path)) == 2


def test_a_window_that_would_not_fit_into_memory_again_is_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(incident_bundle, "SAMPLES_MAX", 10)
    with pytest.raises(BundleError, match=r"at most 10 are recorded.*narrow spec\.selector"):
        put(BundleStore(tmp_path, bundles_max=9), "a")
    assert kept(tmp_path) == []


def test_a_bundle_that_a_killed_worker_was_replacing_is_put_back(tmp_path):
    put(BundleStore(tmp_path, bundles_max=9), "a")
    (tmp_path / "shop" / "a").rename(tmp_path / "shop" / ".old-a")
    BundleStore(tmp_path, bundles_max=9)
    assert kept(tmp_path) == ["a"]
