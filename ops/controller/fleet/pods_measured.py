"""Whether the pods that are measured are those that the cluster has. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ops.controller.conditions import Observed
from ops.controller.resources.fields import ConditionStatus

SHOWN_MAX = 3  # names in a sentence


def pods_measured(
    *, fresh: bool, num_pods: int, silent: Sequence[str], unknown: Sequence[str]
) -> Observed:
    """Missing is never zero: what is not seen is named.

    Args:
        fresh: the metrics are; without that nobody is called silent.
        silent: pods that give no metrics and should.
        unknown: pods that metrics name and the cluster does not have.
    """
    status, reason, told = ConditionStatus.FALSE, "PodsSilent", []
    if unknown:
        reason = "PodsUnknown"
        which = "s that metrics name are" if len(unknown) > 1 else " that metrics name is"
        told.append(
            f"{len(unknown)} pod{which} not in the cluster: {_few(unknown)}; what they measure is "
            "left out, and a pod that seems lost may only have another name: see that this "
            "Prometheus scrapes this cluster, and spec.metrics.matchLabels"
        )
    if silent:
        verb = "give" if len(silent) > 1 else "gives"
        told.append(
            f"{len(silent)} of {num_pods} pods {verb} no metrics: {_few(silent)}; look at "
            "their nodes and at /targets of the Prometheus"
        )
    if not told:
        status, reason, told = ConditionStatus.TRUE, "Measured", ["no pod has fallen silent"]
    if not fresh:
        status, reason = ConditionStatus.UNKNOWN, "NotMeasured"
        told = ["no metrics of this fleet are fresh"]
    return Observed(type="PodsMeasured", status=status, reason=reason, message=". ".join(told))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(names[:SHOWN_MAX]) + more
