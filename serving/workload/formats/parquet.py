"""The requests table as Parquet, both ways; the columns are those of `requests_csv`.

Needs pyarrow, the extra `parquet`. Whoever does without it loses this format and nothing else.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import ConfigError, TraceFormatError
from serving.workload.formats.requests_csv import COLUMNS, IMAGES, KINDS, ORIGINS, STATUSES, TURN
from serving.workload.table import MODELS_MAX, NO_SESSION, Origin, RequestTable

SUFFIX = ".parquet"


def write_parquet(table: RequestTable, path: Path) -> None:
    """Write the table; an unknown latency and an absent session become nulls.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    pa, pq = _pyarrow(path)
    e2e_s, session = table.e2e_s, table.session_index
    ids = pa.nulls(len(table), pa.list_(pa.int64()))
    if table.prefix_block_tokens:
        offsets = pa.array(table.prefix_offsets, pa.int32())
        ids = pa.ListArray.from_arrays(offsets, pa.array(table.prefix_ids, pa.int64()))
    columns = {
        "trace_id": pa.repeat(table.trace_id, len(table)),
        "arrival_s": pa.array(table.arrival_s, pa.float64()),
        "kind": _names(pa, table.kind, list(KINDS)),
        "model": _names(pa, table.model, list(table.models)),
        "num_prompt_tokens": pa.array(table.num_prompt_tokens, pa.int32()),
        "num_output_tokens": pa.array(table.num_output_tokens, pa.int32()),
        "status": _names(pa, table.status, list(STATUSES)),
        "session_index": pa.array(session, pa.int64(), mask=session == NO_SESSION),
        "e2e_s": pa.array(e2e_s, pa.float32(), mask=np.isnan(e2e_s)),
        "prefix_block_tokens": pa.repeat(pa.scalar(table.prefix_block_tokens, pa.int32()),
                                         len(table)),
        "prefix_ids": ids,
        "origin": pa.repeat(table.origin.value, len(table)),
    }  # fmt: skip
    assert tuple(columns) == COLUMNS, tuple(columns)
    if len(table.turn):
        columns[TURN] = pa.array(table.turn, pa.int32())
    if len(table.num_images):
        columns[IMAGES] = pa.array(table.num_images, pa.int16())
    pq.write_table(pa.table(columns), path)


def read_parquet(path: Path) -> RequestTable:
    """Read what `write_parquet` or another writer of the same columns wrote.

    Raises:
        ConfigError: pyarrow is not installed.
        TraceFormatError: no such file, not Parquet, or a column or value that is not as it must be.
    """
    pa, pq = _pyarrow(path)
    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise TraceFormatError(
            f"{path.name}: no Parquet file ({str(error).splitlines()[0]}); give one, or a CSV"
        ) from error
    missing = [name for name in COLUMNS if name not in found.column_names]
    if missing or not found.num_rows:
        seen = f"no column {', '.join(missing)}" if missing else "no row"
        raise TraceFormatError(
            f"{path.name}: {seen}; the columns of requests are {', '.join(COLUMNS)}"
        )
    try:
        table = _table(pa, path.name, found.combine_chunks())
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TraceFormatError(
            f"{path.name}: a column has values of another type ({error}); convert it"
        ) from error
    table.check()
    return table


def _table(pa: Any, name: str, found: Any) -> RequestTable:
    block_tokens = _one(name, found, "prefix_block_tokens")
    models, model = _codes(name, found, "model", None)
    if len(models) > MODELS_MAX:
        raise TraceFormatError(
            f"{name}: column 'model' has {len(models)} different values, expected at most "
            f"{MODELS_MAX}; is it another column?"
        )
    ids, offsets = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if block_tokens:
        lists = found.column("prefix_ids").cast(pa.list_(pa.int64())).combine_chunks()
        _full(name, "prefix_ids", lists)
        ids = _numbers(name, "prefix_ids", lists.flatten(), np.int64)
        counts = np.asarray(lists.value_lengths().to_numpy(zero_copy_only=False))
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    small: dict[str, NDArray[Any]] = {
        column: _column(name, found, column, kind, np_kind)
        for column, kind, np_kind in (
            (TURN, pa.int32(), np.int32), (IMAGES, pa.int16(), np.int16),
        )
        if column in found.column_names
    }  # fmt: skip
    return RequestTable(
        trace_id=_one(name, found, "trace_id"),
        arrival_s=_column(name, found, "arrival_s", pa.float64(), np.float64),
        num_prompt_tokens=_column(name, found, "num_prompt_tokens", pa.int32(), np.int32),
        num_output_tokens=_column(name, found, "num_output_tokens", pa.int32(), np.int32),
        kind=_codes(name, found, "kind", list(KINDS))[1],
        model=model,
        models=tuple(models),
        status=_codes(name, found, "status", list(STATUSES))[1],
        session_index=_nullable(
            found.column("session_index").cast(pa.int64()), NO_SESSION, np.int64
        ),
        e2e_s=_nullable(found.column("e2e_s").cast(pa.float32()), np.nan, np.float32),
        prefix_block_tokens=int(block_tokens),
        prefix_ids=ids,
        prefix_offsets=offsets,
        origin=Origin(_known(name, "origin", _one(name, found, "origin"), list(ORIGINS))),
        **small,
    )


def _pyarrow(path: Path) -> tuple[Any, Any]:
    """The library, imported here since few need it and it is large."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path.name}: Parquet needs pyarrow, which is not installed; "
            "pip install -e '.[parquet]' in the clone of midwatch, or use a CSV file"
        ) from error


def _names(pa: Any, codes: NDArray[Any], names: list[str]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names))


def _one(name: str, found: Any, column: str) -> Any:
    """The value that a column must have in every row."""
    values = found.column(column).unique().to_pylist()
    if len(values) != 1 or values[0] is None:
        raise TraceFormatError(
            f"{name}: column {column!r} holds {values[:3]}, expected one value; "
            "write one file per trace"
        )
    return values[0]


def _known(name: str, column: str, value: Any, names: list[str]) -> Any:
    if value not in names:
        raise TraceFormatError(
            f"{name}: column {column!r} holds {value!r}, expected one of {', '.join(names)}"
        )
    return value


def _codes(
    name: str, found: Any, column: str, names: list[str] | None
) -> tuple[list[str], NDArray[np.uint8]]:
    """The names, by first appearance unless given, and the code of each row."""
    encoded = found.column(column).combine_chunks()
    encoded = encoded if hasattr(encoded, "dictionary") else encoded.dictionary_encode()
    _full(name, column, encoded)
    values = encoded.dictionary.to_pylist()
    known = values if names is None else names
    index = np.array([known.index(_known(name, column, v, known)) for v in values], dtype=np.int64)
    codes = index[encoded.indices.to_numpy(zero_copy_only=False)]
    return known, np.minimum(codes, MODELS_MAX - 1).astype(np.uint8)


def _column(name: str, found: Any, column: str, kind: Any, np_kind: type) -> NDArray[Any]:
    return _numbers(name, column, found.column(column).cast(kind), np_kind)


def _numbers(name: str, column: str, values: Any, np_kind: type) -> NDArray[Any]:
    _full(name, column, values)
    return np.array(values.to_numpy(), dtype=np_kind)


def _nullable(values: Any, absent: float, np_kind: type) -> NDArray[Any]:
    return np.array(values.fill_null(np_kind(absent)).to_numpy(), dtype=np_kind)


def _full(name: str, column: str, values: Any) -> None:
    if values.null_count:
        raise TraceFormatError(
            f"{name}: column {column!r} lacks {values.null_count} values; fill or drop those rows"
        )
