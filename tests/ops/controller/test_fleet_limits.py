"""From a Fleet to the loop's limits."""

from __future__ import annotations

from dataclasses import replace

from ops.controller.fleet.limits import bounded, loop_config, slo_targets
from ops.controller.resources.fleet import BudgetSpec, FleetSpec, Mode, SloSpec
from ops.state import ServiceRecord


def test_nothing_is_carried_out_whatever_the_mode():
    for mode in Mode:
        assert loop_config(FleetSpec(mode=mode), scrape_s=5.0).guard.dry_run


def test_budgets_and_freeze_reach_the_guard():
    spec = FleetSpec(
        budgets=BudgetSpec(actions_per_hour=1, cool_down_seconds=9.0, blast_ratio=0.25),
        frozen=True,
    )
    guard = loop_config(spec, scrape_s=5.0).guard
    assert (guard.actions_max_per_hour, guard.cool_down_s, guard.blast_ratio_max) == (1, 9.0, 0.25)
    assert guard.frozen == "spec.frozen is true"
    told = replace(spec, freeze_reason="release night")
    assert loop_config(told, scrape_s=5.0).guard.frozen == "release night"
    assert loop_config(FleetSpec(), scrape_s=5.0).guard.frozen == ""


def test_rare_scrapes_are_not_stale_by_nature():
    usual, rare = (loop_config(FleetSpec(), scrape_s=s) for s in (5.0, 30.0))
    assert rare.guard.frame_stale_after_s > 2 * 30.0
    assert rare.diagnose.note_gap_s == 6 * usual.diagnose.note_gap_s
    assert loop_config(FleetSpec(), scrape_s=1.0).guard == usual.guard


def test_slos_keep_their_names_and_limits():
    spec = FleetSpec(slos=[SloSpec(name="chat", target=0.95, ttft_seconds=1.5, tpot_seconds=0.1)])
    (slo,) = slo_targets(spec)
    assert (slo.name, slo.target_ratio, slo.ttft_s, slo.tpot_s) == ("chat", 0.95, 1.5, 0.1)


def test_scaling_has_room_only_where_the_fleet_gives_it_one_count_a_deployment():
    east, west = (
        ServiceRecord(
            region=region, service="llm", replicas=own, ready_replicas=own, revision="3",
            replicas_elsewhere=other,
        )
        for region, own, other in (("east", 2, 3), ("west", 3, 2))
    )  # fmt: skip
    assert [s.replicas_max for s in bounded((east, west), 0)] == [0, 0]
    assert [s.replicas_max for s in bounded((east, west), 8)] == [5, 6]
    assert [s.replicas_max for s in bounded((east, west), 2)] == [0, 0]
    (of_a_set,) = bounded((replace(east, revision=""),), 8)
    assert of_a_set.replicas_max == 0
