"""Whole lines of a plain or gzip file, a block at a time, with a cap on the length of each."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from serving.errors import TraceFormatError

LINE_BYTES_MAX = 1 << 20
HEAD_BYTES = 4096
BLOCK_BYTES = 1 << 20  # larger arrays leave the caches, smaller ones cost more calls than work
NEWLINE = ord("\n")
PACKED_BYTES = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WBITS = 31  # a gzip header, and its checksum at the end


def read_blocks(path: Path) -> Iterator[bytes]:
    """Blocks of lines; every line of a block ends in a newline, also the file's last.

    Memory stays at one block and one line, whatever the file holds.

    Raises:
        TraceFormatError: no such file, not a plain file, empty, binary, cut or damaged gzip,
            or a line beyond LINE_BYTES_MAX.
    """
    num_lines = 0
    rest = b""  # the beginning of a line whose end lies in the next piece
    try:
        with _open(path) as handle:
            pieces = _pieces(handle, path)
            first_piece = next(pieces, b"")
            _refuse_binary(path.name, first_piece[:HEAD_BYTES])
            for piece in chain((first_piece,), pieces):
                end = piece.rfind(b"\n") + 1
                # Pieces are no longer than the cap: only the line begun before can be too long.
                first = len(rest) + (piece.find(b"\n") if end else len(piece))
                if first > LINE_BYTES_MAX:
                    raise TraceFormatError(
                        f"{path.name}:{num_lines + 1}: the line is longer than {LINE_BYTES_MAX} "
                        "bytes; a trace has one request per line, check that this is one"
                    )
                if end:
                    block = rest + piece[:end]
                    num_lines += count_lines(block)
                    yield block
                    rest = piece[end:]
                else:
                    rest += piece
    except (OSError, EOFError, zlib.error) as error:
        raise TraceFormatError(
            f"{path.name}:{num_lines + 1}: cannot be read further ({error}); "
            "check the path, or fetch the file again if it was cut or damaged"
        ) from error
    if rest:
        yield rest + b"\n"


def count_lines(block: bytes) -> int:
    """Line ends in a block; several times as fast as `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(block, dtype=np.uint8) == NEWLINE))


def line_text(raw: bytes) -> str:
    """One line without its end; bytes that are not UTF-8 come as U+FFFD."""
    return raw.decode("utf-8", "replace").rstrip("\r\n")


def _refuse_binary(name: str, head: bytes) -> None:
    if not head:
        raise TraceFormatError(f"{name}: the file is empty; give a trace with rows")
    if b"\x00" in head:
        raise TraceFormatError(
            f"{name}: binary data ({head[:8]!r} at the start), expected text or "
            "gzip; give the trace as its origin publishes it (CSV or JSONL, UTF-8)"
        )


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():
        found = "not a plain file" if path.exists() else "no such file"
        raise TraceFormatError(f"{path.name}: {found} ({path}); give the path of a trace file")
    return path.open("rb", buffering=0)


def _pieces(handle: IO[bytes], path: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked, at most BLOCK_BYTES a piece."""
    packed = handle.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    handle.seek(0)
    if packed:
        yield from _unpacked(handle)
        return
    if path.suffix == ".gz" and path.stat().st_size > 0:
        raise TraceFormatError(
            f"{path.name}: named .gz, but it does not start with the gzip mark; "
            "fetch the file again or drop the suffix"
        )
    while piece := handle.read(BLOCK_BYTES):
        yield piece


def _unpacked(handle: IO[bytes]) -> Iterator[bytes]:
    """The members of a gzip file; the gzip module takes a quarter longer for them."""
    member, packed = zlib.decompressobj(GZIP_WBITS), b""
    parts, missing = [], BLOCK_BYTES  # whole pieces, so that a short file fails before its rows
    while True:
        packed = packed or handle.read(PACKED_BYTES)
        if member.eof and packed:
            packed = packed.lstrip(b"\x00")  # zeros may fill the space behind a member
            if packed:
                member = zlib.decompressobj(GZIP_WBITS)
            continue
        at_end = not packed
        part = member.decompress(packed, missing)
        packed = member.unconsumed_tail or member.unused_data
        if at_end and not part:
            break
        parts.append(part)
        missing -= len(part)
        if not missing:
            yield b"".join(parts)
            parts, missing = [], BLOCK_BYTES
    if not member.eof:
        raise EOFError("the packed data end before their end mark")
    if parts:
        yield b"".join(parts)
