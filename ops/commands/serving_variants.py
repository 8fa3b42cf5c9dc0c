"""Text of `--compare` to policies: "fcfs,chunked-prefill+round-robin,2048"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ops.reports.serving_page import VARIANTS_MAX
from serving.errors import ConfigError
from serving.policies import BATCH_POLICIES, DISPATCH_POLICIES
from serving.sim.world import Policies

# The name that papers use for vLLM's first scheduler.
ALIASES = {"fcfs": "prefill-first"}


def parse_policies(*, batch: str, dispatch: str, token_budget: int) -> Policies:
    """Policies of one run.

    Raises:
        ConfigError: an unknown name, or a negative chunk.
    """
    batch = ALIASES.get(batch, batch)
    faults = []
    if batch not in BATCH_POLICIES:
        known = sorted({*BATCH_POLICIES, *ALIASES})
        faults.append(f"--policy {batch!r} is unknown, choose from {', '.join(known)}")
    if dispatch not in DISPATCH_POLICIES:
        known = sorted(DISPATCH_POLICIES)
        faults.append(f"--dispatch {dispatch!r} is unknown, choose from {', '.join(known)}")
    if token_budget < 0:
        faults.append(f"--chunk {token_budget}: expected tokens > 0, or 0 for the policy's own")
    if faults:
        raise ConfigError("; ".join(faults))
    return Policies(batch=batch, dispatch=dispatch, token_budget=token_budget)


def parse_variants(text: str, base: Policies) -> list[Policies]:
    """What to compare; `base` alone when the text is empty.

    A chunk that was given for `base` holds for its own batch policy only: another policy keeps its
    default unless the variant names a chunk.

    Raises:
        ConfigError: an unknown name, the same variant twice, or too many of them.
    """
    if not text.strip():
        return [base]
    variants = [_variant(item.strip(), base) for item in text.split(",") if item.strip()]
    if len({variant.label for variant in variants}) < len(variants):
        raise ConfigError(f"--compare {text!r} names the same policies twice; leave one out")
    if not 1 <= len(variants) <= VARIANTS_MAX:
        raise ConfigError(
            f"--compare {text!r} names {len(variants)} variants, expected 1 to {VARIANTS_MAX}"
        )
    return variants


def check_caches(variants: Sequence[Policies], *, prefix_cache: bool) -> None:
    """Refuse dispatch by prefix where no instance keeps any.

    Raises:
        ConfigError: such a variant.
    """
    if not prefix_cache and any(variant.dispatch == "prefix-aware" for variant in variants):
        raise ConfigError(
            "dispatch prefix-aware sends a prompt to where its beginning is cached, but without "
            "--prefix-cache the instances keep nothing; add it, or take least-loaded"
        )


def labels_of(variants: Sequence[Policies]) -> list[str]:
    """How to call them: what they have in common is left out."""
    if len(variants) == 1:
        return [variant.label for variant in variants]
    if len({(variant.batch, variant.tokens_per_iteration) for variant in variants}) == 1:
        return [variant.dispatch for variant in variants]
    if len({variant.dispatch for variant in variants}) == 1:
        return [variant.label.removesuffix(f", {variant.dispatch}") for variant in variants]
    return [variant.label for variant in variants]


def _variant(item: str, base: Policies) -> Policies:
    chosen, has_chunk = base, False
    for part in (p.strip() for p in item.split("+")):
        name = ALIASES.get(part, part)
        if name in BATCH_POLICIES:
            budget = base.token_budget if name == base.batch and not has_chunk else 0
            chosen = replace(
                chosen, batch=name, token_budget=chosen.token_budget if has_chunk else budget
            )
        elif name in DISPATCH_POLICIES:
            chosen = replace(chosen, dispatch=name)
        elif name.isdecimal() and int(name) > 0:
            chosen, has_chunk = replace(chosen, token_budget=int(name)), True
        else:
            known = sorted({*BATCH_POLICIES, *ALIASES, *DISPATCH_POLICIES})
            raise ConfigError(
                f"--compare: {part!r} in {item!r} is neither a chunk in tokens nor one of "
                f"{', '.join(known)}"
            )
    return chosen
