"""From Incident objects back to the loop's cases, after a restart. Pure.

What an object does not hold (scores, when to look again) starts anew; nothing is acted on in this
release, so no action is restored either.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

from ops.controller.alerts.digests import split_digests
from ops.controller.incidents.causes import arc_back, cause_back
from ops.controller.incidents.journal import journal_of
from ops.controller.incidents.status import RESTORED
from ops.controller.moments import seconds
from ops.controller.resources.fields import name_of, parse
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.resources.incident import (
    IncidentSpec,
    IncidentStatus,
    Phase,
    SymptomSpec,
)
from ops.errors import ResourceError
from ops.pipeline_state import Case
from ops.slo_keys import Key
from ops.state import Decision, Incident, IncidentPhase
from rca.state import (
    Entity,
    RcaResult,
    Symptom,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecord:
    """An Incident object that the server holds; where it is still open, its case and journal."""

    name: str
    uid: str
    generation: int
    began_s: float
    status: IncidentStatus
    case: Case | None = None
    journal: tuple[Decision, ...] = ()

    @property
    def resolved(self) -> bool:
        """Whether it may be removed when there are too many."""
        return self.status.phase is Phase.RESOLVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What the objects of one fleet say.

    Attributes:
        records: all of them, oldest first.
        unreadable: names of objects that cannot be used, with the reason; they are left alone.
    """

    records: tuple[IncidentRecord, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def cases(self) -> tuple[Case, ...]:
        """Open cases, oldest first."""
        return tuple(record.case for record in self.records if record.case is not None)

    @property
    def digests(self) -> tuple[str, ...]:
        """Of every alert that one of the incidents has counted, oldest incident first."""
        return tuple(
            dict.fromkeys(
                digest
                for record in self.records
                for digest in split_digests(record.status.alert_digests)
            )
        )


def restore(objects: Iterable[Mapping[str, Any]], *, fleet: FleetObject) -> Restored:
    """Read the Incident objects of a namespace that belong to a fleet.

    Those of a deleted Fleet of the same name are not its own: the server is about to collect them.
    Nor is one that is being deleted. One without an owner, e.g. put back from a backup, is.

    The loop's numbers (`inc-0001`, ...) are given anew to the open ones, oldest first.
    """
    found, unreadable = [], []
    for raw in objects:
        try:
            spec = parse(IncidentSpec, raw.get("spec"), path=f"Incident {name_of(raw)}: spec")
            if spec.fleet != fleet.name or not _ours(raw, fleet):
                continue
            found.append((_began_s(raw, spec), raw, spec))
        except (ResourceError, ValueError) as error:
            unreadable.append(f"{name_of(raw)}: {error}")
    records: list[IncidentRecord] = []
    number = 1
    for began_s, raw, spec in sorted(found, key=lambda item: (item[0], name_of(item[1]))):
        try:
            records.append(_record(raw, spec, began_s, number=number))
            number += records[-1].case is not None
        except (ResourceError, ValueError) as error:
            unreadable.append(f"{name_of(raw)}: {error}")
    for text in unreadable:
        logger.warning("incident not read back %s", text)
    return Restored(records=tuple(records), unreadable=tuple(unreadable))


def _ours(raw: Mapping[str, Any], fleet: FleetObject) -> bool:
    meta = raw.get("metadata") or {}
    owners = [one for one in meta.get("ownerReferences") or () if one.get("kind") == "Fleet"]
    uids = {str(one.get("uid", "")) for one in owners}
    if not meta.get("deletionTimestamp") and (not uids or fleet.uid in uids):
        return True
    logger.info("incident is going, left alone name=%s", name_of(raw))
    return False


def _record(
    raw: Mapping[str, Any], spec: IncidentSpec, began_s: float, *, number: int
) -> IncidentRecord:
    meta = raw.get("metadata") or {}
    status = parse(IncidentStatus, raw.get("status"), path=f"Incident {name_of(raw)}: status")
    open_ = status.phase is not Phase.RESOLVED and spec.symptom is not None
    case = _case(spec.symptom, status, number) if open_ and spec.symptom is not None else None
    return IncidentRecord(
        name=str(meta.get("name", "")),
        uid=str(meta.get("uid", "")),
        generation=int(meta.get("generation") or 1),
        began_s=began_s,
        status=status,
        case=case,
        journal=journal_of(case.incident, status) if case is not None else (),
    )


def _began_s(raw: Mapping[str, Any], spec: IncidentSpec) -> float:
    if spec.symptom is not None:
        return spec.symptom.began_seconds
    return seconds(str((raw.get("metadata") or {}).get("creationTimestamp", "")))


def _case(spec: SymptomSpec, status: IncidentStatus, number: int) -> Case:
    # What users were found to suffer after an alert stands in the status.
    ratio = spec.bad_ratio if status.bad_ratio is None else status.bad_ratio
    symptom = Symptom(
        region=spec.region,
        slo_class=spec.slo_class,
        began_at_s=spec.began_seconds,
        detected_at_s=spec.detected_seconds,
        bad_ratio=nan if ratio is None else ratio,
        reason=spec.kind,
    )
    began_s = spec.began_seconds
    if status.began is not None:  # whole seconds: not taken for a later start
        began_s = min(began_s, seconds(status.began))
    incident = Incident(
        incident_id=f"inc-{number:04d}",
        phase=IncidentPhase(status.phase.value),
        symptom=symptom,
        began_at_s=began_s,
        detected_at_s=spec.detected_seconds,
        diagnosed_at_s=_maybe(status.diagnosed),
        mitigated_at_s=_maybe(status.mitigated),
        result=_result(status, symptom),
        alerts=status.alerts,
    )
    # Without an answer to the first question there is no key: alerts alone opened it.
    keys = tuple(_key(text) for text in status.keys)
    if not keys and spec.kind != "alert":
        keys = ((symptom.region, symptom.slo_class),)
    return Case(
        incident=incident,
        keys=keys,
        firing=frozenset(split_digests(status.firing_digests)),
        abstentions=1 if status.abstained else 0,
    )


def _result(status: IncidentStatus, symptom: Symptom) -> RcaResult | None:
    if not status.causes:
        return None
    causes = tuple(map(cause_back, status.causes))
    return RcaResult(
        began_at_s=symptom.began_at_s,
        causes=causes,
        abstained=not status.cause,
        reason=status.reason,
        checked=(RESTORED, *status.checked),
        missing=tuple(status.missing),
        would_settle=tuple(status.would_settle),
        arcs=tuple(map(arc_back, status.arcs)),
        ruled_out=tuple((Entity.parse(one.entity), one.reason) for one in status.ruled_out),
    )


def _key(text: str) -> Key:
    region, _, slo_class = text.partition("/")
    return region, slo_class


def _maybe(text: str | None) -> float | None:
    return None if text is None else seconds(text)
