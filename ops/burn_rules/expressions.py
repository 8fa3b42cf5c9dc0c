"""PromQL over the catalogue's metrics of users' requests: counted as `ops.slo` counts them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ops.catalogue import Catalogue
from ops.catalogue.spellings import stored_names
from ops.encode import promql_text
from ops.slo import GOOD_STATUSES

_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_STATUS_LABELS = ("status", "code", "status_code", "http_response_status_code")
_GOOD = f"({'|'.join(GOOD_STATUSES)}).*"


class Queries:
    """Expressions of one class; every one gives a rate per second and region."""

    def __init__(
        self, catalogue: Catalogue, matchers: Mapping[str, str], *, range_text: str,
        names: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Look at series with these labels.

        Args:
            range_text: of the rates, e.g. 5m.
            names: stored names that are live; none = every spelling, the first that is there.
        """
        self._catalogue, self._range, self._names = catalogue, range_text, frozenset(names)
        self._matchers = [f"{label}={promql_text(value)}" for label, value in matchers.items()]

    def requests(self) -> str:
        """Requests that ended."""
        return self._any(self._rate(name) for name in self._live("frontend_requests", ""))

    def failed(self) -> str:
        """Those that failed, were turned away or given up."""
        bad = [f"{label}!~{promql_text(_GOOD)}" for label in _STATUS_LABELS]
        return self._any(self._rate(name, *bad) for name in self._live("frontend_requests", ""))

    def seen(self, role: str) -> str:
        """Events of a histogram."""
        return self._any(self._rate(name) for name in self._live(role, "count"))

    def over(self, role: str, limit_s: float) -> str:
        """Events beyond a limit: all minus those in the bucket that ends at it."""
        return self._any(
            f"{self._rate(count)}\n  - {self._rate(bucket, _le(limit_s))}"
            for count, bucket in self._histograms(role)
        )

    def bucket(self, role: str, limit_s: float) -> str:
        """Events within the bucket that ends at a limit."""
        return self._any(self._rate(bucket, _le(limit_s)) for _, bucket in self._histograms(role))

    def _histograms(self, role: str) -> list[tuple[str, str]]:
        counts = self._live(role, "count")
        return [(name, f"{name.removesuffix('_count')}_bucket") for name in counts]

    def _live(self, role: str, part: str) -> list[str]:
        names = spelled_names(self._catalogue, role, part, plain=False)
        live = [name for name in names if name in self._names]
        return live or [name for name in names if _PLAIN.fullmatch(name)]

    def _rate(self, name: str, *conditions: str) -> str:
        if _PLAIN.fullmatch(name):
            selector = f"{name}{{{','.join([*self._matchers, *conditions])}}}"
        else:
            named = f"__name__={promql_text(name)}"
            selector = f"{{{','.join([named, *self._matchers, *conditions])}}}"
        return f"sum by (region) (rate({selector}[{self._range}]))"

    def _any(self, parts: Iterable[str]) -> str:
        """The first of these that is there, per region."""
        return "\nor ".join(dict.fromkeys(parts))


def spelled_names(catalogue: Catalogue, role: str, part: str, *, plain: bool = True) -> list[str]:
    """Names under which a role, or a part of its histogram, is stored today.

    Args:
        plain: only those that PromQL takes without quotes.
    """
    names: list[str] = []
    for info in catalogue.roles:
        if info.role != role:
            continue
        spelled = stored_names(info, parts=(part,) if part else ())
        if info.type == "counter":  # the plain spelling of a counter is history
            spelled = tuple(n for n in spelled if n.endswith(("_total", "_count")))
        names += [name for name in spelled if name not in names]
    return [name for name in names if _PLAIN.fullmatch(name)] if plain else names


def _le(limit_s: float) -> str:
    """A condition on `le`, which exporters write as 2, 2.0 or 2e+00."""
    spelled = dict.fromkeys((f"{limit_s:g}", repr(float(limit_s))))
    return f"le=~{promql_text('|'.join(re.escape(text) for text in spelled))}"
