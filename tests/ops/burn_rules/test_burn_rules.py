"""Burn-rate rules: the table scaled to a window, the queries, the two forms of output."""

from __future__ import annotations

import pytest

from ops.burn_rules import FleetName, rule_file, rule_object
from ops.burn_rules.tiers import tiers_of, windows_of
from ops.catalogue import Catalogue
from ops.errors import SloError
from ops.openslo import BurnCondition, SloClass

CATALOGUE = Catalogue.load()
FLEET = FleetName(namespace="shop", name="chat")
DAY_S = 86_400


@pytest.mark.parametrize(
    ("days", "factors"),
    [
        (30, [14.4, 6.0, 3.0, 1.0]),
        (28, [13.44, 5.6, 2.8, 0.9333]),
        (7, [3.36, 1.4]),  # a ticket after a day would call for a budget that lasts
        (90, [43.2, 18.0, 9.0, 3.0]),
    ],
)
def test_factors_follow_the_window(days, factors):
    tiers = tiers_of(SloClass(name="a", target_ratio=0.999, window_s=days * DAY_S))
    assert [tier.factor for tier in tiers] == pytest.approx(factors, rel=1e-3)
    assert [tier.ratio for tier in tiers] == pytest.approx([0.001 * f for f in factors], rel=1e-3)
    assert windows_of(tiers)[0] == 300


def test_a_window_too_short_for_any_tier_is_refused():
    with pytest.raises(SloError, match=r"class a: its window is 12h, too short .* at least 2d"):
        tiers_of(SloClass(name="a", window_s=43_200))


def test_a_total_outage_pages_whatever_the_target():
    first, *_ = tiers_of(SloClass(name="a", target_ratio=0.9, window_s=30 * DAY_S))
    assert first.ratio == 0.9


def test_conditions_of_the_file_replace_the_table():
    condition = BurnCondition(severity="page", threshold=2.0, lookback_s=3600, after_s=120)
    (tier,) = tiers_of(SloClass(name="a", conditions=(condition,)))
    assert (tier.severity, tier.long_s, tier.short_s, tier.for_s) == ("page", 3600, 300, 120)
    assert tier.ratio == pytest.approx(0.02)


def rules(slo, **more):
    return rule_file([slo], CATALOGUE, FLEET, **more)["groups"][0]["rules"]


def test_alerts_carry_what_the_webhook_needs_and_doubts_do_not():
    made = rules(SloClass(name="chat", ttft_s=2.0))
    burns = [one for one in made if one.get("alert") == "MidwatchSloBurn"]
    assert len(burns) == 4
    for one in burns:
        assert {"namespace", "fleet", "slo_class", "severity"} <= set(one["labels"])
        assert "by (region)" not in one["expr"]  # recorded series keep the region
    doubts = [one for one in made if "alert" in one and one not in burns]
    assert {one["alert"] for one in doubts} == {"MidwatchSloNoData", "MidwatchSloBucketMissing"}
    assert not any("namespace" in one["labels"] for one in doubts)


def test_every_spelling_is_looked_for_unless_the_live_one_is_told():
    first = rules(SloClass(name="chat"))[0]["expr"]
    for name in ("http_requests_total", "dynamo_frontend_requests_total"):
        assert name in first
    live = ["http_requests_total", "gen_ai.server.time_to_first_token_seconds_count"]
    told = rules(SloClass(name="chat", ttft_s=2.5), names=live)
    assert "dynamo" not in told[0]["expr"]
    over = next(one for one in told if one.get("record", "").startswith("midwatch:slo_ttft_over"))
    assert '{__name__="gen_ai.server.time_to_first_token_seconds_bucket",' in over["expr"]
    assert 'le=~"2\\\\.5"' in over["expr"]


def test_hostile_names_stay_between_their_quotes():
    fleet = FleetName(namespace='a"} or {x="', name="b\\")
    made = rule_file([SloClass(name="c")], CATALOGUE, fleet)
    assert 'namespace="a\\"} or {x=\\""' in made["groups"][0]["rules"][0]["expr"]


def test_the_object_holds_the_same_groups():
    classes = [SloClass(name="chat"), SloClass(name="batch")]
    made = rule_object(classes, CATALOGUE, FLEET)
    assert made["spec"] == rule_file(classes, CATALOGUE, FLEET)
    assert made["metadata"]["namespace"] == "shop"
    assert [group["name"] for group in made["spec"]["groups"]] == [
        "midwatch-slo-shop-chat-chat", "midwatch-slo-shop-chat-batch",
    ]  # fmt: skip
