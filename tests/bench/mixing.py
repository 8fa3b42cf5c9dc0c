"""What decode attention takes beside prefill chunks in measured layer tables, over alone.

Of each mixed batch (mixed - the same chunk alone) / (the same decodes alone): 1 means that the
parts add up. Used by bench_cost_model.
"""

from __future__ import annotations

import csv
import gzip
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

DECODES_MIN, CONTEXTS = 8, (256.0, 4096.0)  # as the filter of the fit's mixed class
CHUNKS = tuple(2.0**p for p in range(4, 12))
BESIDE = 32.0  # the chunk beside which contexts are compared


class Mixed(NamedTuple):
    """One batch of the table; tokens, and the factor on its decode attention."""

    chunk: float
    num_decodes: float
    context: float
    factor: float


def read_mixed(path: Path) -> list[Mixed]:
    """Batches of the table whose two parts were also measured alone."""
    names = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")
    with gzip.open(path, "rt", newline="") as lines:
        rows = [[float(row[name]) for name in names] for row in csv.DictReader(lines)]
    prefill = {(chunk, cached): us for chunk, cached, num, _, us in rows if not num}
    decode = {(num, context): us for chunk, _, num, context, us in rows if not chunk}
    return [
        Mixed(chunk, num, context, (us - prefill[chunk, cached]) / decode[num, context])
        for chunk, cached, num, context, us in rows
        if chunk and num and (chunk, cached) in prefill and (num, context) in decode
    ]


def mixing(tables: list[Path]) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Factors by chunk, and by the decodes' context beside one small chunk, of each table."""
    found = {}
    for path in tables:
        counted = [
            row
            for row in read_mixed(path)
            if row.num_decodes >= DECODES_MIN and CONTEXTS[0] <= row.context <= CONTEXTS[1]
        ]
        beside = [row for row in counted if row.chunk == BESIDE]
        contexts = sorted({row.context for row in beside})
        name = path.name.removeprefix("layers_").removesuffix("_attention.csv.gz")
        found[name] = {
            "by_chunk": [summary("chunk", c, counted, lambda row: row.chunk) for c in CHUNKS],
            "by_context_beside_32": [
                summary("context", c, beside, lambda row: row.context) for c in contexts
            ],
        }
        tell(name, found[name])
    return found


def summary(
    name: str, value: float, rows: list[Mixed], of: Callable[[Mixed], float]
) -> dict[str, float]:
    factors = [row.factor for row in rows if of(row) == value]
    return {
        name: int(value),
        "num_rows": len(factors),
        "factor_median": round(statistics.median(factors), 3),
        "slower_ratio": round(sum(factor > 1 for factor in factors) / len(factors), 3),
    }


def tell(name: str, found: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n{name}: decode attention beside prefill over alone, {DECODES_MIN} decodes or more of "
          f"{CONTEXTS[0]:.0f} to {CONTEXTS[1]:.0f} tokens")  # fmt: skip
    titles = ("beside a chunk of", "beside a chunk of 32, contexts of")
    for title, rows in zip(titles, found.values(), strict=True):
        for row in rows:
            size, num, factor, slower = row.values()
            print(f"  {title} {size:>5}: median {factor:.2f}, slower in {100 * slower:.0f} % "
                  f"of {num}")  # fmt: skip
