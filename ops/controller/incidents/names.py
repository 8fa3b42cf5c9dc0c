"""Names of Incident objects: the same incident has the same name, whoever makes it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from ops.controller.resources.fields import OBJECT_NAME_MAX
from rca.state import Symptom

HEX_CHARS = 5


def incident_name(fleet: str, symptom: Symptom, *, fleet_uid: str) -> str:
    """`<fleet>-<yyyymmdd>-<hhmmss>-<5 hex>`, from where and when users began to suffer.

    The uid tells a Fleet from one of the same name that was deleted: the Incidents of that one are
    being collected and must not be written to.

    A pure function: an operator that died after it created the object finds it again, and a
    question can be asked under the name before the object is there.
    """
    text = "\0".join((fleet_uid, symptom.region, symptom.slo_class, repr(symptom.detected_at_s)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()[:HEX_CHARS]
    began = datetime.fromtimestamp(max(0.0, symptom.began_at_s), UTC)
    tail = f"-{began:%Y%m%d-%H%M%S}-{digest}"
    return f"{fleet[: OBJECT_NAME_MAX - len(tail)].rstrip('-.')}{tail}"
