"""The status of a Replay from what the worker answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.controller.conditions import Observed, cut, merged
from ops.controller.moments import rfc3339
from ops.controller.report_map import label_value, name_with, owner, report_map
from ops.controller.resources.fields import GROUP, TEXT_MAX, ConditionStatus, ReportRef
from ops.controller.resources.replay import ReplaySpec, ReplayStatus
from ops.controller.worker_link.wire import ReplayAnswer, ReplayCheck, ReplayFault, ReplayRequest

YES, NO, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def replay_request(
    spec: ReplaySpec, *, namespace: str, name: str, ranking_sha256: str
) -> ReplayRequest:
    """What the worker is asked.

    Raises:
        ValueError: neither or both of incident and scenario are given.
    """
    return ReplayRequest(
        namespace=namespace,
        name=name,
        incident=spec.incident,
        scenario=spec.scenario,
        faults=tuple(ReplayFault(kind=f.kind, at_s=f.at_seconds) for f in spec.faults),
        seed=spec.seed,
        checks=tuple(ReplayCheck(check) for check in spec.checks),
        ranking_sha256=ranking_sha256,
    )


def begun(previous: ReplayStatus, *, now_s: float, generation: int) -> ReplayStatus:
    """The worker is being asked."""
    seen = Observed(type="Complete", status=NO, reason="Running", message="the worker is asked")
    return ReplayStatus(
        observed_generation=generation,
        phase="Running",
        started=previous.started or rfc3339(now_s),
        conditions=merged(previous.conditions, [seen], now_s=now_s, generation=generation),
    )


def ended(
    previous: ReplayStatus,
    answer: ReplayAnswer,
    *,
    report: str,
    report_trouble: str = "",
    now_s: float,
    generation: int,
) -> ReplayStatus:
    """What came out.

    Args:
        report: the ConfigMap of its page, empty where there is none.
        report_trouble: why there is none although the worker made one.
    """
    checks = "; ".join(
        f"{c.check} {'holds' if c.passed else 'does not hold'}: {c.message}" for c in answer.checks
    )
    failed = bool(answer.failed)
    seen = [
        Observed(
            type="Complete",
            status=NO if failed else YES,
            reason="Failed" if failed else "Answered",
            message="; ".join(filter(None, (answer.failed or answer.verdict, report_trouble))),
        ),
        Observed(
            type="Passed",
            status=UNKNOWN if failed else YES if answer.passed else NO,
            reason="NotRun" if failed else "ChecksHold" if answer.passed else "CheckFailed",
            message=checks or "no check was asked for",
        ),
    ]
    return ReplayStatus(
        observed_generation=generation,
        phase="Failed" if failed else "Complete",
        verdict=cut(answer.verdict, TEXT_MAX),
        ranking_sha256=answer.ranking_sha256,
        started=previous.started,
        completed=rfc3339(now_s),
        report=ReportRef(config_map=report, sha256=answer.sha256) if report else None,
        conditions=merged(previous.conditions, seen, now_s=now_s, generation=generation),
    )


def replay_report_name(replay: str) -> str:
    """Name of the ConfigMap with a Replay's page."""
    return name_with(replay, "-replay-report")


def replay_report(
    answer: ReplayAnswer, *, namespace: str, name: str, uid: str
) -> Mapping[str, Any]:
    """The ConfigMap with a Replay's page."""
    return report_map(
        answer,
        name=replay_report_name(name),
        namespace=namespace,
        labels={f"{GROUP}/replay": label_value(name)},
        owned_by=owner("Replay", name, uid),
    )
