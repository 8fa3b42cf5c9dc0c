"""Every name under which a metric may be stored: `vllm:x` or `vllm_x`, with `_total` or without."""

from __future__ import annotations

from collections.abc import Iterable

from ops.catalogue.matcher import Catalogue, RoleInfo, plain_name

_PARTS = ("bucket", "sum", "count")


def stored_names(info: RoleInfo, *, parts: Iterable[str] = _PARTS) -> tuple[str, ...]:
    """Names under which scrape paths store the metrics of one role, sorted.

    Which of them is live depends on the exporter's library and on the scraper's version, so a
    question names them all instead of asking first.

    Args:
        parts: of a histogram.
    """
    names = set()
    for name in info.names:
        ends: tuple[str, ...] = ("",)
        if info.type == "histogram":
            ends = tuple(f"_{part}" for part in parts)
        elif info.type == "counter" and not plain_name(name).endswith(("_total", "_count")):
            ends = ("", "_total")
        names |= {spelled + end for spelled in (name, plain_name(name)) for end in ends}
    return tuple(sorted(names))


def live_spelling(stored: Iterable[str], catalogue: Catalogue) -> str:
    """How the engine's names are stored: "vllm:", "vllm_", or both; "" where it does not matter."""
    found = set()
    for name in stored:
        for info, _ in catalogue.entries(name):
            for listed in info.names:
                mark = next((k for k, letter in enumerate(listed) if letter in ":."), -1)
                if mark > 0 and plain_name(name).startswith(plain_name(listed)):
                    found.add(name[: mark + 1])
    return " and ".join(sorted(found))
