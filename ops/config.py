"""Every threshold of the loop, in one frozen value. Nothing here is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.state import ActionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectConfig:
    """When users are held to suffer. Ratios are shares of requests."""

    history_s: float = 3660.0  # counts kept; the page rule needs one hour
    baseline_lag_s: float = 120.0  # a ramp must not teach the baseline its own start
    baseline_tau_s: float = 900.0  # memory of the baseline
    baseline_requests_min: float = 50.0  # below it nothing is compared
    window_s_short: float = 30.0
    window_s_long: float = 120.0
    requests_min: float = 8.0
    bad_min: float = 5.0
    bad_min_long: float = 10.0  # the same in the long window
    rise_ratio_min: float = 0.20  # bad share over the baseline, short window
    rise_ratio_min_long: float = 0.06  # the same, long window
    z_min: float = 5.0  # standard errors of the two-proportion test
    persist_steps: int = 3  # consecutive steps before a slow symptom counts: bursts pass sooner
    # How often chance alone may call a fleet ill, by the design of `ops.symptoms_scan`.
    false_alarm_every_s: float = 30.0 * 86_400.0
    failures_min_fast: float = 8.0  # this many failures in window_s_fast need no second step
    failed_ratio_fast: float = 0.3
    window_s_fast: float = 15.0
    expected_min: float = 30.0  # requests expected in window_s_missing before silence counts
    missing_ratio: float = 0.1  # finished share of the expected that counts as silence
    window_s_missing: float = 45.0
    pile_up_factor: float = 3.0  # requests in flight over their usual number
    pile_up_min: float = 10.0
    calm_z: float = 2.5
    calm_rise_ratio: float = 0.03
    page_burn_rate: float = 14.4
    page_window_s_long: float = 3600.0
    page_window_s_short: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseConfig:
    """How long a cause is looked for and how sure it must be."""

    retry_s: float = 10.0  # pause between two diagnoses of one incident
    deadline_s: float = 45.0  # after detection: name the best candidate or abstain
    confidence_at_once: float = 0.75
    confidence_stable: float = 0.5  # enough when two diagnoses in a row name the same entity
    confidence_late: float = 0.4  # enough at the deadline
    retry_s_abstained: float = 30.0
    retries_abstained_max: int = 8
    second_cause_after_s: float = 60.0  # a jump this long after the first may be another cause
    together_s: float = 90.0  # symptoms of other regions within this span share a diagnosis
    note_every_s: float = 30.0
    note_gap_s: float = 30.0  # scrapes missing for so long are a telemetry gap


@dataclass(frozen=True, slots=True, kw_only=True)
class ActConfig:
    """What the loop dares to propose."""

    confidence_min: float = 0.5
    change_before_s: float = 900.0  # a change this long before the onset can be its cause
    change_after_s: float = 15.0  # clocks of change feeds and scrapes differ
    scale_add_max: int = 3
    demand_quantile: float = 0.9
    cold_start_quantile: float = 0.8
    cold_start_s_default: float = 60.0  # until a start was observed
    shift_share_max: float = 1.0
    shift_share_min: float = 0.15
    admission_ratio_min: float = 0.4
    admission_ratio_max: float = 0.9
    admission_hold_s: float = 90.0  # a limit is lifted after this long, whatever happens
    shift_hold_s: float = 420.0  # traffic stays away at least this long
    # After it ended its requests still queue, run and stand in the windows of detection.
    shift_echo_s: float = 180.0
    retry_s: float = 30.0  # pause before refused proposals are made again
    watch_s: float = 60.0  # pause after an effective action: what is left may go by itself
    actions_max_per_incident: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """Limits that no proposal may break."""

    frozen: str = ""  # who or what has stopped every action of this fleet; empty = nobody
    dry_run: bool = False
    actions_max_per_hour: int = 20  # whole fleet
    actions_max_per_hour_target: int = 3
    cool_down_s: float = 120.0  # between two actions on one target
    concurrent_max: int = 3  # actions whose outcome is not known yet
    blast_ratio_max: float = 0.5  # ready instances of one service and region taken away at once
    stale_after_s: float = 45.0  # age of a scrape job's last good scrape
    frame_stale_after_s: float = 20.0  # age of the newest row


def _settle_s() -> Mapping[ActionKind, float]:
    return {
        ActionKind.RESTART_POD: 60.0,
        ActionKind.REPLACE_POD: 100.0,
        ActionKind.CORDON_DRAIN_NODE: 90.0,
        ActionKind.SHIFT_TRAFFIC: 45.0,
        ActionKind.SCALE_OUT: 90.0,
        ActionKind.LIMIT_ADMISSION: 45.0,
        ActionKind.ROLLBACK: 60.0,
        ActionKind.UNDO: 45.0,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeConfig:
    """How an action is judged."""

    settle_s: Mapping[ActionKind, float] = field(default_factory=_settle_s)
    wait_factor_max: float = 3.0  # settle times waited for an action that has not taken effect
    window_s: float = 30.0
    effective_factor: float = 0.5  # the bad share must fall to this part of what it was
    worse_rise_ratio: float = 0.15
    grown_after_s: float = 60.0  # a fault younger than this may still be growing
    z_min: float = 3.0
    mitigated_after_s: float = 30.0  # calm for so long
    resolved_after_s: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """All of it; `seed` feeds the diagnoser's random streams."""

    seed: int = 0
    detect: DetectConfig = field(default_factory=DetectConfig)
    diagnose: DiagnoseConfig = field(default_factory=DiagnoseConfig)
    act: ActConfig = field(default_factory=ActConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    outcome: OutcomeConfig = field(default_factory=OutcomeConfig)
