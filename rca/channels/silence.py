"""Pods that fell silent, and to whom their silence belongs: pod, service, node or registry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rca.channels.absence import answers, missed_since_end
from rca.channels.case import Case, Finding
from rca.channels.red import RedTree
from rca.channels.startup import overdue_pulls
from rca.kinds import plain
from rca.state import ClusterEvent, Entity, EntityKind, ResourceClass

CHANNEL = "silence"
ENDED_MIN = 0.6  # share of a pod's series; the control plane still describes what is gone
ENDED_STRENGTH = 0.8
CALLS_MIN = 4.0  # calls that were to be expected; fewer are too few to tell silence from chance
FELL_MIN = 0.7
ALIVE_MIN = 0.9  # share of samples since the onset; single scrapes are lost every day
TAIL_ROWS = 2  # newest rows without any answer tell silence from few calls
BLOCKED_RATIO = 0.3  # lost share of a pod's own calls from which it waits for others


@dataclass(slots=True, kw_only=True)
class Silence:
    """Silent pods and who owns each one's silence.

    Attributes:
        fell: silent pod -> 0..1.
        text: silent pod -> what was measured.
        owner: silent pod -> itself, its service, its node, or the registry it waits for.
        alive: silent pods that still show that they are running.
        ended: pods and nodes of which most series ended -> what was counted.
    """

    fell: dict[str, float] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    owner: dict[str, Entity] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    ended: dict[Entity, str] = field(default_factory=dict)

    def owners(self, pods: Sequence[str]) -> dict[Entity, float]:
        """Owners of the silence of some pods, as shares that sum to one."""
        shares: dict[Entity, float] = defaultdict(float)
        for pod in pods:
            shares[self.owner[pod]] += 1.0 / len(pods)
        return dict(shares)

    def of_service(self, case: Case, region: str, service: str) -> list[str]:
        """Silent pods of one service, sorted."""
        return [pod for pod in case.pods_of(region, service) if pod in self.fell]


def find_silence(
    case: Case, tree: RedTree, events: Sequence[ClusterEvent], silent_jobs: Sequence[Entity]
) -> Silence:
    """Look for pods that answer nobody or are gone, replaced ones left out.

    Args:
        silent_jobs: scrape jobs that are down; a role that ended for most entities of their
            region tells of its job and is ignored.
    """
    out = Silence(ended=ended_entities(case, silent_jobs))
    measured = _unanswering(case, tree, out)
    gone = {
        entity.name: (1.0, text)
        for entity, text in out.ended.items()
        if entity.kind is EntityKind.POD
    }
    for pod, (away, text) in sorted((missed_since_end(case, tree) | gone).items()):
        if pod in case.live | case.earlier and not case.replaced(pod):
            measured.add(pod)
            out.fell[pod] = max(out.fell.get(pod, 0.0), ENDED_STRENGTH * away)
            out.text[pod] = text
    out.alive = {
        pod
        for pod in out.fell
        if pod in case.working and pod not in case.killed and _never_away(case, pod)
    }
    _drop_succeeded(case, tree, out)
    _find_owners(case, events, out, measured)
    return out


def _drop_succeeded(case: Case, tree: RedTree, out: Silence) -> None:
    """Forget pods that others took over from on purpose: ended or rolled out, successors at work.

    A pod of the old revision stops getting calls as soon as the new one answers.
    """
    fresh = case.working - case.live - case.earlier
    ended: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pod in sorted(out.fell):
        ended[case.pod_place[pod][:2]].append(pod)
    for (region, service), pods in ended.items():
        mine = set(case.pods_of(region, service))
        rolled = {
            pod
            for pod in mine & case.young & case.working
            if pod in tree.pod_answers and answers(case, tree, pod, case.windows.normal_end) > 0.0
        }
        for pod in pods:
            planned = pod in case.killed and len(fresh & mine) >= len(set(pods) & set(case.killed))
            if planned or (rolled and pod not in case.young):
                del out.fell[pod], out.text[pod]
                out.alive.discard(pod)


def _unanswering(case: Case, tree: RedTree, out: Silence) -> set[str]:
    """Note pods whose answered calls fell while callers went on; return all that can be told."""
    measured = set()
    for pod, red in sorted(tree.pod_inbound.items()):
        region, service, _ = case.pod_place.get(pod, ("", "", ""))
        if pod not in case.live or case.replaced(pod):
            continue
        callers = [
            tree.sent[(region, caller, service)].calls / case.block_s
            for caller in tree.callers.get((region, service), ())
            if (region, caller, service) in tree.sent
        ]
        rate = red.calls / case.block_s
        if not callers or not np.isfinite(rate[:-1]).any():
            continue
        asked = np.nansum(callers, axis=0)
        usual = float(np.median(asked[:-1]))
        wanted = float(np.nanmedian(rate[:-1])) * min(1.0, float(asked[-1]) / max(usual, 1e-12))
        if wanted * float(case.block_s[-1]) < CALLS_MIN:
            continue
        measured.add(pod)
        fell = 1.0 - float(np.nan_to_num(rate[-1])) / wanted
        if fell > FELL_MIN and not _excused(case, tree, pod):
            out.fell[pod] = fell
            how = "is up but answers" if pod in case.working else "answers"
            out.text[pod] = f"{how} {plain(100 * (1 - fell))} % of its usual calls"
    return measured


def _excused(case: Case, tree: RedTree, pod: str) -> bool:
    """Whether a pod that runs has few calls to answer, or waits for others itself."""
    if pod not in case.working or pod in case.killed:
        return False
    if pod in tree.pod_answers and answers(case, tree, pod, -TAIL_ROWS) > 0.0:
        return True
    mine = _kept_ratio(case, tree, pod)
    siblings = [
        _kept_ratio(case, tree, other)
        for other in case.pods_of(*case.pod_place[pod][:2])
        if other != pod and other in case.live & case.working and other in tree.pod_inbound
    ]
    if siblings and mine >= (1.0 - FELL_MIN) * max(siblings):
        return True
    return any(
        sent.lost[-1] > BLOCKED_RATIO * sent.calls[-1] > 0.0
        for sent in tree.pod_sent.get(pod, {}).values()
    )


def _kept_ratio(case: Case, tree: RedTree, pod: str) -> float:
    """Answers per second since the onset over the usual ones."""
    rate = tree.pod_inbound[pod].calls / case.block_s
    usual = float(np.nanmedian(rate[:-1])) if np.isfinite(rate[:-1]).any() else np.nan
    return float(np.nan_to_num(rate[-1])) / usual if usual > 0.0 else 0.0


def ended_entities(case: Case, silent_jobs: Sequence[Entity]) -> dict[Entity, str]:
    """Pods and nodes of which most series ended while other entities' go on."""
    gone: dict[tuple[str, str], int] = defaultdict(int)
    known: dict[tuple[str, str], int] = defaultdict(int)
    vanished = case.changes.vanished.tolist()
    past = np.isfinite(case.changes.before).tolist()
    for column, role in enumerate(case.roles):
        key = (role.entity.region, role.role)
        known[key] += 1
        gone[key] += vanished[column]
    regions = {entity.region for entity in silent_jobs}
    columns: dict[Entity, list[int]] = defaultdict(list)
    for column, role in enumerate(case.roles):
        key = (role.entity.region, role.role)
        many = known[key] >= 4 and 2 * gone[key] > known[key]
        own = role.entity.kind in (EntityKind.POD, EntityKind.NODE)
        if own and past[column] and not (many and role.entity.region in regions):
            columns[role.entity].append(column)
    out = {}
    for entity, mine in sorted(columns.items()):
        ended = sum(vanished[c] for c in mine)
        if len(mine) >= 3 and ended >= ENDED_MIN * len(mine):
            out[entity] = f"{ended} of its {len(mine)} series ended"
    return out


