"""Explaining away: gives what was measured at one place to whoever made it, by mechanism.

Silence of a pod loads its siblings. Late callees make their callers time out. Repeated calls make
a callee slow. More demand makes everybody wait.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from rca.channels.case import Case, contrast, ratio, service_of
from rca.channels.load import Demand, amplification, rise_of
from rca.channels.parts import ERRORS, LATENCY, Part, to_owners
from rca.channels.red import LinkKey, RedTree, known, lost_in_time
from rca.channels.silence import Silence
from rca.channels.speed import engine_services
from rca.state import Entity, EntityKind

SLOW_Z, SLOW_FACTOR = 4.0, 3.0  # when a callee counts as slow enough to cause timeouts
MISSING_RATIO = 0.1  # share of calls without an answer from which the callee's own view lacks
COVERED_RATIO = 0.7  # of the caller's wait that the callee must own up to, where it answers all
LATE_Z = 2.0  # of one pod's missing answers beyond its siblings' share
SHARED_MIN = 0.15  # evidence on all pods of a service from which it is a cause that they share
SILENCE_TAKES = 0.7  # of what a rise of demand explains, where a pod is silent
REASON_FULL = 0.5  # own evidence from which an engine keeps all of its longer calls
LOAD_FREE, LOAD_FULL = 1.15, 2.15  # factors on the calls of a callee: explains nothing, all

Owners = dict[Entity, float]


def explained(
    case: Case, tree: RedTree, silence: Silence, parts: list[Part], *, entries: list[str],
    asked: Demand, reasons: Mapping[Entity, float],
) -> list[Part]:  # fmt: skip
    """Parts with every consequence given to its cause, as far as the numbers tell.

    Args:
        reasons: entity -> 0..1, how far its own speed or resources moved the bad way.
    """
    links = [p for p in parts if p.entity.kind is EntityKind.LINK]
    rest = [p for p in parts if p.entity.kind is not EntityKind.LINK]
    out = _of_siblings(case, silence, rest)
    depth = tree.depths(case.symptom.region, entries)
    owners: dict[LinkKey, Owners] = {}
    # The deepest calls first: a caller waits for what its callees already waited for.
    for part in sorted(links, key=lambda p: (-depth.get(_ends(p)[2], 0), str(p.entity), p.what)):
        key = _ends(part)
        targets = _owners_of_link(case, tree, silence, part, out, links)
        if part.what == ERRORS:
            owners[key] = targets
        out += to_owners(part, targets)
    silent = set(silence.owner.values())
    kept = [p for p in out if p.entity in silent]
    rest = _of_shared_causes(case, [p for p in out if p.entity not in silent], reasons)
    rest = _of_queues(case, rest, reasons)
    # Work that piles up behind a silent pod looks like demand.
    users = rise_of(asked) * (1.0 - SILENCE_TAKES * max(silence.fell.values(), default=0.0))
    return kept + _of_load(case, tree, rest, owners, users)


def _of_shared_causes(
    case: Case, parts: list[Part], reasons: Mapping[Entity, float]
) -> list[Part]:  # fmt: skip
    """Give what single pods add to their service, as far as all its pods moved together.

    Under one cause that they share, chance decides which pod's queue fills first.
    """
    out: list[Part] = []
    for part in parts:
        owner = Entity(EntityKind.SERVICE, part.entity.region, service_of(case, part.entity))
        shared, own = reasons.get(owner, 0.0), reasons.get(part.entity, 0.0)
        if part.entity.kind is not EntityKind.POD or shared < SHARED_MIN:
            out.append(part)
            continue
        weight = shared / (shared + own)
        out += to_owners(part, {owner: weight, part.entity: 1.0 - weight})
    return out


def _of_queues(case: Case, parts: list[Part], reasons: Mapping[Entity, float]) -> list[Part]:
    """Give the longer calls of engines at their usual speed to the work that they were sent.

    How long an engine's call takes depends on its length and on its queue; only time per token
    at a given batch, or a resource of its own, tells of the engine.
    """
    workload = Entity(EntityKind.WORKLOAD, case.symptom.region)
    engines = engine_services(case)
    out: list[Part] = []
    for part in parts:
        service = service_of(case, part.entity)
        owner = Entity(EntityKind.SERVICE, part.entity.region, service)
        own = part.entity.kind in (EntityKind.SERVICE, EntityKind.POD)
        if part.what != LATENCY or not own or (part.entity.region, service) not in engines:
            out.append(part)
            continue
        known_reason = max(reasons.get(part.entity, 0.0), reasons.get(owner, 0.0))
        stays = min(1.0, known_reason / REASON_FULL)
        out += to_owners(part, {part.entity: stays, workload: 1.0 - stays})
    return out


def _ends(part: Part) -> LinkKey:
    caller, _, callee = part.entity.name.partition("->")
    return part.entity.region, caller, callee


def _of_siblings(case: Case, silence: Silence, parts: list[Part]) -> list[Part]:
    """Give what silent pods and their overloaded siblings add to the owner of the silence."""
    out: list[Part] = []
    for part in parts:
        service = service_of(case, part.entity)
        silent = silence.of_service(case, part.entity.region, service) if service else []
        out += to_owners(part, silence.owners(silent) if silent else {part.entity: 1.0})
    return out


def _owners_of_link(
    case: Case, tree: RedTree, silence: Silence, part: Part, found: list[Part], links: list[Part]
) -> Owners:
    """To whom it belongs that callers lose or wait more on a link than the callee reports."""
    region, _, callee = key = _ends(part)
    silent = silence.of_service(case, region, callee)
    answered = _all_answered(tree, key)
    if silent and not answered:
        return silence.owners(silent)
    late = _makers_of_lateness(case, tree, key, found)
    in_time = lost_in_time(tree.sent[key], tree.received[key])
    if late:
        lost = in_time if part.what == ERRORS else 0.0
        late = {entity: (1.0 - lost) * weight for entity, weight in late.items()}
        return late | {part.entity: late.get(part.entity, 0.0) + lost}
    owner = Entity(EntityKind.SERVICE, region, callee)
    fresh = case.young & set(case.pods_of(region, callee))
    if fresh and any(p.entity == owner for p in found):
        # A new revision that fails by its own account also loses calls before it counts them.
        return {owner: 1.0}
    # Callers that no longer send to a pod after its failures make it look like one that owes
    # answers. What was answered in time and did not arrive no pod has kept.
    pods = {} if answered else _late_pods(case, tree, key)
    pods = {entity: (1.0 - in_time) * weight for entity, weight in pods.items()}
    if any(pods.values()):
        left = 1.0 - sum(pods.values())
        return pods | {part.entity: left}
    callers = sum(1 for c in tree.callers.get((region, callee), ()) if c)
    off = sum(1 for p in links if _ends(p)[2] == callee and p.what == part.what)
    if callers >= 2 and off == callers:
        return {owner: 1.0}
    return {part.entity: 1.0}


def _all_answered(tree: RedTree, key: LinkKey) -> bool:
    """Whether the callee answered what its caller gave up on: then nobody's silence lost it."""
    sent, received = tree.sent[key], tree.received[key]
    missing = float(known(sent.count)[-1] - known(received.count)[-1])
    return bool(missing < MISSING_RATIO * sent.lost[-1])


