"""What is asked of Prometheus: matchers, selectors, moments. Pure text and numbers."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ops.catalogue import Catalogue, RoleInfo
from ops.encode import promql_text
from ops.errors import PrometheusError

# Histograms of which somebody reads the buckets: the limits of users. Of the others sum and
# count are enough, and buckets are most of what a Prometheus stores.
BUCKET_ROLES = frozenset({"frontend_ttft", "frontend_tpot"})

_SHOWN_MAX = 3  # names or warnings in a message
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MATCHER = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)(=~|!~|!=|=)(.*)", re.DOTALL)
_CONDITION = r'([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"'
_CONDITIONS = re.compile(_CONDITION)
_SELECTOR = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:.]*)?\s*"
    rf"(?P<conditions>\{{\s*(?:{_CONDITION}\s*,?\s*)*\}})?"
)
# Means the same in Python and in Prometheus' regular expressions.
_SAME_EVERYWHERE = re.compile(r"[\w.|+*?\- ]*", re.ASCII)
_AGO = re.compile(r"now(?:-(\d+(?:\.\d+)?)(s|m|h|d))?")
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOMENT_S_MAX = 1e11  # year 5138; what is larger was meant in milliseconds
_MOMENTS = "expected 2026-01-02T03:04:05Z, 1767323045 (unix seconds) or now-30m"


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """One condition on a label; `op` is =, !=, =~ or !~."""

    label: str
    op: str
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.op}{promql_text(self.value)}"


def parse_matcher(text: str) -> Matcher:
    """Read `namespace=prod`, `pod=~"llm-.*"` and the like, with or without the quotes.

    Raises:
        PrometheusError: another form.
    """
    found = _MATCHER.fullmatch(text.strip())
    if found is None:
        raise PrometheusError(
            f"matcher is {text!r}, expected label=value, label=~pattern or !=, !~"
        )
    label, op, value = found.groups()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return Matcher(label, op, value)


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Read a vector selector: `name`, `name{label="value"}`, `{__name__=~"shop_.*"}`.

    Raises:
        PrometheusError: another form, or one that would select everything.
    """
    found = _SELECTOR.fullmatch(text.strip())
    matchers = []
    if found is not None:
        name = found["name"]
        matchers = [Matcher("__name__", "=", name)] if name else []
        matchers += [
            Matcher(label, op, re.sub(r"\\(.)", _unescaped, value))
            for label, op, value in _CONDITIONS.findall(found["conditions"] or "")
        ]
    # The server refuses a selector that the empty label set would pass.
    if not any(m.op in ("=", "=~") and m.value not in ("", ".*") for m in matchers):
        raise PrometheusError(
            f"selector is {text!r}, expected a metric's name or a selector such as "
            'shop_orders_total{namespace="prod"} or {__name__=~"shop_.+"}'
        )
    return tuple(matchers)


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found.group(1) == "n" else found.group(1)


def parse_label(text: str) -> tuple[str, str]:
    """Read `region=eu-west-1`: a label that is to be added to series that lack it.

    Raises:
        PrometheusError: another form.
    """
    label, _, value = text.partition("=")
    if not _LABEL_NAME.fullmatch(label) or not value:
        raise PrometheusError(f"label is {text!r}, expected name=value such as region=eu-west-1")
    return label, value


def parse_moment(text: str, *, now_s: float | None = None) -> float:
    """Seconds since the Unix epoch of an ISO 8601 time, of unix seconds, or of `now-30m`.

    Args:
        now_s: what `now` means; without it `now` is refused.

    Raises:
        PrometheusError: another form, no time zone, or milliseconds.
    """
    word = text.strip()
    ago = _AGO.fullmatch(word)
    if ago is not None and now_s is not None:
        return now_s - (float(ago.group(1)) * _UNIT_S[ago.group(2)] if ago.group(1) else 0.0)
    try:
        seconds = float(word)
    except ValueError:
        return _parse_iso(word)
    if not seconds >= 0.0:  # NaN, too
        raise PrometheusError(f"time is {text!r}, {_MOMENTS}")
    if seconds > _MOMENT_S_MAX:
        raise PrometheusError(
            f"time is {text!r}, too large for seconds; if these are milliseconds, "
            f"give {seconds / 1000.0:.3f}"
        )
    return seconds


def _parse_iso(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PrometheusError(f"time is {text!r}, {_MOMENTS}") from None
    if moment.tzinfo is None:
        raise PrometheusError(
            f"time is {text!r}, without a time zone; give {text}Z for UTC or {text}+02:00"
        )
    return moment.timestamp()


def selector(names: Sequence[str], matchers: Iterable[Matcher]) -> str:
    """A vector selector of exactly these names.

    Names stand in a matcher, not before the braces: so any spelling is allowed, dots too.
    """
    if len(names) == 1:
        name = Matcher("__name__", "=", names[0])
    else:
        name = Matcher("__name__", "=~", "|".join(re.escape(one) for one in names))
    return "{" + ",".join(str(one) for one in (name, *matchers)) + "}"


def fleet_matchers(namespace: str, match_labels: Mapping[str, str]) -> tuple[Matcher, ...]:
    """Conditions on every series of a fleet: its own namespace, then what it adds.

    All of them must hold, so an added label can narrow but never widen, whatever it is called:
    another namespace selects nothing, and whoever watches says that there is nothing.

    Raises:
        PrometheusError: no namespace, which would read series of any.
    """
    if not namespace:
        raise PrometheusError("namespace of a fleet is '': it would read every namespace; name one")
    added = (Matcher(label, "=", value) for label, value in sorted(match_labels.items()))
    return (Matcher("namespace", "=", namespace), *added)


def known_names(
    names: Iterable[str],
    catalogue: Catalogue,
    *,
    added: Container[str] = (),
    bucket_roles: frozenset[str] = BUCKET_ROLES,
) -> dict[str, tuple[Matcher, ...]]:
    """Stored names that have a role, with what the catalogue demands of their labels.

    Args:
        added: labels that are added after reading: the store need not have them.
        bucket_roles: roles whose buckets are read.
    """
    known: dict[str, tuple[Matcher, ...]] = {}
    for name in names:
        wanted = [
            info
            for info, part in catalogue.entries(name)
            if part != "bucket" or info.role in bucket_roles
        ]
        if wanted:
            known[name] = tuple(m for m in _demanded(wanted) if m.label not in added)
    return known


def _demanded(entries: Sequence[RoleInfo]) -> tuple[Matcher, ...]:
    """Conditions of which every entry sets one on the label, joined by "or".

    A condition that may hold on one of several labels cannot be said in one selector; series
    that fail it are dropped after they were read.
    """
    per_entry: list[Mapping[str, str]] = [
        {
            keys[0]: pattern.pattern
            for keys, pattern in info.where
            if len(keys) == 1 and _SAME_EVERYWHERE.fullmatch(pattern.pattern)
        }
        for info in entries
    ]
    common = set.intersection(*(set(one) for one in per_entry))
    return tuple(
        Matcher(label, "=~", "|".join(sorted({one[label] for one in per_entry})))
        for label in sorted(common)
    )


def some(texts: Iterable[object]) -> str:
    """The first few of many, for a message."""
    all_texts = [str(text) for text in texts]
    shown = ", ".join(all_texts[:_SHOWN_MAX])
    return shown if len(all_texts) <= _SHOWN_MAX else f"{shown}, ..."
