"""The fingerprint of a ranking changes with what was answered, and with nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ops.ranking import ranking_sha256
from rca.state import Entity, EntityKind, Evidence, RankedCause, RcaResult, ResourceClass

FIRST = RankedCause(
    rank=1, entity=Entity(EntityKind.POD, "r", "a"), resource_class=ResourceClass.CPU,
    score=0.1 + 0.2, confidence=0.8,
)  # fmt: skip
SECOND = replace(FIRST, rank=2, entity=Entity(EntityKind.POD, "r", "b"), score=0.1)
RESULT = RcaResult(began_at_s=5.0, causes=(FIRST, SECOND), abstained=False, reason="because")


def test_words_and_evidence_do_not_count():
    told = replace(FIRST, evidence=(Evidence(channel="metric", text="x", strength=1.0),))
    other = replace(RESULT, reason="for another reason", causes=(told, SECOND), began_at_s=6.0)
    assert ranking_sha256(other) == ranking_sha256(RESULT)


@pytest.mark.parametrize(
    "other",
    [
        replace(RESULT, abstained=True),
        replace(RESULT, causes=(SECOND, FIRST)),
        replace(RESULT, causes=(FIRST,)),
        replace(RESULT, causes=(replace(FIRST, score=math.nextafter(0.1 + 0.2, 1.0)), SECOND)),
        replace(RESULT, causes=(replace(FIRST, resource_class=ResourceClass.LOAD), SECOND)),
        replace(RESULT, causes=(replace(FIRST, confidence=0.81), SECOND)),
    ],
)
def test_everything_that_was_answered_counts(other):
    assert ranking_sha256(other) != ranking_sha256(RESULT)
