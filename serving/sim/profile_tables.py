"""Measured tables -> rows per kernel class. Knows file formats and filters, no formula.

Formats (CSV, optionally gzip, told apart by their columns): kernel times of aiconfigurator
(GEMM, attention, all-reduce) and layer times of LLMServingSim's profiler (dense, per sequence,
attention grid). Layer times belong to a model and a tensor split: the file name says so
(`layers_<gpu>_<model>_tp<t>_<kind>.csv`).

Held-out rule: the black fields of a checkerboard over the distinct values of a table's key
columns, so that both halves see every value of each column, but no shape twice.
Keys: (n, k) of GEMMs, (q_heads, kv_heads) of attention kernels, sizes in layer tables.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.errors import TraceFormatError
from serving.sim.profiles import MODELS, ModelProfile

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Columns = dict[str, Array]

FILTERS = {
    "gemm": "n >= 1024 and k >= 1024",
    "decode": "q_heads >= 4, batch <= 512, context <= 32768",
    "prefill": "new tokens >= 128",
    "elementwise": "all",
    "allreduce": "CUDA graph, 8 KiB to 1 GiB",
    "mixed": "chunk >= 256, 8 decodes or more, their context 256 to 4096",
}
GEMM_LAYERS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
SMALL_LAYERS = {"layernorm": 2, "rotary_emb": 1, "act_fn": 1, "qk_norm": 1}  # times a layer
LAYER_FILE = re.compile(r"layers_[^_]+_(?P<model>.+)_tp(?P<split>\d+)_[a-z_]+\.csv(\.gz)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Measurements of one kernel class; every array has shape [num_rows]."""

    sizes: Columns  # what the formula of the class takes
    seconds: Array
    is_used: Mask  # passes the filter of its class
    is_held_out: Mask

    def __len__(self) -> int:
        return len(self.seconds)


def read_tables(paths: Sequence[Path]) -> dict[str, Rows]:
    """Rows of all files by kernel class; files of one class are joined.

    Raises:
        TraceFormatError: a file that cannot be read, has no known columns or no model in its name.
    """
    parts: dict[str, list[Rows]] = {}
    for path in paths:
        for name, rows in _read(path):
            parts.setdefault(name, []).append(rows)
    return {name: _joined(rows) for name, rows in parts.items()}


def _read(path: Path) -> Iterable[tuple[str, Rows]]:
    columns, texts = _columns(path)
    names = set(columns) | set(texts)
    if {"m", "n", "k", "ms"} <= names:
        return [("gemm", _gemm(columns))]
    if {"batch_size", "new_tokens", "prefix_tokens", "q_heads", "kv_heads", "ms"} <= names:
        is_decode = bool((columns["new_tokens"] == 1).all())
        return [("decode", _decode(columns)) if is_decode else ("prefill", _prefill(columns))]
    if {"backend", "num_gpus", "bytes", "ms"} <= names:
        return [("allreduce", _allreduce(columns, texts["backend"]))]
    if {"layer", "tokens", "time_us"} <= names:
        return _dense(columns, texts["layer"], *_model_of(path))
    if {"layer", "sequences", "time_us"} <= names:
        return [("gemm", _lm_head(columns, texts["layer"], *_model_of(path)))]
    if {"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"} <= names:
        return _attention_grid(columns, *_model_of(path))
    raise TraceFormatError(
        f"{path.name} has columns {sorted(names)}, none of the known tables; expected one of "
        "m,n,k,ms / batch_size,new_tokens,prefix_tokens,q_heads,kv_heads,ms / "
        "backend,num_gpus,bytes,ms / layer,tokens,time_us / layer,sequences,time_us / "
        "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us"
    )


