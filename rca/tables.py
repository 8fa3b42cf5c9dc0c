"""Files -> text and rows of cells, with errors that name the file, the line and the value."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np

from rca.errors import DatasetError
from rca.incident import IntArray
from rca.state import FloatArray

NO_IDENTIFIER = -1
FILE_BYTES_MAX = 1 << 30  # unpacked; a small archive may hold a hundred times its size
_GZIP = b"\x1f\x8b"
_PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"PK\x03\x04": "zip"}
_WIDE_TEXT = (b"\xff\xfe", b"\xfe\xff")
_SEEN_CHARS = 40


def read_bytes(path: Path) -> bytes:
    """A whole file, unpacked where it is gzip, whatever its name says.

    Raises:
        DatasetError: unreadable, damaged, packed otherwise or larger than fits.
    """
    try:
        with path.open("rb") as file:
            return unpacked(path, file.read(FILE_BYTES_MAX + 1))
    except FileNotFoundError as error:
        raise DatasetError(f"{path} does not exist; check its name") from error
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror or error}; check its rights"
        ) from error


def unpacked(path: Path, raw: bytes) -> bytes:
    """Content as it is, or what the gzip archive holds that it is; `path` names it.

    Raises:
        DatasetError: damaged, packed otherwise or larger than fits.
    """
    for magic, name in _PACKED.items():
        if raw.startswith(magic):
            raise DatasetError(f"{path} is packed as {name}; unpack it, or pack it as gzip")
    if raw.startswith(_GZIP):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as archive:
                raw = archive.read(FILE_BYTES_MAX + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DatasetError(f"{path}: {error}; the archive is damaged, copy it again") from error
    if len(raw) > FILE_BYTES_MAX:
        raise DatasetError(f"{path} holds more than {FILE_BYTES_MAX} bytes; cut it to the incident")
    return raw


def text_of(path: Path, raw: bytes) -> str:
    """Bytes as UTF-8 text.

    Raises:
        DatasetError: empty, binary, or text of another encoding.
    """
    if raw.startswith(_WIDE_TEXT):
        raise DatasetError(f"{path} is UTF-16 text; save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{path}, line {line}: byte {raw[error.start]:#04x} is no UTF-8 text; "
            "save it as UTF-8, or give the right file"
        ) from error
    if not text.strip():
        raise DatasetError(f"{path} is empty; check what wrote it")
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise DatasetError(f"{path}, line {line}: a zero byte, so it is binary; give a text file")
    return text


def read_text(path: Path) -> str:
    """Whole file as text, unpacked where it is gzip.

    Raises:
        DatasetError: unreadable, damaged or no UTF-8.
    """
    return text_of(path, read_bytes(path))


def header_of(text: str) -> list[str]:
    """Cells of the first line that is not blank, as far as they can be read."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        return [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error:
        return []


def cells_of(path: Path, text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and every other row that is not blank with the number of its first line.

    Raises:
        DatasetError: quotes or cells that no table has, or rows of another length.
    """
    rows = csv.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    cells: list[tuple[int, list[str]]] = []
    line = 0
    try:
        for row in rows:
            first, line = line + 1, rows.line_num
            if not row:
                continue
            if not header:
                header = [name.strip() for name in row]
            elif len(row) == len(header):
                cells.append((first, row))
            else:
                _refuse_row(path, first, row, header, quoted=line > first)
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {line + 1}: {error}; is this a table? Look for a quote that is "
            "not closed"
        ) from error
    return header, cells


def _refuse_row(
    path: Path, line: int, row: list[str], header: list[str], *, quoted: bool
) -> NoReturn:
    step = "close the quote" if quoted else "mend or remove the line"
    raise DatasetError(
        f"{path}, line {line}: {len(row)} cells beginning {seen(','.join(row))}, the header has "
        f"{len(header)}; {step}"
    )


def read_columns(path: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Columns of a CSV file by name, as text.

    Raises:
        DatasetError: one is missing or a row has another number of cells.
    """
    header, cells = cells_of(path, read_text(path))
    missing = [n for n in names if n not in header]
    if missing:
        raise DatasetError(
            f"{path}: no column {missing[0]!r}, the header is {seen(', '.join(header))}; "
            f"expected {', '.join(names)}"
        )
    places = {name: header.index(name) for name in names}
    return {name: [row[place] for _, row in cells] for name, place in places.items()}


def floats(path: Path, name: str, fields: Mapping[str, list[str]]) -> FloatArray:
    """One column as numbers; an empty cell is NaN.

    Raises:
        DatasetError: a cell is no number.
    """
    try:
        return np.array(fields[name], dtype=float)
    except ValueError:
        pass  # an empty cell, most often
    try:
        return np.array([cell.strip() or "nan" for cell in fields[name]], dtype=float)
    except ValueError as error:
        row = next(k for k, cell in enumerate(fields[name]) if cell.strip() and not is_number(cell))
        raise DatasetError(
            f"{path}, row {row + 2}: {name} is {seen(fields[name][row])}, expected a number; "
            "mend the row, or leave the cell empty"
        ) from error


def is_number(cell: str) -> bool:
    """Whether Python reads the text as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def seen(text: str) -> str:
    """A value as it stands in a message."""
    return repr(text) if len(text) <= _SEEN_CHARS else f"{text[:_SEEN_CHARS]!r}..."


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