def _never_away(case: Case, pod: str) -> bool:
    """Whether the pod answered scrapes all the time since the onset: a restart leaves a hole."""
    columns = [
        c
        for c, role in enumerate(case.roles)
        if role.entity.name == pod
        and role.entity.kind is EntityKind.POD
        and np.isfinite(case.changes.before[c])
    ]
    rows = np.isfinite(case.aligned.levels[case.windows.fault_start :, columns])
    return bool(columns) and float(rows.mean()) > ALIVE_MIN


def _find_owners(
    case: Case,
    events: Sequence[ClusterEvent],
    out: Silence,
    measured: set[str],
) -> None:
    hosts: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pod in measured:
        region, _, node = case.pod_place[pod]
        if node:
            hosts[(region, node)].add(pod)
    overdue = overdue_pulls(events, onset_s=case.onset_s, now_s=case.now_s)
    waiting = {case.pod_place[pod][:2] for pod in overdue if pod in case.pod_place}
    started = {
        event.entity.name
        for event in events
        if event.reason == "Started" and event.at_s >= case.killed.get(event.entity.name, np.inf)
    }
    for pod in sorted(out.fell):
        region, service, node = case.pod_place[pod]
        silent_here = hosts[(region, node)] & set(out.fell)
        services = {case.pod_place[name][1] for name in silent_here}
        live = set(case.pods_of(region, service)) & case.live
        whole = Entity(EntityKind.NODE, region, node)
        most = 2 * len(silent_here) >= len(hosts[(region, node)])
        if most and (len(services) >= 2 or whole in out.ended):
            # A process that ends alone leaves its node's own series as they were.
            out.owner[pod] = whole
        elif len(live) >= 2 and live <= set(out.fell):
            out.owner[pod] = Entity(EntityKind.SERVICE, region, service)
        elif pod in case.killed and pod not in started and (region, service) in waiting:
            # It was ended on purpose; what users miss is its successor, which has no image.
            out.owner[pod] = Entity(EntityKind.REGISTRY, region)
        else:
            out.owner[pod] = Entity(EntityKind.POD, region, pod)


