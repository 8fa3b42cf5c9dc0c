"""Metrics that the catalogue does not list: what their spelling and their labels tell.

The conventions are Prometheus' own: `_total` counts, `_sum` with `_count` are durations or sizes of
events, everything else is a value of now. Which way is bad is not known, so both are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ops.catalogue.matcher import Catalogue
from ops.catalogue.owner_labels import POD_LABELS
from rca.state import Direction, Entity, EntityKind, MetricKind, MetricRole, ResourceClass, Series

_LEFT_OUT = ("_bucket", "_created", "_info")
_PODS = (*POD_LABELS, "instance")
_SERVICES = ("service", "deployment", "app", "app_kubernetes_io_name", "service_name", "job")
_OUTCOMES = (
    "code", "status", "status_code", "response_code", "http_response_status_code",
    "grpc_code", "result", "outcome",
)  # fmt: skip
_FAILED = re.compile(r"5\d\d|5xx|err.*|.*error|fail.*|exception|timeout|unavailable|internal", re.I)


class WithUnlisted:
    """A catalogue that also gives roles to chosen metrics it does not list.

    Several series of one metric and pod are one column later: counts are added up, values
    averaged. Failures are told apart by the labels that say how a request ended.
    """

    def __init__(self, listed: Catalogue, names: Collection[str]) -> None:
        """Give roles to what the catalogue lists and to `names`, spelled as they are stored."""
        self._listed = listed
        self._names = frozenset(names)
        self._summed = frozenset(n for n in names if f"{_base(n)}_sum" in self._names)

    def resolve(self, series: Series) -> MetricRole | None:
        """What the catalogue says, else what name and labels tell of a chosen metric."""
        role = self._listed.resolve(series)
        if role is not None or series.name not in self._names or not is_measurement(series.name):
            return role
        if self._listed.entries(series.name):
            return None  # listed, and left out for its labels
        labels = dict(series.labels)
        entity = self._owner(labels)
        if entity is None:
            return None
        base, part = _base(series.name), ""
        if series.name in self._summed and base != series.name:
            part = series.name[len(base) + 1 :]
        counter = bool(part) or series.name.endswith("_total")
        failed = counter and not part and _has_failed(labels)
        name = series.name.removesuffix("_total") if not part else base
        return MetricRole(
            role=f"{name}_errors" if failed else name,
            entity=entity,
            kind=_kind(part, counter=counter, failed=failed),
            resource=ResourceClass.UNKNOWN,
            bad=Direction.BOTH,
            counter=counter,
            part=part,
        )

    @property
    def region_labels(self) -> tuple[str, ...]:
        """Labels that give the region, in order of trust."""
        return self._listed.region_labels

    def _owner(self, labels: Mapping[str, str]) -> Entity | None:
        region = next((v for key in self.region_labels if (v := labels.get(key))), "")
        for kind, keys in ((EntityKind.POD, _PODS), (EntityKind.SERVICE, _SERVICES)):
            name = next((v for key in keys if (v := labels.get(key))), "")
            if region and name:
                return Entity(kind, region, name)
        return None


def is_measurement(name: str) -> bool:
    """Whether a stored name holds values: no bucket, whose sum and count do, and no mere fact."""
    return not name.endswith(_LEFT_OUT)


def _base(name: str) -> str:
    return name.removesuffix("_sum").removesuffix("_count")


def _has_failed(labels: Mapping[str, str]) -> bool:
    return any(_FAILED.fullmatch(labels.get(key, "")) for key in _OUTCOMES)


def _kind(part: str, *, counter: bool, failed: bool) -> MetricKind:
    if failed:
        return MetricKind.ERRORS
    if part:
        return MetricKind.LATENCY
    return MetricKind.RATE if counter else MetricKind.STATE
