"""Wide tables, CSV or Parquet: `time` and one column per `<owner>_<metric>`.

What can be mended without inventing a value is mended and told; the rest is refused. A missing
cell stays missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rca.errors import DatasetError
from rca.incident import Column
from rca.state import FloatArray
from rca.tables import cells_of, header_of, is_number, read_bytes, seen, text_of, unpacked

TIME_NAMES = ("time", "timestamp")
MEASURABLE_MAX = 1e100  # beyond it stands what some program writes for "no value"
CELLS_MAX = 2**26  # 512 MB of numbers
_MISSING = frozenset({"", "nan", "null", "none", "na", "n/a", "nil", "-"})
_PARQUET = b"PAR1"
# Where a number of seconds would lie beyond the year 5138, it counts something smaller.
_UNITS = ((1e17, 1e-9, "nanoseconds"), (1e14, 1e-6, "microseconds"), (1e11, 1e-3, "milliseconds"))
_SHOWN_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """A wide table.

    Attributes:
        times_s: strictly ascending, shape [T].
        columns: length N.
        values: NaN missing, shape [T, N].
        notes: what was mended, one sentence each.
    """

    times_s: FloatArray
    columns: tuple[Column, ...]
    values: FloatArray
    notes: tuple[str, ...] = ()


def read_wide(path: Path, *, raw: bytes | None = None) -> Wide:
    """Read a wide table.

    Rows are sorted and those of one stamp merged (the last finite value wins); a row without a
    time and a last line that was cut off are left out; times may be dates or milliseconds.

    Args:
        raw: content, if it does not come from `path`, which then only names it.

    Raises:
        DatasetError: no `time`, no other column, doubled names, a cell that is no number, an
            unreadable file, or more cells than fit.
    """
    raw = read_bytes(path) if raw is None else unpacked(path, raw)
    notes: list[str] = []
    parquet = raw.startswith(_PARQUET) or path.suffix == ".parquet"
    names, times, values = _parquet(path, raw) if parquet else _csv(path, raw, notes)
    times = _in_seconds(times, notes)
    beyond = np.abs(values) > MEASURABLE_MAX
    if beyond.any():
        notes.append(f"{int(beyond.sum())} cells are infinite or as good as: taken as missing")
        values[beyond] = np.nan
    times, values = _in_order(path, times, values, notes)
    columns = tuple(Column.parse(name) for name in names)
    nobody = [str(c.metric) for c in columns if not c.owner]
    if nobody and len(nobody) < len(columns):
        notes.append(f"{len(nobody)} columns name no service ({_some(nobody)}): left out")
    return Wide(times_s=times, columns=columns, values=values, notes=tuple(notes))


def _csv(path: Path, raw: bytes, notes: list[str]) -> tuple[list[str], FloatArray, FloatArray]:
    text = _whole_lines(text_of(path, raw), notes)
    _time_column(path, header_of(text), [])  # before rows are counted against it
    header, cells = cells_of(path, text)
    place = _time_column(path, header, notes)
    kept = _metric_columns(path, header, place)
    if len(cells) * len(header) > CELLS_MAX:
        raise DatasetError(
            f"{path}: {len(cells)} rows and {len(header)} columns make more than {CELLS_MAX} "
            "cells; cut it to the time around the incident"
        )
    matrix = np.empty((len(cells), len(header)))
    for row, (line, texts) in enumerate(cells):
        stamp, texts[place] = texts[place], ""
        try:
            matrix[row] = [float(cell) if cell else np.nan for cell in texts]
        except ValueError:
            matrix[row] = [_number(path, line, header[n], cell) for n, cell in enumerate(texts)]
        matrix[row, place] = _moment(path, line, stamp)
    return [header[n] for n in kept], matrix[:, place].copy(), matrix[:, kept]


def _whole_lines(text: str, notes: list[str]) -> str:
    """The text without a last line that somebody was still writing."""
    body, newline, last = text.rstrip("\r\n").rpartition("\n")
    cut = not text.endswith("\n") and last.count(",") < body.partition("\n")[0].count(",")
    if newline and cut and '"' not in last:
        notes.append(f"the last line ends after {seen(last)}: left out")
        return body + newline
    return text


def _time_column(path: Path, header: Sequence[str], notes: list[str]) -> int:
    for name in TIME_NAMES:
        for place, one in enumerate(header):
            if one.lower() == name:
                if one != TIME_NAMES[0]:
                    notes.append(f"column {one!r} is taken as 'time'")
                return place
    step = "name the column of seconds 'time'"
    if path.suffix == ".json":
        step = "give the folder, or its table"
    for other, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and other in header[0]:
            step = f"separate cells by commas, not by {word}"
    raise DatasetError(f"{path}: no column 'time' in {seen(', '.join(header))}; {step}")


def _metric_columns(path: Path, header: Sequence[str], place: int) -> list[int]:
    """Columns beside the time; one without a name is a row number that some program added."""
    kept = [n for n, name in enumerate(header) if n != place and name]
    if not kept:
        raise DatasetError(
            f"{path}: no column beside the time; add one per metric, named <service>_<metric>"
        )
    names = [header[n] for n in kept]
    if len(set(names)) < len(names):
        doubled = min(n for n in set(names) if names.count(n) > 1)
        raise DatasetError(f"{path}: column {doubled!r} appears twice; rename or drop one")
    return kept


def _number(path: Path, line: int, name: str, cell: str) -> float:
    word = cell.strip()
    if word.lower() in _MISSING:
        return float("nan")
    if not is_number(word):
        raise DatasetError(
            f"{path}, line {line}, column {seen(name)}: {seen(cell)} is no number; "
            "leave missing cells empty"
        )
    return float(word)


def _moment(path: Path, line: int, cell: str) -> float:
    """A time as seconds, a date without a zone taken as UTC; NaN where there is none."""
    word = cell.strip()
    if word.lower() in _MISSING:
        return float("nan")
    if is_number(word):
        return float(word)
    try:
        moment = datetime.fromisoformat(word)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise DatasetError(
            f"{path}, line {line}: time is {seen(cell)}, expected seconds or a date such as "
            "2026-01-02T03:04:05Z; mend the line"
        ) from None


def _parquet(path: Path, raw: bytes) -> tuple[list[str], FloatArray, FloatArray]:
    try:
        arrow: Any = import_module("pyarrow")  # an optional package
        parquet: Any = import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"{path}: Parquet needs pyarrow, which is not installed; "
            "pip install -e '.[parquet]' in the clone of midwatch, or use a CSV file"
        ) from error
    try:
        table = parquet.read_table(arrow.BufferReader(raw))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: {_line(error)}; the file is damaged, copy it again") from error
    header = [str(name) for name in table.column_names]
    place = _time_column(path, header, [])
    kept = _metric_columns(path, header, place)
    found = [_numbers(path, name, column)
             for name, column in zip(header, table.columns, strict=True)]  # fmt: skip
    return [header[n] for n in kept], found[place], np.stack([found[n] for n in kept], axis=1)


def _numbers(path: Path, name: str, column: Any) -> FloatArray:
    """A column as numbers, moments as seconds since the epoch."""
    try:
        if str(column.type).startswith(("timestamp", "date")):
            moments = column.cast("timestamp[us]").to_numpy().astype("datetime64[us]")
            missing = np.isnat(moments)
            return np.where(missing, np.nan, moments.astype(np.int64) / 1e6)
        return np.array(column.cast("float64").to_numpy(), dtype=float)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise DatasetError(
            f"{path}: column {seen(name)} has type {column.type}, expected numbers; {_line(error)}"
        ) from error


def _in_seconds(times: FloatArray, notes: list[str]) -> FloatArray:
    finite = times[np.isfinite(times)]
    for least, factor, unit in _UNITS:
        if len(finite) and float(np.median(finite)) > least:
            notes.append(f"times are {unit}: taken as seconds")
            return times * factor
    return times


def _in_order(
    path: Path, times: FloatArray, values: FloatArray, notes: list[str]
) -> tuple[FloatArray, FloatArray]:
    """Rows with a time, ascending, one per stamp."""
    if not len(times):
        raise DatasetError(f"{path}: a header and no rows; check what wrote it")
    stamped = np.isfinite(times)
    if not stamped.any():
        raise DatasetError(f"{path}: none of {len(times)} rows has a time; fill the column 'time'")
    if not stamped.all():
        notes.append(f"{int((~stamped).sum())} of {len(times)} rows have no time: left out")
        times, values = times[stamped], values[stamped]
    if (np.diff(times) < 0).any():
        notes.append("rows were not in order of time: sorted")
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(times) > 0]))
    if len(starts) < len(times):
        notes.append(f"{len(times) - len(starts)} rows repeat a time: merged, the last value wins")
        values = _merge_rows(values, starts)
    return np.asarray(times[starts]), values


def _merge_rows(matrix: FloatArray, starts: npt.NDArray[np.intp]) -> FloatArray:
    merged = matrix[starts].copy()
    group = np.searchsorted(starts, np.arange(len(matrix)), side="right") - 1
    for row, into in enumerate(group):
        np.copyto(merged[into], matrix[row], where=np.isfinite(matrix[row]))
    return merged


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN_MAX]) + (", ..." if len(names) > _SHOWN_MAX else "")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
