"""The shipped rules in Prometheus' own tester: they page in time, and for nothing else."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field

import pytest
import yaml

from ops.burn_rules import FleetName, rule_file
from ops.burn_rules.rules import ALERT
from ops.catalogue import Catalogue
from ops.openslo import Budgeting, BurnCondition, SloClass

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("promtool") is None,
        reason="promtool is not installed (Debian package 'prometheus')",
    ),
]
CATALOGUE = Catalogue.load()
FLEET = FleetName(namespace="shop", name="chat")
LABELS = 'namespace="shop",slo_class="chat"'
DAY_S = 86_400
QUIET = 120  # minutes before something happens
TTFT = "gen_ai_server_time_to_first_token_seconds"


@dataclass
class Series:
    """One counter in promtool's notation, a sample a minute."""

    name: str
    labels: str = ""
    parts: list = field(default_factory=list)
    at: float = 0.0

    def grow(self, per_minute, minutes):
        # "a+bxn" is n + 1 samples; every part begins one step after the last one.
        first = self.at + per_minute
        self.parts.append(f"{first:g}+{per_minute:g}x{minutes - 1}")
        self.at += per_minute * minutes
        return self

    def restart(self):
        self.at = 0.0
        return self

    def vanish(self, minutes):
        self.parts.append(f"_x{minutes}")
        return self

    def shown(self):
        labels = ",".join(
            filter(None, (LABELS, 'region="eu"' * ("region" not in self.labels), self.labels))
        )
        return {"series": f"{self.name}{{{labels}}}", "values": " ".join(self.parts)}


def requests(status="200", labels=""):
    told = ",".join(filter(None, (f'status="{status}"', labels)))
    return Series("http_requests_total", told)


def run(folder, slo, series, checks, windows="1h"):
    """`checks`: minute -> labels of the alerts of one name that fire then."""
    made = rule_file([slo], CATALOGUE, FLEET)
    (folder / "rules.yml").write_text(yaml.safe_dump(made), encoding="utf-8")
    checked = subprocess.run(
        ["promtool", "check", "rules", "rules.yml"], cwd=folder, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [one.shown() for one in series],
                "promql_expr_test": [
                    {
                        "expr": f'count by (region, window) (ALERTS{{alertname="{name}"'
                        f',alertstate="firing",window=~"|{windows}"}})',
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": one, "value": 1} for one in firing],
                    }
                    for name, minutes in checks.items()
                    for minute, firing in minutes.items()
                ],
            }
        ],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def page(window="1h", region="eu"):
    return f'{{region="{region}", window="{window}"}}'


def chat(**more):
    return SloClass(name="chat", **{"window_s": 30 * DAY_S, **more})


# Time to page = factor x (1 - SLO) / bad share x long window; one evaluation and scrape on top.
@pytest.mark.parametrize(
    ("target", "bad", "minutes"),
    [(0.999, 1.0, 0.9), (0.999, 0.05, 17.3), (0.99, 0.5, 17.3), (0.99, 0.2, 43.2)],
)
def test_it_pages_as_soon_as_the_table_says_and_not_sooner(tmp_path, target, bad, minutes):
    good = requests().grow(6000, QUIET).grow(6000 * (1 - bad), 60)
    failed = requests("503").grow(0, QUIET).grow(6000 * bad, 60)
    since = QUIET - 1  # the next sample is the first bad one
    before, after = int(since + minutes - 0.5), int(since + minutes + 2)
    run(
        tmp_path, chat(target_ratio=target), [good, failed],
        {ALERT: {before: [], after: [page()]}},
    )  # fmt: skip


def test_it_stops_soon_after_requests_are_good_again(tmp_path):
    good = requests().grow(6000, QUIET).grow(3000, 30).grow(6000, 30)
    failed = requests("503").grow(0, QUIET).grow(3000, 30).grow(0, 30)
    run(tmp_path, chat(), [good, failed], {ALERT: {QUIET + 29: [page()], QUIET + 37: []}})


