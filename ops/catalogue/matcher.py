"""Matcher of the metric catalogue: reads roles.toml and says what one series means.

Nothing here knows a metric by name; names, labels and meanings are data.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ops.errors import CatalogueError
from rca.state import Direction, Entity, EntityKind, MetricKind, MetricRole, ResourceClass, Series

_PARTS = ("bucket", "sum", "count")
_TYPES = ("counter", "gauge", "histogram", "info")
_STATUS_CODE = re.compile(r"[1-5]\d\d")
# Envoy names a cluster direction|port|subset|host; the host's first label is the service.
_ENVOY_CLUSTER = re.compile(r"[^|]*\|[^|]*\|[^|]*\|(.+?)(\.[^.|]+\.svc(\.[^|]+)?)?")

# One label under several names: the first that is present counts.
_Alternatives = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleInfo:
    """One entry of the catalogue, before it meets a series."""

    role: str
    names: tuple[str, ...]
    type: str  # counter, gauge, histogram, info
    unit: str  # as stored, e.g. "milliseconds"; empty = a state
    kind: MetricKind
    resource: ResourceClass
    bad: Direction
    entities: tuple[EntityKind, ...]  # tried in order until the labels give one
    where: tuple[tuple[_Alternatives, re.Pattern[str]], ...] = ()
    group: tuple[_Alternatives, ...] = ()
    status_class: bool = False
    hardware: bool = False


class Catalogue:
    """Knows the role of a series from its name and labels."""

    def __init__(
        self,
        roles: Sequence[RoleInfo],
        *,
        region: _Alternatives,
        entities: Mapping[EntityKind, tuple[_Alternatives, ...]],
    ) -> None:
        self.roles = tuple(roles)
        self._region = region
        self._entities = dict(entities)
        self._by_name: dict[str, list[tuple[RoleInfo, str]]] = {}
        for info in self.roles:
            for name in info.names:
                for spelled, part in _spellings(name, info.type):
                    self._by_name.setdefault(spelled, []).append((info, part))

    @classmethod
    def load(cls, text: str | None = None) -> Catalogue:
        """Read a catalogue; without an argument the shipped one.

        Raises:
            CatalogueError: not TOML, or entries that do not fit; all of them are listed.
        """
        if text is None:
            text = (files("ops.catalogue") / "roles.toml").read_text(encoding="utf-8")
        return parse_catalogue(text)

    def resolve(self, series: Series) -> MetricRole | None:
        """Return what the series means, or None where name or labels say nothing known."""
        found = self._match(series)
        if found is None:
            return None
        info, part, labels = found
        entity = self._entity(info, labels)
        if entity is None:
            return None
        bound = _bound(labels.get("le", "")) if part == "bucket" else None
        return MetricRole(
            role=info.role,
            entity=entity,
            kind=info.kind,
            resource=info.resource,
            bad=info.bad,
            counter=info.type in ("counter", "histogram"),
            hardware=info.hardware,
            part=part,
            upper_bound=bound,
            group=_group(info, labels),
        )

    def info(self, series: Series) -> RoleInfo | None:
        """Return the entry that fits the series: its type and unit."""
        found = self._match(series)
        return found[0] if found else None

    def entries(self, name: str) -> tuple[tuple[RoleInfo, str], ...]:
        """Return the entries that a stored name may belong to, each with its part of a histogram.

        Which of them holds, if any, the labels decide: see `resolve`.
        """
        return tuple(self._by_name.get(plain_name(name), ()))

    @property
    def region_labels(self) -> tuple[str, ...]:
        """Labels that give the region, in order of trust; without one a series has no meaning."""
        return self._region

    def role_names(self) -> frozenset[str]:
        """Return every role that the catalogue knows."""
        return frozenset(info.role for info in self.roles)

    def _match(self, series: Series) -> tuple[RoleInfo, str, dict[str, str]] | None:
        candidates = self._by_name.get(plain_name(series.name))
        if not candidates:
            return None
        labels = dict(series.labels)
        for info, part in candidates:
            if all(p.fullmatch(_first(labels, keys)) for keys, p in info.where):
                return info, part, labels
        return None

    def _entity(self, info: RoleInfo, labels: Mapping[str, str]) -> Entity | None:
        region = _first(labels, self._region)
        if not region:
            return None
        for kind in info.entities:
            parts = [_first(labels, keys) for keys in self._entities[kind]]
            if all(parts):
                return Entity(kind, region, "->".join(parts))
        return None


def parse_catalogue(text: str) -> Catalogue:
    """Read the TOML form.

    Raises:
        CatalogueError: not TOML, or entries that do not fit; all of them are listed.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"catalogue is not TOML: {error}; mend the file") from error
    faults: list[str] = []
    roles: list[RoleInfo] = []
    try:
        region = tuple(map(str, raw["region"]))
        entities = {
            EntityKind(kind): tuple(tuple(map(str, keys)) for keys in parts)
            for kind, parts in raw["entities"].items()
        }
        entries = list(raw["roles"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CatalogueError(
            f"catalogue has no usable 'region', 'entities' or 'roles': {error!r}; add them"
        ) from error
    for index, entry in enumerate(entries):
        try:
            info = _role(entry)
            missing = [kind.value for kind in info.entities if kind not in entities]
            if missing:
                raise ValueError(f"'entities' does not describe {missing}")
            roles.append(info)
        except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
            name = entry.get("role", "?") if isinstance(entry, dict) else entry
            faults.append(f"roles[{index}] ({name!r}): {error!r}")
    if faults:
        raise CatalogueError("catalogue entries do not fit; mend them: " + "; ".join(faults))
    return Catalogue(roles, region=region, entities=entities)


def _role(entry: Mapping[str, Any]) -> RoleInfo:
    if entry["type"] not in _TYPES:
        raise ValueError(f"type is {entry['type']!r}, expected one of {_TYPES}")
    return RoleInfo(
        role=str(entry["role"]),
        names=tuple(map(str, entry["names"])),
        type=str(entry["type"]),
        unit=str(entry.get("unit", "")),
        kind=MetricKind(entry["kind"]),
        resource=ResourceClass(entry["resource"]),
        bad=Direction(entry["bad"]),
        entities=tuple(EntityKind(kind) for kind in entry["entity"]),
        where=tuple(
            (tuple(keys.split("|")), re.compile(pattern))
            for keys, pattern in entry.get("where", {}).items()
        ),
        group=tuple(tuple(keys.split("|")) for keys in entry.get("group", ())),
        status_class=bool(entry.get("status_class", False)),
        hardware=bool(entry.get("hardware", False)),
    )


def plain_name(name: str) -> str:
    """Spell a name as the least expressive scrape path stores it: equal for all its spellings."""
    return name.replace(":", "_").replace(".", "_")


def _spellings(name: str, metric_type: str) -> list[tuple[str, str]]:
    """Return (sample name, part of a histogram) for each form in which the metric is stored."""
    normal = plain_name(name)
    if metric_type == "histogram":
        return [(f"{normal}_{part}", part) for part in _PARTS]
    if metric_type == "counter" and not normal.endswith("_total"):
        return [(normal, ""), (f"{normal}_total", "")]
    return [(normal, "")]


def _first(labels: Mapping[str, str], keys: _Alternatives) -> str:
    for key in keys:
        value = labels.get(key)
        if value:
            if key == "envoy_cluster_name":
                named = _ENVOY_CLUSTER.fullmatch(value)
                return named.group(1) if named else value
            return value
    return ""


def _group(info: RoleInfo, labels: Mapping[str, str]) -> str:
    values = [_first(labels, keys) for keys in info.group]
    if info.status_class:
        values = [f"{v[0]}xx" if _STATUS_CODE.fullmatch(v) else v for v in values]
    return "/".join(values)


def _bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
