"""One Fleet's turn: what its alerts hear when the server refuses their Incident."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from ops.config import LoopConfig
from ops.controller.fleet.work import FleetWork
from ops.errors import KubeError
from ops.state import Alert

ALERT = Alert(group_key="g", fingerprint="f", starts_at_s=1.0, firing=True)


def work_with(trouble, told=None):
    """A FleetWork whose step decides nothing and whose book has this trouble."""
    work = object.__new__(FleetWork)
    work._lock, work._wanted, work.fault = threading.Lock(), None, ("", "")
    work._spec = work.last_decision = None
    work.parts = SimpleNamespace(worker_trouble=lambda: "refused")
    told = [] if told is None else told
    work.tick = SimpleNamespace(
        step=lambda alerts: (), snapshot=SimpleNamespace(now_s=7.0), now_s=lambda: 0.0,
        state=SimpleNamespace(cases=()), config=LoopConfig,
    )  # fmt: skip
    work.record = SimpleNamespace(
        take=lambda *_, **__: None, flush=lambda now_s: None,
        book=SimpleNamespace(
            trouble=trouble, tell_silence=lambda text, now_s: told.append((text, now_s)),
            resolved_after_s=0.0,
        ),
    )  # fmt: skip
    return work


def test_alerts_whose_incident_is_refused_are_not_said_to_be_written():
    with pytest.raises(KubeError, match="not written: chat-1: invalid"):
        work_with("chat-1: invalid").decide((ALERT,))


def test_a_refused_incident_does_not_hold_up_turns_without_alerts():
    work_with("chat-1: invalid").decide(())


def test_alerts_are_taken_where_nothing_is_refused():
    work_with("").decide((ALERT,))


def test_a_silent_worker_is_told_to_the_incidents_that_wait_for_it():
    told = []
    work_with("", told).decide(())
    assert told == [("refused", 7.0)]
