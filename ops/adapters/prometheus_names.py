"""Which stored metrics are read: what the catalogue lists, and what was asked for beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ops.adapters.prometheus_plan import RawSamples
from ops.adapters.prometheus_selectors import Matcher, known_names, some
from ops.catalogue import Catalogue
from ops.catalogue.unlisted import is_measurement
from ops.clock import Deadline
from ops.errors import PrometheusError

Known = dict[str, tuple[Matcher, ...]]  # stored name -> all of its conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a window is to hold.

    Attributes:
        after_ms, until_ms: the window, unix milliseconds.
        matchers: conditions on every series.
        also: selectors of metrics that the catalogue does not list.
        added: labels that are added after reading.
        bucket_roles: roles whose buckets are read.
    """

    after_ms: int
    until_ms: int
    matchers: tuple[Matcher, ...]
    also: tuple[tuple[Matcher, ...], ...]
    added: frozenset[str]
    bucket_roles: frozenset[str]


def names_to_read(
    reader: RawSamples, catalogue: Catalogue, asked: Asked, *, deadline: Deadline
) -> tuple[Known, frozenset[str]]:
    """Stored names to read, and which of them the catalogue does not list.

    Raises:
        PrometheusError: no usable answer, nothing known, or a selector that finds nothing.
    """

    def names(matchers: Sequence[Matcher]) -> tuple[str, ...]:
        return reader.names(
            after_ms=asked.after_ms, until_ms=asked.until_ms, matchers=matchers, deadline=deadline
        )

    stored = names(asked.matchers)
    known: Known = {
        name: (*demanded, *asked.matchers)
        for name, demanded in known_names(
            stored, catalogue, added=asked.added, bucket_roles=asked.bucket_roles
        ).items()
    }
    unlisted: Known = {}
    for selector in asked.also:
        found = names((*selector, *asked.matchers))
        if not found:
            raise PrometheusError(
                f"{reader.url}: no series of that time matches {_written(selector)}"
                f"{_under(asked.matchers)}; check its name, or start and end"
            )
        conditions = (*(m for m in selector if m.label != "__name__"), *asked.matchers)
        for name in found:
            if catalogue.entries(name) or not is_measurement(name):
                continue
            if unlisted.setdefault(name, conditions) != conditions:
                raise PrometheusError(
                    f"{name} is asked for twice, the second time by {_written(selector)}; "
                    "write one selector, with =~ for several values"
                )
    if not known and not unlisted:
        raise PrometheusError(_nothing_known(reader.url, stored, asked.matchers))
    return known | unlisted, frozenset(unlisted)


def _written(selector: Sequence[Matcher]) -> str:
    return "{" + ",".join(map(str, selector)) + "}"


def _under(matchers: Sequence[Matcher]) -> str:
    return f" under {some(matchers)}" if matchers else ""


def _nothing_known(url: str, stored: Sequence[str], matchers: Sequence[Matcher]) -> str:
    under = f" that match {some(matchers)}" if matchers else ""
    if not stored:
        first = "the condition, " if matchers else ""
        return (
            f"{url}: no metrics are stored about that time{under}; check {first}start, end and "
            "the server's retention"
        )
    return (
        f"{url}: of {len(stored)} metric names{under} the catalogue knows none, e.g. "
        f"{some(stored)}; is this the Prometheus that scrapes the fleet? "
        "Metrics of your own are added by a selector (--match)"
    )
