"""Append-only journal as JSON lines on disk, durable line by line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from ops.encode import to_json_line, to_plain
from ops.errors import JournalError
from ops.state import Decision


def decision_to_dict(decision: Decision) -> dict[str, Any]:
    """Plain data of one decision: entities as text, floats with six digits."""
    plain: dict[str, Any] = to_plain(decision)
    return plain


class FileJournal:
    """Journal in one file. A line is on disk before `append` returns.

    Opening drops a torn last line, which only a crash in the middle of a write leaves behind: its
    decision had not taken effect.
    """

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        """Open `path` for appending.

        Args:
            sync: force each line to the disk; only replays of a simulated world may go without.

        Raises:
            JournalError: the file cannot be opened or holds a broken line before its last.
        """
        self.path, self._sync = path, sync
        _check_regular(path)
        try:
            if path.exists():
                _drop_torn_line(path)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise JournalError(
                f"journal {path} cannot be opened: {error}; choose a folder that can be written"
            ) from error

    def append(self, decision: Decision) -> None:
        """Write one decision durably.

        Raises:
            JournalError: the disk refuses; nothing of the decision may take effect.
        """
        line = to_json_line(decision)
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes were written")
            if self._sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(
                f"journal {self.path} cannot be written: {error}; free space and start again"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalContent:
    """What a journal file holds."""

    entries: tuple[dict[str, Any], ...]
    torn: bytes = b""  # a last line that a crash cut off; it is not among the entries


def read_journal(path: Path) -> JournalContent:
    """Entries of a journal, oldest first; a torn last line is dropped and reported.

    Raises:
        JournalError: the file cannot be read, or a line before the last is broken.
    """
    _check_regular(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise JournalError(
            f"journal {path} cannot be read: {error}; check the path and its rights"
        ) from error
    whole, torn = _split_torn(raw)
    entries = []
    for number, line in enumerate(whole.splitlines(), start=1):
        entry = _parse(line)
        if entry is None:
            raise JournalError(
                f"{path}:{number}: {line[:60]!r} is not a JSON object; the file was changed after "
                "it was written, restore it from a copy"
            )
        entries.append(entry)
    return JournalContent(entries=tuple(entries), torn=torn)


def _check_regular(path: Path) -> None:
    """Refuse what may never end or cannot be cut back: devices, pipes, folders."""
    if path.exists() and not path.is_file():
        raise JournalError(f"journal {path} is no regular file; give the path of a file")


def _split_torn(raw: bytes) -> tuple[bytes, bytes]:
    """Whole lines, and what follows the last line feed."""
    end = raw.rfind(b"\n") + 1
    return raw[:end], raw[end:]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


def _drop_torn_line(path: Path) -> None:
    content = read_journal(path)
    if content.torn:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - len(content.torn))
            os.fsync(file.fileno())
