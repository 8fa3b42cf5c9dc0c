"""A bad share that jumps again while its cause is named: perhaps a second cause."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import numpy as np

from ops.incidents import open_case, trusted
from ops.pipeline_state import Case, Turn
from ops.same_cause import holder_of, note_suspect
from ops.slo import bads, totals, window_counts
from ops.state import IncidentPhase
from ops.symptoms import change_point_s, z_scores
from rca.state import Symptom

JUMP_RATIO_MIN = 0.25  # rise of an already bad share that may be a second cause
JUMP_BEFORE_S = 120.0


def look_for_second_cause(turn: Turn, case: Case) -> None:
    """Open another incident when the bad share jumps again for a reason of its own."""
    config = turn.config
    named = case.incident.phase is IncidentPhase.DIAGNOSED
    if not named or turn.now_s < case.next_jump_at_s:
        return
    others = [c for c in turn.open_cases if c.cause is None]
    if any(set(c.keys) & set(case.keys) for c in others):
        return  # the jump is theirs already
    symptom = _jump(turn, case)
    if symptom is None:
        return
    result = turn.diagnose(symptom)
    if result is None:
        return
    next_s = turn.now_s + config.diagnose.second_cause_after_s
    case = turn.put(replace(case, next_jump_at_s=next_s))
    first = trusted(result, config.diagnose.confidence_stable)
    if first is None:
        return
    holder = holder_of(turn, turn.open_cases, result)
    if holder is not None:
        note_suspect(turn, holder, result)
        return
    open_case(turn, symptom, keys=((symptom.region, symptom.slo_class),), result=result)


def _jump(turn: Turn, case: Case) -> Symptom | None:
    """Symptom of a second rise in one of the case's keys, None when there is none."""
    meter, detect = turn.state.meter, turn.config.detect
    if not len(meter.times_s):  # a case of alerts alone, or one from before a restart
        return None
    newest_s = float(meter.times_s[-1])
    recent = window_counts(meter, span_s=detect.window_s_short)
    before = window_counts(
        meter, span_s=JUMP_BEFORE_S, until_s=newest_s - detect.window_s_short - meter_step_s(turn)
    )
    z = z_scores(bads(recent), totals(recent), bads(before), totals(before))
    with np.errstate(invalid="ignore", divide="ignore"):
        was, now = bads(before) / totals(before), bads(recent) / totals(recent)
    echo_s = turn.config.act.shift_echo_s
    own = [  # what a region suffers from users that we sent there has a cause already
        key for key in case.keys if not case.shifts_to(key[0], now_s=turn.now_s, echo_s=echo_s)
    ]
    hits = [
        (float(z[i]), i)
        for i in turn.positions(tuple(own))
        if z[i] >= detect.z_min and now[i] - was[i] >= JUMP_RATIO_MIN
    ]
    if not hits:
        return None
    _, i = max(hits)
    region, slo_class = meter.keys[i]
    began_at_s = change_point_s(meter, i, usual_ratio=float(was[i]), span_s=JUMP_BEFORE_S)
    return replace(
        case.incident.symptom,
        region=region,
        slo_class=slo_class,
        began_at_s=began_at_s,
        detected_at_s=turn.now_s,
        bad_ratio=float(now[i]),
    )


def meter_step_s(turn: Turn) -> float:
    """Nominal scrape step, at least one second."""
    step_s = turn.snapshot.frame.step_s
    return 1.0 if isnan(step_s) else max(step_s, 1.0)
