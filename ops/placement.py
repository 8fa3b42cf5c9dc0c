"""Which service and node a pod belongs to, found in the labels of what was scraped.

A label `service` on a container's CPU often names the collector (`kubelet`), a label `container`
often says `main` everywhere. So a label is believed for what it tells apart, not for its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ops.catalogue.owner_labels import NODE_LABELS
from rca.state import EntityKind, MetricFrame, Series

# In order of trust. Where a pod was renamed to exported_pod, only exported_* labels are its own.
SERVICE_LABELS = (
    "service", "deployment", "app", "app_kubernetes_io_name", "service_name", "container", "job",
)  # fmt: skip
NAMESPACE = "namespace"
POD_NAME = "pod's name"  # the last resort, in messages
_EXPORTED = "exported_"
# Kubernetes leaves vowels and what looks like them out of the ends that it draws.
_DRAWN = r"[bcdfghjklmnpqrstvwxz2456789]"
_POD = re.compile(
    rf"(.+?)(?:-(?:[a-f0-9]{{6,10}}|{_DRAWN}{{6,10}})-{_DRAWN}{{5}}|-{_DRAWN}{{5}}|-\d+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where pods belong.

    Attributes:
        pods: pod -> (region, service, node); no service or node is "".
        notes: which labels named the services, where that was not plain.
    """

    pods: Mapping[str, tuple[str, str, str]]
    notes: tuple[str, ...] = ()


def place_pods(frame: MetricFrame, *, service_label: str = "") -> Placement:
    """Find service and node of every pod that a series speaks of.

    A value that stands beside a rarer one on the same pod names a collector or a sidecar and is
    dropped. Of the labels that still tell services apart, the one that spells them as the mesh
    and the cluster do is taken, else the first in SERVICE_LABELS, for each pod that has it.

    Args:
        service_label: the label to believe; pods without it are placed by the rule.
    """
    regions: dict[str, str] = {}
    labels: dict[str, list[Mapping[str, str]]] = {}
    spoken: set[str] = set()  # names of services that need no pod
    for role, series in zip(frame.roles, frame.series, strict=True):
        if role is None:
            continue
        entity = role.entity
        if entity.kind is EntityKind.POD:
            regions.setdefault(entity.name, entity.region)
            labels.setdefault(entity.name, []).append(_own_labels(series, entity.name))
        elif entity.kind is EntityKind.SERVICE:
            spoken.add(entity.name)
        elif entity.kind is EntityKind.LINK:
            spoken.update(entity.name.split("->"))
    order = _order(labels, spoken, service_label)
    services, named_by = {}, Counter[str]()
    for pod in sorted(labels):
        label, services[pod] = next(
            ((key, values[pod]) for key, values in order if pod in values),
            (POD_NAME, stem(pod)),
        )
        named_by[label] += 1
    return Placement(
        pods={
            pod: (regions[pod], services[pod], _most(labels[pod], NODE_LABELS))
            for pod in sorted(labels)
        },
        notes=(*_notes(named_by, service_label), *_spread(labels, services)),
    )


def stem(pod: str) -> str:
    """Name of a pod without what Kubernetes appends to its owner's."""
    found = _POD.fullmatch(pod)
    return found.group(1) if found else pod


def _own_labels(series: Series, pod: str) -> Mapping[str, str]:
    """Labels that speak of the pod itself rather than of the exporter's."""
    labels = dict(series.labels)
    if labels.get(f"{_EXPORTED}pod") == pod:
        return {key.removeprefix(_EXPORTED): value for key, value in labels.items()
                if key.startswith(_EXPORTED)}  # fmt: skip
    return labels


def _order(
    labels: Mapping[str, Sequence[Mapping[str, str]]], spoken: set[str], service_label: str
) -> list[tuple[str, dict[str, str]]]:
    """(label, pod -> service) in the order in which they are believed."""
    several = len({stem(pod) for pod in labels}) > 1
    usable = []
    for label in SERVICE_LABELS:
        values = _values(labels, label)
        if len(set(values.values())) > 1 or (values and not several):
            usable.append((label, values))
    # Stable: with nothing spoken of, the order of trust stays.
    usable.sort(key=lambda one: -sum(value in spoken for value in one[1].values()))
    if service_label:
        usable.insert(0, (service_label, _values(labels, service_label)))
    return usable


def _values(labels: Mapping[str, Sequence[Mapping[str, str]]], label: str) -> dict[str, str]:
    """Pod -> value of one label, collectors left out."""
    told = {pod: {v for one in mine if (v := one.get(label))} for pod, mine in labels.items()}
    num_pods = Counter(value for values in told.values() for value in values)
    collectors = {
        value
        for values in told.values()
        for value in values
        if num_pods[value] > min(num_pods[other] for other in values)
    }
    kept = {pod: values - collectors for pod, values in told.items()}
    return {pod: min(values) for pod, values in kept.items() if values}


def _most(labels: Iterable[Mapping[str, str]], keys: Sequence[str]) -> str:
    """Commonest value of the first of these labels that is there; of equals the first by name."""
    rows = list(labels)
    for key in keys:
        seen = Counter(value for one in rows if (value := one.get(key)))
        if seen:
            return min(seen, key=lambda value: (-seen[value], value))
    return ""


def _spread(
    labels: Mapping[str, Sequence[Mapping[str, str]]], services: Mapping[str, str]
) -> tuple[str, ...]:
    """A note where pods of several namespaces became one service."""
    spaces: dict[str, set[str]] = {}
    for pod, service in services.items():
        spaces.setdefault(service, set()).add(_most(labels[pod], (NAMESPACE,)))
    spread = sorted(name for name, mine in spaces.items() if len(mine - {""}) > 1)
    if not spread:
        return ()
    shown = ", ".join(spread[:3]) + (", ..." if len(spread) > 3 else "")
    return (
        f"{len(spread)} services have pods in several namespaces, taken as one each: {shown}; "
        "--where namespace=... keeps them apart",
    )


def _notes(named_by: Counter[str], service_label: str) -> tuple[str, ...]:
    if not named_by or set(named_by) == {service_label or SERVICE_LABELS[0]}:
        return ()
    said = ", ".join(f"{label} of {count} pods" for label, count in named_by.most_common())
    if service_label and service_label not in named_by:
        return (f"no pod has the label {service_label}: services are named by {said}",)
    return (f"services are named by {said}",)
