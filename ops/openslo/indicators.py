"""What an SLO's indicator limits: times of requests of one class, or their failures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ops.catalogue import Catalogue
from ops.openslo.fields import Node
from ops.openslo.queries import REQUESTS, TPOT, TTFT, Meaning, meanings

_CLASS_LABEL = "slo_class"
_NAME = re.compile(r"[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")


def limits_of(
    node: Node, objective: Node, slis: Mapping[str, Node], catalogue: Catalogue
) -> tuple[str, float | None, float | None] | None:
    """Class of requests that an SLO speaks of, its limits of TTFT and TPOT; None after a fault."""
    indicator = _indicator(node.get("spec"), slis)
    if indicator is None:
        return None
    ratio, threshold = indicator.get("ratioMetric"), indicator.get("thresholdMetric")
    if (ratio.value is None) == (threshold.value is None):
        indicator.fault("needs either ratioMetric or thresholdMetric")
        return None
    found = (
        _of_ratio(ratio, catalogue) if threshold.value is None
        else _of_threshold(threshold, objective, catalogue)
    )  # fmt: skip
    if found is None:
        return None
    named = {one.slo_class for one, _ in found if one.slo_class}
    if len(named) > 1:
        indicator.fault(f"speaks of several classes: {', '.join(sorted(named))}")
        return None
    labels = node.get("metadata").get("labels")
    name = next(iter(named), "") or labels.get(_CLASS_LABEL).text("")
    name = name or node.get("metadata").get("name").text()
    if not _NAME.fullmatch(name) or len(name) > 63:
        node.fault(f"its class is {name!r}, expected letters, digits, - _ . and at most 63")
        return None
    limit_s = {one.role: value for one, value in found}
    return name, limit_s.get(TTFT), limit_s.get(TPOT)


def _indicator(spec: Node, slis: Mapping[str, Node]) -> Node | None:
    inline, name = spec.get("indicator"), spec.get("indicatorRef").value
    if inline.value is not None:
        return inline.get("spec")
    if name is None:
        spec.get("indicator").fault("is missing, and no indicatorRef is there")
        return None
    known = slis.get(str(name))
    if known is None:
        spec.get("indicatorRef").fault(f"is {name!r}, and no SLI has that name")
        return None
    return known.get("spec")


def _of_ratio(ratio: Node, catalogue: Catalogue) -> list[tuple[Meaning, float | None]] | None:
    parts = [key for key in ("good", "bad", "total", "raw") if ratio.get(key).value is not None]
    if parts not in (["good", "total"], ["bad", "total"], ["raw"]):
        ratio.fault(f"has {', '.join(parts) or 'nothing'}, expected good or bad with total")
        return None
    found: list[tuple[Meaning, float | None]] = []
    for key in parts:
        read = _meanings(ratio.get(key), catalogue)
        if read is None:
            return None
        for one in read:
            if one.le is None and key in ("good", "bad") and one.role != REQUESTS:
                ratio.get(key).fault('names a histogram without le="...", so no limit is told')
                return None
            if one.le is not None or one.role == REQUESTS:
                found.append((one, one.le))
            elif one.slo_class:
                found.append((replace(one, role=REQUESTS), None))
    return found


def _of_threshold(
    threshold: Node, objective: Node, catalogue: Catalogue
) -> list[tuple[Meaning, float | None]] | None:
    read = _meanings(threshold, catalogue)
    op, value = objective.get("op"), objective.get("value")
    op.one_of(("lte", "lt"))
    limit_s = value.number()
    if value.value is None:
        value.fault("is missing; it is the limit in seconds")
    if limit_s is not None and not 0.0 < limit_s <= 3600.0:
        value.fault(f"is {limit_s:g}, expected seconds up to 3600")
        return None
    if read is None or limit_s is None:
        return None
    if all(one.role == REQUESTS for one in read):
        threshold.fault("names no histogram of times; a limit on errors is a ratioMetric")
        return None
    return [(one, limit_s) for one in read if one.role != REQUESTS]


def _meanings(part: Node, catalogue: Catalogue) -> tuple[Meaning, ...] | None:
    source = part.get("metricSource")
    if source.get("type").value not in (None, "Prometheus", "prometheus"):
        source.get("type").fault(f"is {source.get('type').shown}, only Prometheus is read")
        return None
    query = source.get("spec").get("query")
    if not query.text():
        return None
    read = meanings(query.text(), catalogue)
    if not read:
        query.fault(
            f"is {query.shown}, and names no metric of users' requests that the catalogue "
            "knows, such as http_requests_total or gen_ai_server_time_to_first_token_seconds"
        )
        return None
    return read
