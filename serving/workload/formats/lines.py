"""Lines of a plain or gzip file, one at a time, with a cap on the length of each."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from serving.errors import TraceFormatError

LINE_BYTES_MAX = 1 << 20
HEAD_BYTES = 4096
BUFFER_BYTES = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"


def read_lines(path: Path) -> Iterator[str]:
    """Lines without their ends; bytes that are not UTF-8 come as U+FFFD.

    Memory stays at one buffer and one line, whatever the file holds.

    Raises:
        TraceFormatError: no such file, not a plain file, empty, binary, cut or damaged gzip,
            or a line beyond LINE_BYTES_MAX.
    """
    line_no = 0
    try:
        with _open(path) as handle:
            head = handle.peek(HEAD_BYTES)[:HEAD_BYTES]
            if not head:
                raise TraceFormatError(f"{path.name}: the file is empty; give a trace with rows")
            if b"\x00" in head:
                raise TraceFormatError(
                    f"{path.name}: binary data ({head[:8]!r} at the start), expected text or "
                    "gzip; give the trace as its origin publishes it (CSV or JSONL, UTF-8)"
                )
            while raw := handle.readline(LINE_BYTES_MAX + 1):
                line_no += 1
                if len(raw) > LINE_BYTES_MAX:
                    raise TraceFormatError(
                        f"{path.name}:{line_no}: the line is longer than {LINE_BYTES_MAX} bytes; "
                        "a trace has one request per line, check that this is one"
                    )
                yield raw.decode("utf-8", "replace").rstrip("\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise TraceFormatError(
            f"{path.name}:{line_no + 1}: cannot be read further ({error}); "
            "check the path, or fetch the file again if it was cut or damaged"
        ) from error


def _open(path: Path) -> io.BufferedReader:
    if not path.is_file():
        found = "not a plain file" if path.exists() else "no such file"
        raise TraceFormatError(f"{path.name}: {found} ({path}); give the path of a trace file")
    with path.open("rb") as handle:
        packed = handle.read(2) == GZIP_MAGIC
    if packed:
        unpacked = cast("IO[bytes]", gzip.open(path, "rb"))  # noqa: SIM115
        return io.BufferedReader(cast("io.RawIOBase", unpacked), BUFFER_BYTES)
    if path.suffix == ".gz" and path.stat().st_size > 0:
        raise TraceFormatError(
            f"{path.name}: named .gz, but it does not start with the gzip mark; "
            "fetch the file again or drop the suffix"
        )
    return io.BufferedReader(io.FileIO(path), BUFFER_BYTES)
