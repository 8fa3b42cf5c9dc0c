"""Text and Parquet tables -> columns, with errors that name the file, the line and the value."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rca.errors import DatasetError
from rca.incident import Column, IntArray
from rca.state import FloatArray

NO_IDENTIFIER = -1


def read_wide(path: Path) -> tuple[FloatArray, tuple[Column, ...], FloatArray]:
    """Read a wide table: `time` and one column per metric; empty cells are NaN.

    Returns:
        times [T] strictly ascending (rows of one stamp are merged, the last finite value wins),
        columns of length N, values [T, N].

    Raises:
        DatasetError: no `time`, doubled names, a cell that is no number, an unreadable file.
    """
    names, matrix = _parquet(path) if path.suffix == ".parquet" else _csv_matrix(path)
    if "time" not in names:
        raise DatasetError(f"{path}: no column 'time'; first columns are {', '.join(names[:3])}")
    if len(set(names)) < len(names):
        doubled = sorted({n for n in names if names.count(n) > 1})
        raise DatasetError(f"{path}: column {doubled[0]!r} appears twice; rename or drop one")
    place = names.index("time")
    times = matrix[:, place]
    if not len(times) or not np.isfinite(times).all():
        raise DatasetError(f"{path}: every row needs a time; {int((~np.isfinite(times)).sum())} "
                           f"of {len(times)} have none")  # fmt: skip
    order = np.argsort(times, kind="stable")
    times, matrix = times[order], np.delete(matrix[order], place, axis=1)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(times) > 0]))
    if len(starts) < len(times):
        matrix = _merge_rows(matrix, starts)
    columns = tuple(Column.parse(n) for k, n in enumerate(names) if k != place)
    return np.asarray(times[starts]), columns, matrix


def _merge_rows(matrix: FloatArray, starts: npt.NDArray[np.intp]) -> FloatArray:
    merged = matrix[starts].copy()
    group = np.searchsorted(starts, np.arange(len(matrix)), side="right") - 1
    for row, into in enumerate(group):
        np.copyto(merged[into], matrix[row], where=np.isfinite(matrix[row]))
    return merged


def _csv_matrix(path: Path) -> tuple[list[str], FloatArray]:
    rows = csv.reader(io.StringIO(read_text(path)))
    try:
        names = next(rows)
        cells = [row for row in rows if row]
    except (StopIteration, csv.Error) as error:
        raise DatasetError(f"{path}: no table ({error or 'it is empty'})") from error
    for line, row in enumerate(cells, start=2):
        if len(row) != len(names):
            raise DatasetError(
                f"{path}, line {line}: {len(row)} cells, the header has {len(names)}"
            )
    values = np.empty((len(cells), len(names)))
    for line, row in enumerate(cells):
        try:
            values[line] = [float(cell) if cell else np.nan for cell in row]
        except ValueError as error:
            bad = next(c for c in row if c and not _is_number(c))
            raise DatasetError(
                f"{path}, line {line + 2}: {bad!r} is no number; leave missing cells empty"
            ) from error
    values[~np.isfinite(values)] = np.nan
    return names, values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> tuple[list[str], FloatArray]:
    try:
        parquet: Any = import_module("pyarrow.parquet")  # an optional package
    except ImportError as error:
        raise DatasetError(f"{path}: reading Parquet needs pyarrow; pip install pyarrow") from error
    try:
        table = parquet.read_table(path)
        columns = [np.asarray(c.to_numpy(), dtype=float) for c in table.columns]
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: {error}") from error
    return list(table.column_names), np.stack(columns, axis=1)


def read_text(path: Path) -> str:
    """Whole file as text, unpacked where its name ends in .gz.

    Raises:
        DatasetError: unreadable, damaged or no UTF-8.
    """
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: {error}; the file is damaged or no UTF-8 text") from error


def read_columns(path: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Columns of a CSV file by name, as text.

    Raises:
        DatasetError: one is missing or a row has another number of cells.
    """
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        header = next(rows)
        cells = [row for row in rows if row]
    except (StopIteration, csv.Error) as error:
        raise DatasetError(f"{path}: no table ({error or 'it is empty'})") from error
    missing = [n for n in names if n not in header]
    if missing:
        raise DatasetError(f"{path}: no column {missing[0]!r}; the header is {', '.join(header)}")
    for line, row in enumerate(cells, start=2):
        if len(row) != len(header):
            raise DatasetError(
                f"{path}, row {line}: {len(row)} cells, the header has {len(header)}"
            )
    return {n: [row[header.index(n)] for row in cells] for n in names}


def floats(path: Path, name: str, fields: Mapping[str, list[str]]) -> FloatArray:
    """One column as numbers.

    Raises:
        DatasetError: a cell is no number.
    """
    try:
        return np.array(fields[name], dtype=float)
    except ValueError as error:
        bad = next(cell for cell in fields[name] if not _is_number(cell))
        raise DatasetError(f"{path}: {name} is {bad!r}, expected a number") from error


def identifiers(texts: list[str]) -> IntArray:
    """A number per identifier, the same in every file that spells it so; -1 for none."""
    known: dict[str, int] = {"": NO_IDENTIFIER, "-1": NO_IDENTIFIER}
    for text in texts:
        if text not in known:
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            known[text] = int.from_bytes(digest, "big") >> 1
    return np.array([known[text] for text in texts], dtype=np.int64)


def codes(texts: list[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Place of each text among the distinct ones, which come in order of appearance."""
    places: dict[str, int] = {}
    found = [places.setdefault(text, len(places)) for text in texts]
    return np.array(found, dtype=np.int64), tuple(places)