def silence_findings(case: Case, silence: Silence) -> list[Finding]:
    """One finding per owner, and one per node whose own series ended."""
    owned: dict[Entity, list[str]] = defaultdict(list)
    for pod, owner in sorted(silence.owner.items()):
        owned[owner].append(pod)
    found = []
    for owner, pods in sorted(owned.items()):
        single = owner.kind is EntityKind.POD
        worst = min(pods, key=lambda pod: (-silence.fell[pod], pod))
        text = silence.text[worst]
        if not single:
            text = f"{len(pods)} pods are silent for its sake; the worst: {text}"
        found.append(
            Finding(
                entity=owner,
                channel=CHANNEL,
                strength=max(silence.fell[pod] for pod in pods),
                resource=_class(case, owner, alive=all(p in silence.alive for p in pods)),
                text=text,
                specificity=0.5,
            )
        )
    for entity, text in sorted(silence.ended.items()):
        if entity.kind is EntityKind.NODE:
            found.append(
                Finding(
                    entity=entity,
                    channel=CHANNEL,
                    strength=ENDED_STRENGTH,
                    resource=ResourceClass.LOSS,
                    text=text,
                    specificity=0.6,
                )
            )
    return found


def _class(case: Case, owner: Entity, *, alive: bool) -> ResourceClass:
    """A process that lives and does no work waits for its device, where it has one."""
    if owner.kind is EntityKind.REGISTRY:
        return ResourceClass.START_UP
    if not (alive and owner.kind is EntityKind.POD):
        return ResourceClass.LOSS
    device = any(
        role.resource is ResourceClass.GPU_DEVICE and role.entity == owner for role in case.roles
    )
    return ResourceClass.GPU_DEVICE if device else ResourceClass.CODE
