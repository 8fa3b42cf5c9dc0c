"""Recording and alerting rules of a fleet's classes, as a rule file and as a PrometheusRule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ops.burn_rules.expressions import Queries
from ops.burn_rules.tiers import Tier, tiers_of, windows_of
from ops.catalogue import Catalogue
from ops.encode import promql_text
from ops.openslo import Budgeting, SloClass
from ops.openslo.queries import TPOT, TTFT
from ops.openslo.values import duration_text

BASE_S = 300  # of the rates that long windows are averaged from
RAW_S_MAX = 3600  # windows up to this are rates of the counters themselves: averages come late
ALERT = "MidwatchSloBurn"
_QUIET_FOR = "10m"  # nothing to count for so long is told
_SEEN_S = 3600  # requests must be known about half a long window ago, within so much

Rule = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetName:
    """Which Fleet the rules belong to; the webhook finds it by these labels."""

    namespace: str
    name: str


def rule_file(
    classes: Sequence[SloClass], catalogue: Catalogue, fleet: FleetName, *,
    names: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """A file for Prometheus' `rule_files`: one group per class.

    Args:
        names: stored names that are live; none = every spelling of the catalogue.

    Raises:
        SloError: a window is too short for burn rates.
    """
    return {
        "groups": [
            {
                "name": f"midwatch-slo-{fleet.namespace}-{fleet.name}-{slo.name}",
                "rules": _rules(slo, catalogue, fleet, names),
            }
            for slo in classes
        ]
    }


def rule_object(
    classes: Sequence[SloClass], catalogue: Catalogue, fleet: FleetName, *,
    names: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """The same as an object for the Prometheus Operator, in the fleet's namespace.

    Raises:
        SloError: a window is too short for burn rates.
    """
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": f"midwatch-slo-{fleet.name}",
            "namespace": fleet.namespace,
            "labels": {"app.kubernetes.io/name": "midwatch", "midwatch.dev/fleet": fleet.name},
        },
        "spec": rule_file(classes, catalogue, fleet, names=names),
    }


def _rules(
    slo: SloClass, catalogue: Catalogue, fleet: FleetName, names: Sequence[str]
) -> list[Rule]:
    labels = {"namespace": fleet.namespace, "fleet": fleet.name, "slo_class": slo.name}
    matchers = {"namespace": fleet.namespace, "slo_class": slo.name}
    chosen = ",".join(f"{label}={promql_text(value)}" for label, value in labels.items())
    tiers = tiers_of(slo)
    windows = windows_of(tiers)
    if slo.budgeting is Budgeting.OCCURRENCES:
        ranges_s = sorted({BASE_S, *(w for w in windows if w <= RAW_S_MAX)})
    else:
        ranges_s = [slo.slice_s]
    recorded: list[Rule] = []
    for range_s in ranges_s:
        text = duration_text(range_s)
        queries = Queries(catalogue, matchers, range_text=text, names=names)
        recorded += _counts(slo, queries, text, chosen)
    recorded += _ratios(slo, windows, ranges_s, chosen)
    budget = _number(1.0 - slo.target_ratio)
    recorded.append({"record": "midwatch:slo_budget:ratio", "expr": f"vector({budget})"})
    rules: list[Rule] = [{**rule, "labels": labels} for rule in recorded]
    base = duration_text(ranges_s[0])
    rules += [_alert(slo, tier, fleet, chosen, labels, base) for tier in tiers]
    queries = Queries(catalogue, matchers, range_text=base, names=names)
    return rules + list(_doubts(slo, queries, base, fleet, chosen))


def _counts(slo: SloClass, queries: Queries, text: str, chosen: str) -> Iterator[Rule]:
    """Requests and bad ones per second: failed, plus those over a limit, at most all of them."""

    def record(what: str, expr: str) -> Rule:
        return {"record": f"midwatch:slo_{what}:rate{text}", "expr": expr}

    def known(what: str) -> str:
        return f"midwatch:slo_{what}:rate{text}{{{chosen}}}"

    limits = (("ttft", TTFT, slo.ttft_s), ("tpot", TPOT, slo.tpot_s))
    over = [(what, role, limit_s) for what, role, limit_s in limits if limit_s is not None]
    total = [f"({queries.requests()})"]
    if slo.ttft_s is not None:  # a first token is seen long before its request ends
        total.append(f"({queries.seen(TTFT)})")
    yield record("requests", _largest(total))
    yield record("failed", queries.failed())
    for what, role, limit_s in over:
        yield record(f"{what}_over", queries.over(role, limit_s))
    requests, bad = known("requests"), f"({known('failed')} or 0 * {known('requests')})"
    if over:
        late = _largest([f"clamp_min({known(f'{what}_over')}, 0)" for what, _, _ in over])
        bad += f"\n+ on (region) ({late}\nor on (region) 0 * {requests})"
    yield record("bad", f"min by (region) (\nlabel_replace({bad}, \"of\", \"bad\", \"\", \"\")\n"
                 f"or {requests}\n)")  # fmt: skip


def _largest(parts: Sequence[str]) -> str:
    """Per region the largest of some vectors, of which any may be empty."""
    if len(parts) == 1:
        return f"max by (region) ({parts[0]})"
    marked = [f'label_replace({part}, "of", "{k}", "", "")' for k, part in enumerate(parts)]
    return "max by (region) (\n" + "\nor ".join(marked) + "\n)"


def _ratios(
    slo: SloClass, windows: Sequence[int], ranges_s: Sequence[int], chosen: str
) -> Iterator[Rule]:
    """Share of bad requests, or of bad slices, over each window."""

    def share(range_s: int) -> str:
        bad, total = (
            f"midwatch:slo_{what}:rate{duration_text(range_s)}{{{chosen}}}"
            for what in ("bad", "requests")
        )
        return f"{bad}\n/ ({total} > 0)"

    base_s = ranges_s[0]
    sliced = f"midwatch:slo_slice_error:ratio{duration_text(base_s)}"
    if slo.budgeting is not Budgeting.OCCURRENCES:
        expr = share(base_s)
        if slo.budgeting is Budgeting.TIMESLICES:
            expr = f"({expr}) > bool {_number(1.0 - slo.slice_target_ratio)}"
        yield {"record": sliced, "expr": expr}
    for window_s in windows:
        window = duration_text(window_s)
        if slo.budgeting is not Budgeting.OCCURRENCES:
            expr = f"avg_over_time({sliced}{{{chosen}}}[{window}])"
        elif window_s in ranges_s:
            expr = share(window_s)
        else:
            # Both averaged apart: busy minutes weigh more, as single requests do.
            bad, total = (
                f"avg_over_time(midwatch:slo_{what}:rate{duration_text(base_s)}{{{chosen}}}"
                f"[{window}])"
                for what in ("bad", "requests")
            )
            expr = f"{bad}\n/ ({total} > 0)"
        yield {"record": f"midwatch:slo_error:ratio{window}", "expr": expr}


def _alert(
    slo: SloClass, tier: Tier, fleet: FleetName, chosen: str, labels: dict[str, str], base: str
) -> Rule:
    long, short = duration_text(tier.long_s), duration_text(tier.short_s)
    threshold = _number(tier.ratio)
    expr = (
        f"midwatch:slo_error:ratio{long}{{{chosen}}} > {threshold}\n"
        f"and midwatch:slo_error:ratio{short}{{{chosen}}} > {threshold}"
    )
    if tier.long_s > RAW_S_MAX:
        # In its first hours a server holds no days: a short trouble would fill the whole window.
        seen = f"midwatch:slo_requests:rate{base}{{{chosen}}}[{duration_text(_SEEN_S)}]"
        expr += f"\nand last_over_time({seen} offset {duration_text(tier.long_s // 2)})"
    rule: Rule = {
        "alert": ALERT,
        "expr": expr,
        "labels": {**labels, "severity": tier.severity, "window": long},
        "annotations": {
            "summary": f"{slo.name} in region {{{{ $labels.region }}}}: "
            f"{{{{ $value | humanizePercentage }}}} of requests bad over {long}",
            "description": f"The budget of {slo.target_ratio:.4%} good requests in "
            f"{duration_text(slo.window_s)} burns more than {tier.factor:.3g} times as fast as "
            f"it may, over {long} and still over {short}. What midwatch knows: "
            f"kubectl midwatch status {fleet.name} -n {fleet.namespace}",
        },
    }
    if tier.for_s:
        rule["for"] = duration_text(tier.for_s)
    return rule


def _doubts(
    slo: SloClass, queries: Queries, base: str, fleet: FleetName, chosen: str
) -> Iterator[Rule]:
    """Alerts on what cannot be counted. Without the label namespace, so that no Incident opens."""
    labels = {"slo_namespace": fleet.namespace, "slo_fleet": fleet.name, "slo_class": slo.name}
    yield {
        "alert": "MidwatchSloNoData",
        "expr": f"absent(midwatch:slo_requests:rate{base}{{{chosen}}})",
        "for": _QUIET_FOR,
        "labels": {**labels, "severity": "warning"},
        "annotations": {
            "summary": f"no requests of class {slo.name} are counted",
            "description": f"No series of users' requests with slo_class={slo.name} was scraped "
            f"in namespace {fleet.namespace}: burn rates say nothing. Look at the frontend's "
            "scrape targets and at the label slo_class.",
        },
    }
    for role, limit_s, field in (
        (TTFT, slo.ttft_s, "ttftSeconds"),
        (TPOT, slo.tpot_s, "tpotSeconds"),
    ):
        if limit_s is None:
            continue
        yield {
            "alert": "MidwatchSloBucketMissing",
            "expr": f"({queries.seen(role)})\nunless on (region) ({queries.bucket(role, limit_s)})",
            "for": _QUIET_FOR,
            "labels": {**labels, "severity": "info", "limit": field},
            "annotations": {
                "summary": f"no histogram bucket ends at {limit_s:g} s",
                "description": f"Requests of class {slo.name} over {limit_s:g} s cannot be "
                f"counted by rules. Set {field} to a bound of the histogram; its buckets are "
                "those of the label le.",
            },
        }


def _number(value: float) -> str:
    return f"{value:.9g}"