def _makers_of_lateness(case: Case, tree: RedTree, key: LinkKey, found: list[Part]) -> Owners:
    """Who makes a callee late by its own account, as shares; empty where it is not late.

    The callee must account for most of the caller's wait: by the calls that it answered and by
    those that it still owes; or it answered none and lost its own calls.
    """
    region, _, callee = key
    sent, received, inbound = tree.sent[key], tree.received[key], tree.inbound[key[0], key[2]]
    stat = contrast(ratio(inbound.total_s, inbound.count), floor_ratio=0.1)
    answered = float(known(received.count)[-1])
    missing = 1.0 - answered / max(float(known(sent.count)[-1]), 1e-9)
    waited = float(known(sent.total_s)[-1])
    if answered > 0.0:
        if stat.z < SLOW_Z or stat.after < SLOW_FACTOR * stat.before:
            return {}
        # What is not answered yet may all be the callee's; what is answered it accounts for.
        covered = float(known(received.total_s)[-1]) + max(missing, 0.0) * waited
        if covered < COVERED_RATIO * waited:
            return {}
    below = tree.reachable(region, [callee])
    if answered <= 0.0 and callee in below:
        # A callee that answers nothing while its own calls succeed does not wait for them.
        below = {c for c in below if _loses_calls(tree, region, c)}
    mine = {
        p.entity: p.added
        for p in found
        if p.what == LATENCY and service_of(case, p.entity) in below
    }  # fmt: skip
    total = sum(mine.values())
    return {entity: added / total for entity, added in mine.items()} if total > 0.0 else {}


def _loses_calls(tree: RedTree, region: str, caller: str) -> bool:
    for callee in tree.callees.get((region, caller), ()):
        sent = tree.sent.get((region, caller, callee))
        if sent is not None and 2.0 * sent.lost[-1] > sent.calls[-1] > 0.0:
            return True
    return False


