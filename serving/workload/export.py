"""Requests tables written as the public traces are, so that other tools can read them.

What a format cannot say is lost: the name of the kind (Azure and Mooncake tell it by the
file's name), why a request ended, latencies. Arrivals keep a microsecond, token counts are
exact. `formats.write_csv` is the form that keeps everything.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import numpy as np
import orjson

from serving.errors import ConfigError
from serving.workload.formats import azure, bailian, burstgpt, mooncake
from serving.workload.table import NO_SESSION, Kind, RequestTable

AZURE_START = datetime(2024, 5, 10, tzinfo=UTC)
US_PER_S = 1_000_000
SECONDS_DIGITS = 6  # arrivals are written to the microsecond
SERVICES = {kind: name for name, kind in burstgpt.KINDS.items()}
OPEN_TYPES = {Kind.IMAGE: bailian.IMAGE_TYPE}  # every other kind is "text"
Lines = Iterator[bytes]


def write_trace(table: RequestTable, path: Path, trace_format: str) -> None:
    """Write requests in a public format; a path that ends in .gz is packed.

    Args:
        trace_format: azure (with `NumImages` where the table knows them), burstgpt (the form of
            _3 where sessions or latencies are known, else that of _1), mooncake, bailian.

    Raises:
        ConfigError: no such format, or it needs prefix ids that the table does not have.
    """
    writer = WRITERS.get(trace_format)
    if writer is None:
        raise ConfigError(
            f"requests cannot be written as {trace_format!r}; take one of {', '.join(WRITERS)}"
        )
    lines = writer(table)
    first = next(lines, b"")  # a table that does not fit is refused before there is a file
    with open_packed(path) as out:
        out.write(first)
        out.writelines(lines)


def open_packed(path: Path) -> IO[bytes]:
    """The path for writing, through gzip when it ends in .gz; same content, same bytes."""
    if path.suffix == ".gz":
        return gzip.GzipFile(path, "wb", compresslevel=6, mtime=0)  # type: ignore[return-value]
    return path.open("wb")


def _azure(table: RequestTable) -> Lines:
    images = len(table.num_images) > 0
    header = (azure.TIME, *((azure.IMAGES,) if images else ()), azure.PROMPT, azure.OUTPUT)
    yield (",".join(header) + "\n").encode()
    first_s = float(table.arrival_s[0]) if len(table) else 0.0
    for row in range(len(table)):
        at_us = round((float(table.arrival_s[row]) - first_s) * US_PER_S)
        stamp = AZURE_START + timedelta(microseconds=at_us)
        cells = (
            stamp.isoformat(" "),
            *((str(table.num_images[row]),) if images else ()),
            str(table.num_prompt_tokens[row]),
            str(table.num_output_tokens[row]),
        )
        yield (",".join(cells) + "\n").encode()


def _burstgpt(table: RequestTable) -> Lines:
    rich = bool((table.session_index != NO_SESSION).any() or (~np.isnan(table.e2e_s)).any())
    header = (
        burstgpt.TIME,
        *((burstgpt.SESSION, burstgpt.ELAPSED) if rich else ()),
        burstgpt.MODEL,
        burstgpt.PROMPT,
        burstgpt.OUTPUT,
        "Total tokens",
        burstgpt.SERVICE,
    )
    yield (",".join(header) + "\n").encode()
    for row in range(len(table)):
        session, e2e_s = int(table.session_index[row]), table.e2e_s[row]
        known = (
            "" if session == NO_SESSION else f"session-{session}",
            "" if np.isnan(e2e_s) else str(e2e_s).removesuffix(".0"),
        )
        prompt, output = int(table.num_prompt_tokens[row]), int(table.num_output_tokens[row])
        service = SERVICES.get(Kind(table.kind[row]), SERVICES[Kind.API])
        cells = (
            _plain(round(float(table.arrival_s[row]), SECONDS_DIGITS)),
            *(known if rich else ()),
            table.models[table.model[row]],
            str(prompt),
            str(output),
            str(prompt + output),
            service,
        )
        yield (",".join(cells) + "\n").encode()


def _mooncake(table: RequestTable) -> Lines:
    _need_blocks(table, mooncake.BLOCK_TOKENS, "mooncake")
    for row in range(len(table)):
        yield _json_line(
            {
                mooncake.TIME: _number(round(float(table.arrival_s[row]) * 1e3, 3)),
                mooncake.PROMPT: int(table.num_prompt_tokens[row]),
                mooncake.OUTPUT: int(table.num_output_tokens[row]),
                "hash_ids": table.prefix_of(row).tolist(),
            }
        )


def _bailian(table: RequestTable) -> Lines:
    _need_blocks(table, bailian.BLOCK_TOKENS, "bailian")
    before: dict[int, tuple[int, int]] = {}  # session -> row and turn of its last request
    for row in range(len(table)):
        session = int(table.session_index[row])
        parent, turn = before.get(session, (bailian.ROOT, 0))
        turn = int(table.turn[row]) if len(table.turn) else turn + 1
        if session != NO_SESSION:
            before[session] = (row, turn)
        yield _json_line(
            {
                bailian.CHAT: row,
                bailian.PARENT: parent,
                bailian.TIME: round(float(table.arrival_s[row]), SECONDS_DIGITS),
                bailian.PROMPT: int(table.num_prompt_tokens[row]),
                bailian.OUTPUT: int(table.num_output_tokens[row]),
                bailian.TYPE: OPEN_TYPES.get(Kind(table.kind[row]), "text"),
                bailian.TURN: turn,
                "hash_ids": table.prefix_of(row).tolist(),
            }
        )


def _need_blocks(table: RequestTable, block_tokens: int, name: str) -> None:
    if table.prefix_block_tokens != block_tokens:
        raise ConfigError(
            f"{table.trace_id}: {name} rows carry an id per {block_tokens} prompt tokens, this "
            f"table one per {table.prefix_block_tokens} (0 = none); take another format"
        )


def _json_line(row: Mapping[str, object]) -> bytes:
    """One row with the blanks that the public files have."""
    cells = (f'"{name}": {orjson.dumps(value).decode()}' for name, value in row.items())
    return ("{" + ", ".join(cells).replace(",", ", ").replace(",  ", ", ") + "}\n").encode()


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def _plain(value: float) -> str:
    return str(_number(value))


WRITERS: Mapping[str, Callable[[RequestTable], Lines]] = {
    "azure": _azure,
    "burstgpt": _burstgpt,
    "mooncake": _mooncake,
    "bailian": _bailian,
}
