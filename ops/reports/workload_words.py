"""What differs between two workloads in words, and what it does to a simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ops.reports import words
from serving.workload.fidelity import Aspect, Verdict

DAY_S = 86_400.0

# What an aspect bears on; looked up by its name, or by the first word of it.
MATTERS = {
    "mean rate": "Every queue hangs on it: bring both to one rate before comparing anything else.",
    "rate": "Peaks come elsewhere: capacity at the peak and autoscaling do not carry over, "
    "latencies at a steady rate do.",
    "burstiness": "Queues and p99 of the first token grow with it; means do less.",
    "gaps": "Short queues and the first tokens of a burst depend on it; means do less.",
    "Fano 1 s": "Queues of seconds and the first token's p99 grow with it.",
    "Fano 10 s": "Queues grow with it and preemptions follow.",
    "Fano 60 s": "Autoscaling and the fullest KV memory follow it.",
    "mix": "Dispatch by model and capacity per model depend on it.",
    "prompt": "Prefill time, first tokens and KV memory follow the prompt.",
    "output": "Decode time, batch sizes and KV memory follow the output.",
    "output given prompt": "KV memory is held by long prompts with long outputs together; rates of "
    "tokens do not change.",
    "turns": "Prefix caches and affinity to an instance work by it; nothing else does.",
    "think time": "It decides what a prefix cache still holds; nothing else hangs on it.",
    "failures": "Retries, and tokens never made, follow it.",
    "failures in a row": "Retry storms need runs of failures; a mean share does not show them.",
    "prefix hits": "Prefill work saved by a prefix cache follows it; without one it is harmless.",
}


OF_THE_RATE = "At another rate the same bursts have another height: mend the mean rate first."


def difference(aspect: Aspect) -> str:
    """What differs, A against B, and whether it matters; one line of plain sentences."""
    name = aspect.name
    matters = MATTERS.get(name) or MATTERS.get(name.partition(",")[0]) or MATTERS["rate"]
    return f"{_what(aspect)} {matters}"


def differences(aspects: Sequence[Aspect]) -> list[tuple[str, str]]:
    """Name and sentences of each aspect that is apart."""
    apart = [a for a in aspects if a.verdict == Verdict.DIFFERENT]
    found = [(a.name, difference(a)) for a in apart]
    fanos = [k for k, a in enumerate(apart) if a.name.startswith("Fano")]
    if fanos and apart[0].name == "mean rate":
        name, text = found[fanos[0]]
        found[fanos[0]] = (name, f"{text} {OF_THE_RATE}")
    return found


def repeated(fitted_s: float, asked_s: float | None) -> list[str]:
    """What to know of a generated trace that is longer than what was fitted."""
    if asked_s is None or asked_s <= 1.01 * fitted_s:
        return []
    told = f"the model holds {words.span(fitted_s)}; its rates repeat to fill {words.span(asked_s)}"
    if fitted_s < DAY_S:
        told += ", so it has no day and night"
    return [told]


def aspect_lines(aspects: Sequence[Aspect], *, names: tuple[str, str]) -> list[str]:
    """The comparison as a table of text."""
    lines = [
        f"A is {names[0]}, B is {names[1]}",
        f"{'aspect':<20}{'A':>9}{'B':>9}{'figure':>9}{'bound':>7}  {'':<10} the figure is",
    ]
    for aspect in aspects:
        a, b, figure, bound = (
            "-" if math.isnan(number) else f"{number:.3g}"
            for number in (aspect.reference, aspect.candidate, aspect.figure, aspect.bound)
        )
        lines.append(
            f"{aspect.name:<20}{a:>9}{b:>9}{figure:>9}{bound:>7}  {aspect.verdict.value:<10} "
            f"{aspect.meaning}"
        )
    return lines


def unknown(aspects: Sequence[Aspect]) -> str:
    """Which aspects could not be compared; empty when all could."""
    names = [a.name for a in aspects if a.verdict == Verdict.UNKNOWN]
    return (
        f"Not compared, since one of the two has too little to show: {', '.join(names)}."
        if names
        else ""
    )


def _what(aspect: Aspect) -> str:
    a, b = words.number(aspect.reference), words.number(aspect.candidate)
    share = f"{aspect.figure:.0%}"
    if aspect.name == "mean rate":
        ratio = aspect.candidate / aspect.reference
        return f"B sends {b} requests/s, A {a}: {words.number(ratio)} times as many."
    if aspect.name == "mix":
        return f"{share} of the requests go to another model or kind."
    if aspect.name.startswith("rate"):
        return f"{share} of the requests come at another time."
    if aspect.name == "burstiness":
        more = "more" if aspect.candidate > aspect.reference else "less"
        return f"Gaps spread {more}: coefficient of variation {b} against {a}."
    if aspect.name.startswith("Fano"):
        more = "more" if aspect.candidate > aspect.reference else "less"
        return (
            f"Counts in {aspect.name[5:]} vary {more}: their variance is {b} times their mean, "
            f"against {a}."
        )
    if aspect.name in ("prompt", "output"):
        return f"The median is {b} tokens against {a}; at some length {share} more lie below it."
    if aspect.name == "output given prompt":
        return f"At equal prompts outputs are apart by {share} of the requests."
    if aspect.name == "turns":
        return f"A session has {b} turns against {a} in the mean."
    if aspect.name == "think time":
        return f"The median time to the next turn is {b} s against {a} s."
    if aspect.name == "gaps":
        return f"The median gap is {b} of its window's mean against {a}."
    return f"{_ratio(aspect.candidate)} against {_ratio(aspect.reference)}."


def _ratio(value: float) -> str:
    return words.quantity(value, "ratio")
