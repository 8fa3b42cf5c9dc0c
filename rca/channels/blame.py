"""Who adds the latency and the errors: exclusive time per service, gap per link, sibling contrast.

Exclusive latency of a service = what it takes per inbound call minus what it waits for its
callees. Link gap = what the caller sees minus what the callee reports. Both are summed into what
one user request suffers more than before, and every entity gets its share of that sum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from rca.channels.case import Case, Contrast, contrast, ratio
from rca.channels.explain import explained
from rca.channels.load import demand, rise_of
from rca.channels.parts import ERRORS, LATENCY, Part, beyond_noise
from rca.channels.red import LinkKey, Red, RedTree, entry_services, known
from rca.channels.silence import Silence
from rca.state import Entity, EntityKind, FloatArray

ERROR_FLOOR = 0.004  # share of calls; below it an error rate is noise


@dataclass(slots=True, kw_only=True)
class Blame:
    """Parts of the added latency and errors of the symptom's region.

    Attributes:
        parts: every positive contribution.
        share: entity -> explained share of the total, 0..1.
        on_path: services between the users and the leaves.
    """

    parts: list[Part] = field(default_factory=list)
    share: dict[Entity, float] = field(default_factory=dict)
    on_path: set[str] = field(default_factory=set)
    entries: list[str] = field(default_factory=list)


def blame(case: Case, tree: RedTree, silence: Silence, reasons: Mapping[Entity, float]) -> Blame:
    """Split what users suffer in the symptom's region over the entities of its call graph.

    Args:
        reasons: entity -> 0..1, how far its own speed or resources moved the bad way.
    """
    region = case.symptom.region
    out = Blame(entries=entry_services(case, tree, region))
    out.on_path = tree.reachable(region, out.entries) or {s for r, s in tree.services()}
    sent = tree.entry_requests.get(region)
    users = float(sent[-1]) if sent is not None and np.isfinite(sent[-1]) else 0.0
    if users <= 0.0:
        users = 1.0
    for service in sorted(out.on_path):
        for what in (LATENCY, ERRORS):
            out.parts += _service_parts(case, tree, (region, service), what, users)
    for key in sorted(tree.sent):
        if key[0] == region and key[1] in out.on_path and key in tree.received:
            out.parts += _link_parts(tree, key, users)
    asked = demand(case, region)
    out.parts = explained(
        case, tree, silence, out.parts, entries=out.entries, asked=asked, reasons=reasons
    )
    out.parts += _node_parts(case, out.parts)
    out.share = _shares(case, tree, out.parts)
    if rise_of(asked) <= 0.0:
        # Queues of work that users may send at any time are nobody's fault.
        out.share.pop(Entity(EntityKind.WORKLOAD, region), None)
    return out


def own_time(inbound: Red, sent: dict[str, Red], what: str) -> FloatArray:
    """Exclusive seconds or errors per inbound call, shape [B + 1].

    A callee that is waited for longer than the whole call takes runs in the background: it is
    left out, as is the first of two parallel calls beyond the total.
    """
    if what == ERRORS:
        own = inbound.errors
        for red in sent.values():
            own = own - red.errors
        return np.maximum(ratio(own, inbound.calls), 0.0)
    own = inbound.total_s
    budget = np.nansum(inbound.total_s[:-1])
    waits = sorted((float(r.wait_s[:-1].sum()), c) for c, r in sent.items())
    for waited, callee in waits:
        if waited <= 1.05 * budget:
            own = own - sent[callee].wait_s
    return ratio(own, inbound.count)


def _service_parts(
    case: Case, tree: RedTree, key: tuple[str, str], what: str, users: float
) -> list[Part]:
    region, service = key
    inbound = tree.inbound.get(key)
    if inbound is None:
        return []
    sent = {
        callee: tree.sent[(region, service, callee)]
        for callee in tree.callees.get(key, ())
        if (region, service, callee) in tree.sent
    }
    whole = _own_contrast(inbound, sent, what)
    pods = [p for p in case.pods_of(region, service) if p in tree.pod_inbound]
    entity = Entity(EntityKind.SERVICE, region, service)
    calls = float(known(inbound.calls)[-1])
    if len(pods) < 2:
        added = beyond_noise(whole) * calls / users
        found = [Part(entity=entity, what=what, added=added, stat=whole)] if added > 0 else []
        if found and pods:
            only = Entity(EntityKind.POD, region, pods[0])
            found.append(Part(entity=only, what=what, added=0.7 * added, stat=whole))
        return found
    stats, weights = {}, {}
    for pod in pods:
        red = tree.pod_inbound[pod]
        stat = _own_contrast(red, tree.pod_sent.get(pod, {}), what)
        if not np.isfinite(stat.before):
            # A pod younger than the normal rows is measured against its service.
            stat = Contrast(before=whole.before, after=stat.after, spread=whole.spread)
        if np.isfinite(stat.shift):
            stats[pod] = stat
            weights[pod] = float(known(red.calls)[-1])
    stats, found = _apart_new_revision(case, entity, what, stats, weights, users)
    shifts = sorted(beyond_noise(stat) for stat in stats.values())
    shared = shifts[(len(shifts) - 1) // 2] if len(shifts) >= 2 else 0.0
    added = min(shared * calls / users, np.inf)
    if added > 0.0:
        found.append(Part(entity=entity, what=what, added=added, stat=whole))
    for pod, stat in sorted(stats.items()):
        extra = (beyond_noise(stat) - shared) * weights[pod] / users
        if extra > 0.0:
            pod_entity = Entity(EntityKind.POD, region, pod)
            found.append(Part(entity=pod_entity, what=what, added=extra, stat=stat))
    return found


def _apart_new_revision(
    case: Case,
    entity: Entity,
    what: str,
    stats: dict[str, Contrast],
    weights: dict[str, float],
    users: float,
) -> tuple[dict[str, Contrast], list[Part]]:
    """Pods of the old revision, and what those of the new one add, which is their service's.

    While a roll-out is under way pods differ by what they run: old ones are no siblings of new
    ones.
    """
    new = sorted(set(stats) & case.young)
    found = []
    for pod in new:
        added = beyond_noise(stats[pod]) * weights[pod] / users
        if added > 0.0:
            found.append(Part(entity=entity, what=what, added=added, stat=stats[pod]))
    return {pod: stat for pod, stat in stats.items() if pod not in case.young}, found


def _own_contrast(inbound: Red, sent: dict[str, Red], what: str) -> Contrast:
    values = own_time(inbound, sent, what)
    if what == ERRORS:
        return contrast(values, floor=ERROR_FLOOR)
    mean = ratio(inbound.total_s, inbound.count)[:-1]
    level = float(np.nanmedian(mean)) if np.isfinite(mean).any() else 0.0
    # Waits for first tokens are means over other requests than these: their difference has the
    # error of such a mean, whose times spread about as widely as they are long.
    calls = max(float(known(inbound.count)[-1]), 1.0)
    guessed = sum(
        float(known(red.waited_s)[-1]) for red in sent.values() if red.waited_s is not None
    )
    stat = contrast(values, floor=max(0.05 * level, guessed / calls / np.sqrt(calls)))
    # Waits that overlap, or that began in an earlier window, may exceed the whole. That belongs
    # to the noise of earlier windows; the time itself is small, never negative.
    return replace(stat, before=max(stat.before, 0.0), after=max(stat.after, 0.0))


def _link_parts(tree: RedTree, key: LinkKey, users: float) -> list[Part]:
    sent, received = tree.sent[key], tree.received[key]
    entity = Entity(EntityKind.LINK, key[0], f"{key[1]}->{key[2]}")
    calls = float(known(sent.calls)[-1])
    seen = ratio(sent.total_s, sent.count)
    gap = contrast(
        seen - ratio(received.total_s, received.count),
        floor=0.05 * float(np.nan_to_num(np.nanmedian(seen[:-1]) if seen[:-1].size else 0.0)),
    )
    lost = np.maximum(sent.errors, sent.lost) - received.errors
    failures = contrast(np.maximum(ratio(lost, sent.calls), 0.0), floor=ERROR_FLOOR)
    found = []
    for what, stat in ((LATENCY, gap), (ERRORS, failures)):
        added = beyond_noise(stat) * calls / users
        if added > 0.0:
            found.append(Part(entity=entity, what=what, added=added, stat=stat))
    return found


def _node_parts(case: Case, parts: list[Part]) -> list[Part]:
    """A node answers for its pods when at least two services on it, half of its pods, are off."""
    by_node: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for pod, (region, service, node) in case.pod_place.items():
        if node and pod in case.live:
            by_node[(region, node)][service].add(pod)
    out = []
    for (region, node), services in sorted(by_node.items()):
        pods = set().union(*services.values())
        for what in (LATENCY, ERRORS):
            hit = [
                p
                for p in parts
                if p.entity.kind is EntityKind.POD and p.entity.name in pods and p.what == what
            ]
            names = {p.entity.name for p in hit}
            owners = {case.pod_place[name][1] for name in names}
            if len(owners) >= 2 and 2 * len(names) >= len(pods):
                worst = max(hit, key=lambda p: (p.added, str(p.entity)))
                entity = Entity(EntityKind.NODE, region, node)
                added = sum(p.added for p in hit)
                out.append(Part(entity=entity, what=what, added=added, stat=worst.stat))
    return out


def _shares(case: Case, tree: RedTree, parts: list[Part]) -> dict[Entity, float]:
    """Explained share per entity: of latency or errors, whichever it explains more."""
    usual_s = tree.entry_latency_s.get(case.symptom.region, 0.0)
    shares: dict[Entity, float] = defaultdict(float)
    # Errors are users' errors only in part: tolerated and retried ones are in the sum as well.
    weight = {LATENCY: 1.0, ERRORS: 0.8}
    if case.symptom.reason == ERRORS:
        weight = {LATENCY: 0.7, ERRORS: 1.0}
    for what in (LATENCY, ERRORS):
        mine = [p for p in parts if p.what == what]
        # Nodes repeat what their pods add.
        total = sum(p.added for p in mine if p.entity.kind is not EntityKind.NODE)
        if total <= 0.0:
            continue
        # A split of next to nothing accuses nobody.
        real = min(1.0, total / (0.1 * usual_s)) if what == LATENCY and usual_s > 0.0 else 1.0
        if what == ERRORS:
            real = min(1.0, total / 0.01)
        by_entity: dict[Entity, float] = defaultdict(float)
        for part in mine:
            by_entity[part.entity] += part.added
        for entity, added in by_entity.items():
            shares[entity] = max(shares[entity], min(1.0, weight[what] * real * added / total))
    return dict(shares)