def _late_pods(case: Case, tree: RedTree, key: LinkKey) -> Owners:
    """Pods that owe more answers to a caller than their siblings do, as shares of all owed.

    Calls lost on the way are lost for every pod of the callee alike; calls that one pod keeps
    are missing in its own count only.
    """
    region, _, callee = key
    calls = float(known(tree.sent[key].count)[-1])
    if len(tree.callers.get((region, callee), ())) != 1:
        return {}
    pods = [
        p for p in case.pods_of(region, callee) if p in tree.pod_inbound and p in case.live
    ]  # fmt: skip
    usual = {p: float(np.nansum(tree.pod_inbound[p].count[:-1])) for p in pods}
    total = sum(usual.values())
    if len(pods) < 2 or total <= 0.0 or calls <= 0.0:
        return {}
    wanted = {p: calls * usual[p] / total for p in pods}
    owed = {p: wanted[p] - float(known(tree.pod_inbound[p].count)[-1]) for p in pods}
    missing = max(sum(owed.values()), 1e-9)
    shares = sorted(owed[p] / wanted[p] for p in pods if wanted[p] > 0.0)
    shared = max(shares[(len(shares) - 1) // 2], 0.0)
    out: Owners = {}
    for pod in pods:
        extra = owed[pod] - shared * wanted[pod]
        if extra > LATE_Z * np.sqrt(max(wanted[pod], 1.0)):
            out[Entity(EntityKind.POD, region, pod)] = extra / missing
    whole = sum(out.values())
    return {e: v / whole for e, v in out.items()} if whole > 1.0 else out


def _of_load(
    case: Case, tree: RedTree, parts: list[Part], owners: dict[LinkKey, Owners], users: float
) -> list[Part]:
    """Give the waiting that more calls bring about to whoever sends more calls.

    Args:
        users: 0..1, how far users ask for more.
    """
    workload = Entity(EntityKind.WORKLOAD, case.symptom.region)
    sources: dict[str, Owners] = {}
    out: list[Part] = []
    for part in parts:
        service = service_of(case, part.entity)
        own = part.entity.kind in (EntityKind.SERVICE, EntityKind.POD)
        if part.what != LATENCY or not own:
            out.append(part)
            continue
        if service not in sources:
            sources[service] = _senders(case, tree, service, owners)
        ratio_explained = _explained_by_calls(case, tree, part.entity)
        moved: Owners = {}
        for entity, weight in sources[service].items():
            moved[entity] = moved.get(entity, 0.0) + ratio_explained * weight
        left = 1.0 - sum(moved.values())
        moved[workload] = users * left
        moved[part.entity] = moved.get(part.entity, 0.0) + left - users * left
        out += to_owners(part, moved)
    return out


def _explained_by_calls(case: Case, tree: RedTree, entity: Entity) -> float:
    """0..1: how far the calls of a service or pod rose, as they reached it."""
    key = (entity.region, entity.name)
    red = tree.pod_inbound.get(entity.name) if entity.kind is EntityKind.POD else None
    red = tree.inbound.get(key) if red is None else red
    if red is None:
        return 0.0
    rate = contrast(red.calls / case.block_s, floor_ratio=0.1)
    if rate.z < 3.0 or rate.before <= 0.0:
        return 0.0
    factor = rate.after / rate.before
    return float(np.clip((factor - LOAD_FREE) / (LOAD_FULL - LOAD_FREE), 0.0, 1.0))


def _senders(
    case: Case, tree: RedTree, service: str, owners: dict[LinkKey, Owners]
) -> Owners:  # fmt: skip
    """Who is behind the repeated calls of a service's callers, as shares of at most one."""
    region = case.symptom.region
    extra: dict[LinkKey, float] = {}
    for caller in tree.callers.get((region, service), ()):
        key = (region, caller, service)
        if caller and key in tree.sent:
            rate = contrast(tree.sent[key].calls / case.block_s)
            if np.isfinite(rate.shift) and rate.shift > 0.0:
                extra[key] = rate.shift
    total = sum(extra.values())
    out: dict[Entity, float] = defaultdict(float)
    for key, shift in sorted(extra.items()):
        own_will = amplification(case, tree, key)
        strength = own_will.strength if own_will is not None else 0.0
        out[Entity(EntityKind.SERVICE, region, key[1])] += strength * shift / total
        for entity, weight in owners.get(key, {}).items():
            out[entity] += weight * (1.0 - strength) * shift / total
    return dict(out)
