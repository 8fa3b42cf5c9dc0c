"""OpenSLO documents -> classes of requests; all faults at once, each with its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.catalogue import Catalogue
from ops.errors import SloError
from ops.openslo.fields import Faults, Node
from ops.openslo.indicators import limits_of
from ops.openslo.values import Budgeting, BurnCondition, SloClass

VERSION = "openslo/v1"
# Read, or known to hold nothing that is needed here.
_READ = ("SLO", "SLI", "AlertPolicy", "AlertCondition")
_PASSED_OVER = ("Service", "DataSource", "AlertNotificationTarget")
_FAULTS_MAX = 40  # in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSlo:
    """What was read.

    Attributes:
        classes: by name.
        notes: one sentence each on what a person should know: what is merged or counted otherwise.
    """

    classes: tuple[SloClass, ...]
    notes: tuple[str, ...] = ()


def read_openslo(
    documents: Sequence[Any], catalogue: Catalogue, *, source: str = "document"
) -> OpenSlo:
    """Read the documents of one or more files.

    Several SLOs of one class (time to first token, time per token, errors) become one entry. The
    class is the label slo_class of the query or of the SLO, else the SLO's name.

    Raises:
        SloError: anything that does not fit; the message lists all of it.
    """
    reader = _Reader(documents, catalogue, source)
    found = reader.classes()
    if reader.faults.found:
        told = reader.faults.found
        more = f" and {len(told) - _FAULTS_MAX} more" if len(told) > _FAULTS_MAX else ""
        raise SloError("; ".join(told[:_FAULTS_MAX]) + f"{more}; mend the file")
    return OpenSlo(classes=found, notes=tuple(dict.fromkeys(reader.notes)))


class _Reader:
    def __init__(self, documents: Sequence[Any], catalogue: Catalogue, source: str) -> None:
        self.catalogue, self.faults, self.notes = catalogue, Faults(), list[str]()
        self.by_kind: dict[str, dict[str, Node]] = {kind: {} for kind in _READ}
        for index, document in enumerate(documents):
            if document is not None:
                self._take(Node(document, f"{source}[{index}]", self.faults))

    def _take(self, node: Node) -> None:
        if not isinstance(node.value, Mapping):
            node.fault(f"is {node.shown}, expected an OpenSLO object")
            return
        version, kind = node.get("apiVersion").value, node.get("kind").value
        if version != VERSION:
            node.get("apiVersion").fault(f"is {version!r}, expected {VERSION}")
        elif kind in _READ:
            name = node.get("metadata").get("name").text()
            path = f"{node.path} {kind} {name or '?'}"
            if name in self.by_kind[kind]:
                node.get("metadata").get("name").fault(f"is {name!r} a second time")
            self.by_kind[kind].setdefault(name, Node(node.value, path, self.faults))
        elif kind not in _PASSED_OVER:
            known = ", ".join(_READ + _PASSED_OVER)
            node.get("kind").fault(f"is {kind!r}, expected one of {known}")

    def classes(self) -> tuple[SloClass, ...]:
        merged: dict[str, SloClass] = {}
        if not self.by_kind["SLO"] and not self.faults.found:
            self.faults.add("file", "holds no object of kind SLO")
        for node in self.by_kind["SLO"].values():
            one = self._class(node)
            if one is not None:
                known = merged.get(one.name)
                merged[one.name] = one if known is None else self._merge(node, known, one)
        return tuple(merged[name] for name in sorted(merged))

    def _class(self, node: Node) -> SloClass | None:
        spec = node.get("spec")
        objectives = spec.get("objectives").items()
        if len(objectives) != 1:
            spec.get("objectives").fault(f"has {len(objectives)} entries, expected one")
            return None
        (objective,) = objectives
        target = self._target(objective)
        limits = limits_of(node, objective, self.by_kind["SLI"], self.catalogue)
        window_s = self._window_s(spec)
        budgeting = Budgeting(
            spec.get("budgetingMethod").one_of(tuple(Budgeting), Budgeting.OCCURRENCES.value)
        )
        slice_s = objective.get("timeSliceWindow").seconds(60) or 60
        slice_target = objective.get("timeSliceTarget").ratio()
        if budgeting is Budgeting.TIMESLICES and slice_target is None:
            objective.get("timeSliceTarget").fault("is missing; Timeslices needs it")
        conditions = self._conditions(spec)
        if target is None or limits is None or window_s is None:
            return None
        name, ttft_s, tpot_s = limits
        if budgeting is not Budgeting.OCCURRENCES:
            self.notes.append(
                f"class {name}: the rules count {budgeting.value}, the operator itself requests"
            )
        return SloClass(
            name=name, target_ratio=target, ttft_s=ttft_s, tpot_s=tpot_s, window_s=window_s,
            budgeting=budgeting, slice_s=slice_s, slice_target_ratio=slice_target or 0.0,
            conditions=conditions,
        )  # fmt: skip

    def _target(self, objective: Node) -> float | None:
        percent = objective.get("targetPercent").number()
        if percent is not None:
            if not 0.0 < percent < 100.0:
                objective.get("targetPercent").fault(f"is {percent:g}, expected 0 to 100")
                return None
            return round(percent / 100.0, 9)
        if objective.get("target").value is None:
            objective.get("target").fault("is missing")
        return objective.get("target").ratio()

    def _window_s(self, spec: Node) -> int | None:
        windows = spec.get("timeWindow").items()
        if len(windows) != 1:
            spec.get("timeWindow").fault(f"has {len(windows)} entries, expected one")
            return None
        seconds = windows[0].get("duration").seconds()
        if windows[0].get("duration").value is None:
            windows[0].get("duration").fault("is missing")
        if seconds is not None and seconds < 3600:
            windows[0].get("duration").fault(f"is {seconds} s, expected at least 1h")
            return None
        if windows[0].get("isRolling").value is False:
            self.notes.append("a calendar window is watched as a rolling one of its length")
        return seconds

    def _conditions(self, spec: Node) -> tuple[BurnCondition, ...]:
        found = []
        for entry in spec.get("alertPolicies").items():
            policy = self._referred(entry, "alertPolicyRef", "AlertPolicy")
            for part in policy.get("spec").get("conditions").items() if policy else ():
                condition = self._referred(part, "conditionRef", "AlertCondition")
                if condition is not None and (one := _burn(condition.get("spec"))) is not None:
                    found.append(one)
        return tuple(found)

    def _referred(self, entry: Node, key: str, kind: str) -> Node | None:
        name = entry.get(key).value if isinstance(entry.value, Mapping) else entry.value
        if name is None:
            return entry
        known = self.by_kind[kind].get(str(name))
        if known is None:
            entry.fault(f"is {name!r}, and no {kind} has that name")
        return known

    def _merge(self, node: Node, one: SloClass, other: SloClass) -> SloClass:
        for key in ("window_s", "budgeting"):
            if getattr(one, key) != getattr(other, key):
                node.fault(
                    f"class {one.name} has {key} {getattr(one, key)} and {getattr(other, key)}; "
                    "SLOs of one class need the same"
                )
        if one.target_ratio != other.target_ratio:
            self.notes.append(
                f"class {one.name}: targets {one.target_ratio:g} and {other.target_ratio:g} "
                "differ; one entry has one target, the higher one"
            )
        return replace(
            one,
            target_ratio=max(one.target_ratio, other.target_ratio),
            conditions=tuple(dict.fromkeys((*one.conditions, *other.conditions))),
            ttft_s=_lower(one.ttft_s, other.ttft_s),
            tpot_s=_lower(one.tpot_s, other.tpot_s),
        )


def _lower(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _burn(spec: Node) -> BurnCondition | None:
    condition = spec.get("condition")
    condition.get("kind").one_of(("burnrate",))
    condition.get("op").one_of(("gt", "gte"), "gt")
    threshold, lookback_s = condition.get("threshold").number(), None
    if threshold is None or not threshold > 0.0:
        condition.get("threshold").fault("is no burn rate above 0")
    lookback_s = condition.get("lookbackWindow").seconds()
    if condition.get("lookbackWindow").value is None:
        condition.get("lookbackWindow").fault("is missing")
    after_s = condition.get("alertAfter").seconds(0)
    if threshold is None or lookback_s is None:
        return None
    return BurnCondition(
        severity=spec.get("severity").text("warning"),
        threshold=threshold,
        lookback_s=lookback_s,
        after_s=after_s or 0,
    )
