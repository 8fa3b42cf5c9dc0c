"""Whether the classes that a Fleet has SLOs for are those that its metrics speak of. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ops.controller.conditions import Observed
from ops.controller.resources.fields import ConditionStatus
from ops.slo import SloMeter

TYPE = "ClassesSeen"
SHOWN_MAX = 8


def classes_seen(slos: Sequence[str], meter: SloMeter | None) -> Observed:
    """The condition.

    A class that nobody asks for may only be quiet: that is Unknown. Where requests of a class
    without an SLO come meanwhile, a name is mistyped on one of the two sides: that is False.

    Args:
        slos: names of the classes that have one.
        meter: counts of the metrics as they are now; None where these cannot be trusted.
    """
    measured = sorted({name for _, name in meter.keys}) if meter is not None else []
    unseen = [name for name in slos if name not in measured]
    spare = [name for name in measured if name not in slos]
    if not measured:
        return _told(ConditionStatus.UNKNOWN, "NotMeasured", "no requests by class are measured")
    if not slos:
        text = f"no SLO is set, only failures count; classes that are seen: {_few(measured)}"
        return _told(ConditionStatus.TRUE, "NoSLO", text)
    if unseen and spare:
        text = (
            f"no request of class {_few(unseen)} is counted, but of {_few(spare)}, "
            f"{_without(spare)}: mend spec.slos, or the label slo_class of the metrics"
        )
        return _told(ConditionStatus.FALSE, "UnknownClass", text)
    if unseen:
        text = f"no request of class {_few(unseen)} is counted, only of {_few(measured)}"
        return _told(ConditionStatus.UNKNOWN, "NotSeen", text)
    extra = f"; only failures count for {_few(spare)}, {_without(spare)}" if spare else ""
    return _told(ConditionStatus.TRUE, "AllSeen", f"requests of {_few(slos)} are counted{extra}")


def _told(status: ConditionStatus, reason: str, text: str) -> Observed:
    return Observed(type=TYPE, status=status, reason=reason, message=text)


def _without(names: Sequence[str]) -> str:
    return f"which {'has' if len(names) == 1 else 'have'} no SLO"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(names[:SHOWN_MAX]) + more
