"""Registry of policies: name -> class. A policy decides; the instance applies."""

from __future__ import annotations

from serving.errors import ConfigError
from serving.policies.chunked_prefill import ChunkedPrefill
from serving.policies.dispatch import LeastLoaded, PrefixAware, RoundRobin
from serving.policies.fcfs import PrefillFirst
from serving.policies.protocols import BatchPolicy, DispatchPolicy

BATCH_POLICIES: dict[str, type[ChunkedPrefill] | type[PrefillFirst]] = {
    "chunked-prefill": ChunkedPrefill,
    "prefill-first": PrefillFirst,
}
DISPATCH_POLICIES: dict[str, type[LeastLoaded] | type[PrefixAware] | type[RoundRobin]] = {
    "least-loaded": LeastLoaded,
    "prefix-aware": PrefixAware,
    "round-robin": RoundRobin,
}


def batch_policy(name: str, *, token_budget: int) -> BatchPolicy:
    """Batch policy by name.

    Raises:
        ConfigError: no policy has that name.
    """
    if name not in BATCH_POLICIES:
        raise ConfigError(f"batch policy {name!r} is unknown, choose from {sorted(BATCH_POLICIES)}")
    return BATCH_POLICIES[name](token_budget=token_budget)


def dispatch_policy(name: str) -> DispatchPolicy:
    """Dispatch policy by name, with its own fresh state.

    Raises:
        ConfigError: no policy has that name.
    """
    if name not in DISPATCH_POLICIES:
        raise ConfigError(
            f"dispatch policy {name!r} is unknown, choose from {sorted(DISPATCH_POLICIES)}"
        )
    return DISPATCH_POLICIES[name]()
