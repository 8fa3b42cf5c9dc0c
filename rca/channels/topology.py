"""Says as evidence what `rca.channels.blame` measured: each entity's share of the loss."""

from __future__ import annotations

from rca.channels.blame import Blame
from rca.channels.case import Finding
from rca.channels.parts import LATENCY, Part
from rca.kinds import plain, plain_s
from rca.state import Entity, EntityKind, ResourceClass

CHANNEL = "topology"
SHARE_MIN = 0.02


def findings(found: Blame) -> list[Finding]:
    """Say the parts as findings; the strength is the explained share."""
    out = []
    best: dict[Entity, Part] = {}
    for part in sorted(found.parts, key=lambda p: (-p.added, str(p.entity), p.what)):
        best.setdefault(part.entity, part)
    for entity, part in sorted(best.items(), key=lambda item: str(item[0])):
        share = found.share.get(entity, 0.0)
        if share < SHARE_MIN:
            continue
        network = entity.kind is EntityKind.LINK
        users = entity.kind is EntityKind.WORKLOAD
        out.append(
            Finding(
                entity=entity,
                channel=CHANNEL,
                strength=share,
                resource=(
                    ResourceClass.LOAD
                    if users
                    else ResourceClass.NETWORK
                    if network
                    else ResourceClass.CODE
                ),
                text=_text(part, share),
                specificity=0.6 if network else 0.2,
                before=part.stat.before,
                after=part.stat.after,
                unit="s" if part.what == LATENCY else "ratio",
            )
        )
    return out


def _text(part: Part, share: float) -> str:
    before, after = part.stat.before, part.stat.after
    total = f"{plain(100 * share)} % of what users lost"
    if part.entity.kind is EntityKind.WORKLOAD:
        return f"queues grow with demand; {total}"
    if part.what == LATENCY:
        what = (
            "caller sees more than the callee by"
            if part.entity.kind is EntityKind.LINK
            else ("own time per call")
        )
        return f"{what} {plain_s(before)} -> {plain_s(after)}; {total}"
    what = "failed on the way" if part.entity.kind is EntityKind.LINK else "own errors"
    return f"{what} {plain(100 * before)} % -> {plain(100 * after)} %; {total}"