def _columns(path: Path) -> tuple[Columns, dict[str, list[str]]]:
    """Number columns and text columns of a CSV file."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            rows = list(reader)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TraceFormatError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise TraceFormatError(f"{path.name} has no rows; expected a CSV table with a header")
    columns: Columns = {}
    texts: dict[str, list[str]] = {}
    for name in reader.fieldnames or ():
        cells = [row[name] for row in rows]
        if name in ("backend", "layer"):
            texts[name] = cells
            continue
        columns[name] = _numbers(cells, path, name)
    return columns, texts


def _numbers(cells: Sequence[str | None], path: Path, name: str) -> Array:
    """A column; the header is line 1."""
    try:
        values = np.array([math.nan if cell is None else cell for cell in cells], dtype=np.float64)
        good = np.isfinite(values) & (values >= 0)
    except ValueError:
        good = np.array([_is_size(cell) for cell in cells])
    if not good.all():
        row = int(np.argmin(good))
        raise TraceFormatError(
            f"{path.name}:{row + 2}: column {name!r} is {cells[row] or ''!r}, expected a finite "
            "number of 0 or more; mend or delete the row"
        )
    return values


def _is_size(cell: str | None) -> bool:
    try:
        return 0.0 <= float(cell or "") < math.inf
    except ValueError:
        return False


def _model_of(path: Path) -> tuple[ModelProfile, int]:
    match = LAYER_FILE.search(path.name)
    if match is None or match["model"] not in MODELS or int(match["split"]) < 1:
        raise TraceFormatError(
            f"{path.name} holds layer times, but its name gives no model; expected "
            f"layers_<gpu>_<model>_tp<t>_<kind>.csv with a model of {sorted(MODELS)}"
        )
    return MODELS[match["model"]], int(match["split"])


def _rows(sizes: Columns, seconds: Array, is_used: Mask, *keys: Array) -> Rows:
    place = np.zeros(len(seconds), dtype=np.int64)
    for key in keys:
        place += np.unique(key, return_inverse=True)[1].reshape(-1)
    is_used = is_used & (seconds > 0)
    return Rows(sizes=sizes, seconds=seconds, is_used=is_used, is_held_out=place % 2 == 1)


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        sizes={name: np.concatenate([p.sizes[name] for p in parts]) for name in parts[0].sizes},
        seconds=np.concatenate([p.seconds for p in parts]),
        is_used=np.concatenate([p.is_used for p in parts]),
        is_held_out=np.concatenate([p.is_held_out for p in parts]),
    )


def _gemm(columns: Columns) -> Rows:
    n, k = columns["n"], columns["k"]
    sizes = {"num_rows": columns["m"], "num_columns": n, "depth": k}
    return _rows(sizes, columns["ms"] / 1e3, (n >= 1024) & (k >= 1024), n, k)


def _decode(columns: Columns) -> Rows:
    batch, q_heads = columns["batch_size"], columns["q_heads"]
    kv_heads = np.where(columns["kv_heads"] == 0, q_heads, columns["kv_heads"])
    context = columns["prefix_tokens"] + 1
    used = (q_heads >= 4) & (batch <= 512) & (context <= 32768)
    sizes = {"num_decodes": batch, "context_sum": batch * context, "kv_heads": kv_heads}
    return _rows(sizes, columns["ms"] / 1e3, used, q_heads, kv_heads)


def _prefill(columns: Columns) -> Rows:
    new, q_heads = columns["new_tokens"], columns["q_heads"]
    # A batch of equal chunks is one chunk with so many times the heads.
    heads = q_heads * columns["batch_size"]
    sizes = {"num_new": new, "num_cached": columns["prefix_tokens"], "q_heads": heads}
    return _rows(sizes, columns["ms"] / 1e3, new >= 128, q_heads, columns["kv_heads"])


def _allreduce(columns: Columns, backends: Sequence[str]) -> Rows:
    num_bytes, num_gpus = columns["bytes"], columns["num_gpus"]
    is_graph = np.array([name.endswith("graph") for name in backends])
    used = is_graph & (num_bytes >= 2**13) & (num_bytes <= 2**30)
    sizes = {"num_bytes": num_bytes, "num_gpus": num_gpus}
    return _rows(sizes, columns["ms"] / 1e3, used, num_bytes)


def _dense(
    columns: Columns, layers: Sequence[str], model: ModelProfile, split: int
) -> list[tuple[str, Rows]]:
    """GEMMs with their shapes, and the sum of the small kernels of one layer."""
    names, tokens, seconds = np.array(layers), columns["tokens"], columns["time_us"] / 1e6
    query, key_value = model.q_heads * model.head_size, model.kv_heads * model.head_size
    shapes = {
        "qkv_proj": ((query + 2 * key_value) / split, model.hidden),
        "o_proj": (model.hidden, query / split),
        "gate_up_proj": (2 * model.ffn / split, model.hidden),
        "down_proj": (model.hidden, model.ffn / split),
    }
    is_gemm = np.isin(names, GEMM_LAYERS)
    rows_of = [shapes[name] for name in names[is_gemm]]
    m = tokens[is_gemm]
    sizes = {
        "num_rows": m,
        "num_columns": np.array([n for n, _ in rows_of], dtype=np.float64),
        "depth": np.array([k for _, k in rows_of], dtype=np.float64),
    }
    gemm = _rows(sizes, seconds[is_gemm], np.ones(len(m), dtype=np.bool_), m)
    small_tokens = np.unique(tokens)
    small_s = np.zeros(len(small_tokens))
    for name, times in SMALL_LAYERS.items():
        is_it = names == name
        np.add.at(small_s, np.searchsorted(small_tokens, tokens[is_it]), times * seconds[is_it])
    small_sizes = {
        "num_tokens": small_tokens,
        "hidden": np.full(len(small_tokens), float(model.hidden)),
    }
    used = np.ones(len(small_s), dtype=np.bool_)
    return [("gemm", gemm), ("elementwise", _rows(small_sizes, small_s, used, small_tokens))]


def _lm_head(columns: Columns, layers: Sequence[str], model: ModelProfile, split: int) -> Rows:
    is_head = np.array([name == "lm_head" for name in layers])
    m = columns["sequences"][is_head]
    sizes = {
        "num_rows": m,
        "num_columns": np.full(len(m), model.vocabulary / split),
        "depth": np.full(len(m), float(model.hidden)),
    }
    used = np.ones(len(m), dtype=np.bool_)
    return _rows(sizes, columns["time_us"][is_head] / 1e6, used, m)


def _attention_grid(columns: Columns, model: ModelProfile, split: int) -> list[tuple[str, Rows]]:
    """Decode alone, prefill alone, and mixed batches with what their parts take alone."""
    chunk, cached = columns["prefill_chunk"], columns["kv_prefill"]
    num, context = columns["n_decode"], columns["kv_decode"]
    seconds = columns["time_us"] / 1e6
    q_heads, kv_heads = float(model.q_heads // split), float(model.kv_heads // split)
    i = (chunk == 0) & (num > 0)
    decode = _rows(
        {
            "num_decodes": num[i],
            "context_sum": num[i] * context[i],
            "kv_heads": np.full(int(i.sum()), kv_heads),
        },
        seconds[i],
        (num[i] <= 512) & (context[i] <= 32768),
        num[i],
        context[i],
    )
    j = (chunk > 0) & (num == 0)
    prefill = _rows(
        {
            "num_new": chunk[j],
            "num_cached": cached[j],
            "q_heads": np.full(int(j.sum()), q_heads),
        },
        seconds[j],
        chunk[j] >= 128,
        chunk[j],
        cached[j],
    )
    decode_s = dict(zip(zip(num[i], context[i], strict=True), seconds[i], strict=True))
    prefill_s = dict(zip(zip(chunk[j], cached[j], strict=True), seconds[j], strict=True))
    both = [
        place
        for place in np.flatnonzero((chunk > 0) & (num > 0))
        if (num[place], context[place]) in decode_s and (chunk[place], cached[place]) in prefill_s
    ]
    mixed = _rows(
        {
            "num_decodes": num[both],
            "heads_per_kv_head": np.full(len(both), q_heads / kv_heads),
            "decode_s": np.array([decode_s[num[p], context[p]] for p in both]),
            "prefill_s": np.array([prefill_s[chunk[p], cached[p]] for p in both]),
        },
        seconds[both],
        (chunk[both] >= 256) & (num[both] >= 8) & (context[both] >= 256) & (context[both] <= 4096),
        chunk[both],
        cached[both],
        num[both],
        context[both],
    )
    return [("decode", decode), ("prefill", prefill), ("mixed", mixed)]
