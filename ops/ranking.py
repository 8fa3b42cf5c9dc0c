"""The fingerprint of a ranking: equal for equal answers, to the last bit of every score."""

from __future__ import annotations

import hashlib

import orjson

from rca.state import RcaResult

FORM = "midwatch ranking 1"  # of the hashed bytes; another form would need another name


def ranking_sha256(result: RcaResult) -> str:
    """Hash of what was answered: each candidate in order, and whether it may be trusted.

    Scores enter as the exact binary fraction, not as rounded text: two runs that agree in print
    and differ in the last bit are two rankings. Evidence and sentences are left out, so that a
    better wording does not make an old bundle look changed.
    """
    causes = [
        [str(c.entity), str(c.resource_class), float(c.score).hex(), float(c.confidence).hex()]
        for c in result.causes
    ]
    form = [FORM, bool(result.abstained), causes]
    return hashlib.sha256(orjson.dumps(form)).hexdigest()
