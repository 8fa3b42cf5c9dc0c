"""The neural model is left out while the machine is too busy for it, and that is recorded."""

from __future__ import annotations

import pytest

from ops.adapters.prometheus_frame import FrameReading
from ops.controller.worker import diagnose, pace
from ops.controller.worker.diagnose import WindowDiagnoser
from ops.controller.worker.pace import FIT_S_MAX, REST_S, Pace
from ops.controller.worker.settings import WorkerSettings
from ops.ranking import ranking_sha256
from rca.granger_kind import GrangerChoice
from tests.ops.controller.live_worker import small_fleet
from tests.ops.controller.test_worker import question

LINEAR = diagnose.forecaster_of("linear")


class Stored:
    def __init__(self, frame):
        self.frame = frame

    def read(self, *_, **__):
        return FrameReading(frame=self.frame, names=())


@pytest.fixture
def asked(monkeypatch):
    """Models asked for, in order; none of them needs torch."""
    names = []
    monkeypatch.setattr(diagnose, "resolve", lambda _: (GrangerChoice.NEURAL, "installed"))
    monkeypatch.setattr(diagnose, "forecaster_of", lambda name: names.append(name) or LINEAR)
    return names


def test_a_slow_fit_is_followed_by_a_rest_and_then_tried_again():
    now = [0.0]
    one = Pace(clock=lambda: now[0])
    assert one.afford() == (GrangerChoice.NEURAL, "")
    one.took(FIT_S_MAX)
    assert one.afford()[0] is GrangerChoice.NEURAL
    one.took(FIT_S_MAX + 2.0)
    choice, why = one.afford()
    assert (choice, "took 7.0 s" in why) == (GrangerChoice.LINEAR, True)
    now[0] = REST_S
    assert one.afford() == (GrangerChoice.NEURAL, "")


def test_the_model_is_used_before_the_first_question_and_its_slowness_is_told(asked, monkeypatch):
    monkeypatch.setattr(pace, "FIT_S_MAX", -1.0)  # every fit is too slow
    frame = small_fleet(rows=200, onset_row=170)
    one = WindowDiagnoser(WorkerSettings(), Stored(frame))
    assert asked == ["neural"]
    first, second = (one.diagnose(question(frame)) for _ in range(2))
    assert asked == ["neural", "neural", "linear"]
    assert not any("lately" in text for text in first.result.checked)
    assert "neural model took 0.0 s lately" in second.result.checked[-1]
    kept = one.answered(question(frame).place, second.ranking_sha256)
    assert kept is not None
    assert kept.question.granger == "linear"  # what a bundle says, and a replay takes
    assert ranking_sha256(kept.question.answer(LINEAR)) == second.ranking_sha256


def test_a_model_that_was_asked_for_is_never_left_out(asked, monkeypatch):
    monkeypatch.setattr(pace, "FIT_S_MAX", -1.0)
    frame = small_fleet()
    one = WindowDiagnoser(WorkerSettings(granger=GrangerChoice.NEURAL), Stored(frame))
    for _ in range(2):
        one.diagnose(question(frame))
    assert asked == ["neural"] * 3