def test_slow_answers_count_as_failed_ones_do(tmp_path):
    good = requests().grow(600, QUIET + 60)
    count = Series(f"{TTFT}_count").grow(600, QUIET + 60)
    within = Series(f"{TTFT}_bucket", 'le="2.0"').grow(600, QUIET).grow(300, 60)
    other = Series(f"{TTFT}_bucket", 'le="4.0"').grow(600, QUIET + 60)
    checks = {
        ALERT: {QUIET + 15: [], QUIET + 20: [page()]},
        "MidwatchSloBucketMissing": {QUIET + 30: []},
    }
    run(tmp_path, chat(ttft_s=2.0), [good, count, within, other], checks)


def test_a_limit_that_no_bucket_ends_at_is_told(tmp_path):
    count = Series(f"{TTFT}_count").grow(600, 60)
    within = Series(f"{TTFT}_bucket", 'le="4.0"').grow(0, 60)
    checks = {ALERT: {50: []}, "MidwatchSloBucketMissing": {50: ['{region="eu"}']}}
    run(tmp_path, chat(ttft_s=2.0), [requests().grow(600, 60), count, within], checks)


def test_regions_are_judged_apart(tmp_path):
    series = [
        requests(labels='region="us"').grow(600, QUIET + 60),
        requests().grow(600, QUIET).grow(0, 60),
        requests("503").grow(0, QUIET).grow(600, 60),
    ]
    run(tmp_path, chat(), series, {ALERT: {QUIET + 20: [page()]}})


def test_exporters_that_restart_vanish_or_never_were_burn_no_budget(tmp_path):
    good = requests().grow(600, QUIET).restart().grow(600, 30).vanish(30)
    failed = requests("503").grow(1, QUIET).restart().grow(1, 30).vanish(30)
    checks = {
        ALERT: {QUIET + m: [] for m in (1, 5, 20, 35, 50)},
        "MidwatchSloNoData": {QUIET + 20: [], QUIET + 50: ["{}"]},
    }
    run(tmp_path, chat(), [good, failed], checks)


def test_no_traffic_is_no_failure(tmp_path):
    good, failed = (
        requests().grow(600, QUIET).grow(0, 60),
        requests("503").grow(1, QUIET).grow(0, 60),
    )
    run(tmp_path, chat(), [good, failed], {ALERT: {QUIET + m: [] for m in (5, 30, 59)}})


def test_a_slow_burn_writes_a_ticket_and_pages_nobody(tmp_path):
    good, failed = requests().grow(9600, 2300), requests("503").grow(400, 2300)
    firing = {1: [], 700: [], 1590: [page("1d")], 2290: [page("1d"), page("3d")]}
    run(tmp_path, chat(), [good, failed], {ALERT: firing}, windows="1h|6h|1d|3d")


def test_a_short_trouble_right_after_the_start_fills_no_long_window(tmp_path):
    good, failed = (
        requests().grow(900, 60).grow(1000, 600),
        requests("503").grow(100, 60).grow(0, 600),
    )
    checks = {ALERT: {minute: [] for minute in (30, 59, 90, 300, 600)}}
    run(tmp_path, chat(), [good, failed], checks, windows="1h|6h|1d|3d")


@pytest.mark.parametrize(
    ("method", "firing"), [(Budgeting.TIMESLICES, [page("2h")]), (Budgeting.RATIO_TIMESLICES, [])]
)
def test_slices_count_time_and_not_requests(tmp_path, method, firing):
    # A fifth of the slices is bad, each by a tenth of its requests.
    good, failed = requests(), requests("503")
    for _ in range(40):
        good.grow(1000, 8).grow(900, 2)
        failed.grow(0, 8).grow(100, 2)
    slo = chat(
        target_ratio=0.95, budgeting=method, slice_s=120, slice_target_ratio=0.99,
        conditions=(BurnCondition(severity="page", threshold=2.0, lookback_s=7200),),
    )  # fmt: skip
    run(tmp_path, slo, [good, failed], {ALERT: dict.fromkeys((352, 362), firing)}, windows="2h")
