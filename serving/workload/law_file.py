"""The file of a fitted workload: JSON, small enough to commit.

It holds quantiles and rates only: no request and no text of the trace it came from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeGuard

import numpy as np
import orjson

from serving.errors import ConfigError
from serving.workload.cascade import BANDS
from serving.workload.laws import (
    DAYS,
    HOURS,
    SHARES,
    Given,
    LevelLaw,
    PrefixLaw,
    SessionLaw,
    StreamLaw,
    WorkloadLaw,
)  # fmt: skip
from serving.workload.table import Kind

FORMAT = "midwatch-workload-2"
BLOCKS_MAX = 2**20
LEVELS_MAX = 64  # of the law of bursts


def encode_law(law: WorkloadLaw) -> bytes:
    """The file, readable and with one order of keys."""
    return orjson.dumps(
        {"format": FORMAT, "shares": SHARES, **asdict(law)},
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def parse_law(raw: bytes, *, source: str) -> WorkloadLaw:
    """A model file, checked whole.

    Raises:
        ConfigError: not such a file; every fault found is named with its place.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{source}: no JSON ({error}); give a file of workload fit") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        seen = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise ConfigError(
            f"{source}: 'format' is {seen!r}, expected {FORMAT!r}; fit the trace anew"
        )
    faults: list[str] = []
    if found.get("shares") != list(SHARES):
        faults.append(f"'shares' differ from the {len(SHARES)} of this version")
    reader = _Reader(faults)
    law = reader.workload(found)
    if faults:
        raise ConfigError(f"{source}: " + "; ".join(faults[:8]) + "; fit the trace anew")
    return law


class _Reader:
    """Collects the faults of a file while it reads it."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults

    def workload(self, raw: Mapping[str, Any]) -> WorkloadLaw:
        streams = raw.get("streams")
        if not isinstance(streams, list) or not streams:
            self.faults.append("'streams' is empty or absent, expected a list")
            streams = []
        return WorkloadLaw(
            trace_id=self._text(raw, "trace_id", ""),
            duration_s=self._number(raw, "duration_s", "", low=1e-9),
            window_s=self._number(raw, "window_s", "", low=1e-9),
            start_hour=self._number(raw, "start_hour", ""),
            stamp_s=self._number(raw, "stamp_s", ""),
            streams=tuple(self.stream(s, f"streams[{i}].") for i, s in enumerate(streams)),
            prefix=None if raw.get("prefix") is None else self._prefix(raw["prefix"]),
        )

    def _prefix(self, raw: Any) -> PrefixLaw:
        raw = self._table(raw, "prefix.", {f.name for f in fields(PrefixLaw)})
        shares = self._numbers(raw, "head_shares", "prefix.")
        blocks = self._numbers(raw, "head_blocks", "prefix.")
        if len(shares) != len(blocks) or sum(shares) > 1.001 or max(blocks, default=0) > BLOCKS_MAX:
            self.faults.append("'prefix.head_shares' and 'head_blocks' are no shares with lengths")
        return PrefixLaw(
            block_tokens=int(self._number(raw, "block_tokens", "prefix.", low=1.0)),
            head_shares=shares,
            head_blocks=tuple(int(b) for b in blocks),
            lost_blocks=self._quantiles(raw, "lost_blocks", "prefix.", may_lack=True),
        )

    def stream(self, raw: Any, at: str) -> StreamLaw:
        raw = self._table(raw, at, {f.name for f in fields(StreamLaw)})
        kind = self._text(raw, "kind", at)
        if kind not in Kind.__members__:
            self.faults.append(
                f"'{at}kind' is {kind!r}, expected one of {', '.join(Kind.__members__)}"
            )
        rates = self._numbers(raw, "rates_rps", at)
        session, level = raw.get("session"), raw.get("level")
        return StreamLaw(
            model=self._text(raw, "model", at),
            kind=kind,
            num_requests=int(self._number(raw, "num_requests", at)),
            rates_rps=rates,
            alphas=self._gaps(raw, "alphas", at, len(rates)),
            alpha=self._number(raw, "alpha", at, low=1e-6),
            splits=self._splits(raw, at),
            hours=self._gaps(raw, "hours", at, HOURS),
            days=self._gaps(raw, "days", at, DAYS),
            level=None if level is None else self._level(level, f"{at}level."),
            prompt=self._quantiles(raw, "prompt", at),
            output=self._given(raw, "output", at),
            failed_prompt=self._quantiles(raw, "failed_prompt", at, may_lack=True),
            fail_after_ok=self._number(raw, "fail_after_ok", at, high=1.0),
            fail_after_fail=self._number(raw, "fail_after_fail", at, high=1.0),
            session=None if session is None else self._session(session, f"{at}session."),
        )

    def _splits(self, raw: Mapping[str, Any], at: str) -> tuple[tuple[float, ...], ...]:
        rows = raw.get("splits")
        if not isinstance(rows, list) or len(rows) > LEVELS_MAX:
            self.faults.append(f"'{at}splits' is no list of at most {LEVELS_MAX} levels")
            return ()
        found = []
        for level, row in enumerate(rows):
            name = f"{at}splits."
            values = self._gaps({str(level): row}, str(level), name, 2 * BANDS)
            if any(v is None or v > 1.0 for v in values):
                self.faults.append(f"'{name}{level}' is no list of {2 * BANDS} numbers of 0 to 1")
                values = ()
            found.append(tuple(v for v in values if v is not None) or (0.0,) * (2 * BANDS))
        return tuple(found)

    def _level(self, raw: Any, at: str) -> LevelLaw:
        raw = self._table(raw, at, {f.name for f in fields(LevelLaw)})
        active = self._gaps(raw, "active", at, HOURS)
        if any(v is None or not 0.0 < v <= 1.0 for v in active):
            self.faults.append(f"'{at}active' is no list of {HOURS} shares above 0")
            active = ()
        return LevelLaw(
            active=tuple(v for v in active if v is not None) or (1.0,) * HOURS,
            quantiles=self._quantiles(raw, "quantiles", at),
            day_share=self._number(raw, "day_share", at, high=1.0),
            hold=self._number(raw, "hold", at, high=1.0),
        )

    def _session(self, raw: Any, at: str) -> SessionLaw:
        raw = self._table(raw, at, {f.name for f in fields(SessionLaw)})
        return SessionLaw(
            ratio=self._number(raw, "ratio", at, high=1.0),
            turns_mean=self._number(raw, "turns_mean", at, low=1.0),
            turns=self._given(raw, "turns", at),
            think_s=self._quantiles(raw, "think_s", at),
            prompt=self._given(raw, "prompt", at),
        )

    def _given(self, raw: Mapping[str, Any], name: str, at: str) -> Given:
        inner = self._table(raw.get(name), f"{at}{name}.", {"edges", "quantiles"})
        edges = self._numbers(inner, "edges", f"{at}{name}.")
        bands = inner.get("quantiles")
        if not isinstance(bands, list) or len(bands) != len(edges) + 1:
            self.faults.append(f"'{at}{name}.quantiles' has not one band more than edges")
            bands = []
        rows = [{str(i): band} for i, band in enumerate(bands)]
        return Given(
            edges=edges,
            quantiles=tuple(
                self._quantiles(row, str(i), f"{at}{name}.quantiles.") for i, row in enumerate(rows)
            ),
        )

    def _table(self, raw: Any, at: str, names: set[str]) -> Mapping[str, Any]:
        if not isinstance(raw, dict):
            self.faults.append(f"'{at[:-1]}' is {type(raw).__name__}, expected a table")
            return {}
        return {name: raw.get(name) for name in sorted(names)}

    def _text(self, raw: Mapping[str, Any], name: str, at: str) -> str:
        value = raw.get(name)
        if not isinstance(value, str):
            self.faults.append(f"'{at}{name}' is {value!r}, expected text")
            return ""
        return value

    def _number(
        self,
        raw: Mapping[str, Any],
        name: str,
        at: str,
        *,
        low: float = 0.0,
        high: float = math.inf,
    ) -> float:
        value = raw.get(name)
        if not _is_number(value) or not low <= value <= high:
            self.faults.append(f"'{at}{name}' is {value!r}, expected {low} to {high}")
            return low
        return float(value)

    def _numbers(self, raw: Mapping[str, Any], name: str, at: str) -> tuple[float, ...]:
        return tuple(v for v in self._gaps(raw, name, at, None) if v is not None)

    def _gaps(
        self, raw: Mapping[str, Any], name: str, at: str, length: int | None
    ) -> tuple[float | None, ...]:
        values = raw.get(name)
        good = isinstance(values, list) and (length is None or len(values) == length)
        if not good or not all(
            (length is not None and v is None) or (_is_number(v) and v >= 0) for v in values or ()
        ):
            wanted = "numbers >= 0" if length is None else f"{length} numbers >= 0 or null"
            self.faults.append(f"'{at}{name}' is no list of {wanted}")
            return ()
        return tuple(None if v is None else float(v) for v in values or ())

    def _quantiles(
        self, raw: Mapping[str, Any], name: str, at: str, *, may_lack: bool = False
    ) -> tuple[float, ...]:
        values = self._numbers(raw, name, at)
        if may_lack and not values:
            return values
        if len(values) != len(SHARES) or any(np.diff(values) < 0):
            self.faults.append(f"'{at}{name}' is no list of {len(SHARES)} rising numbers")
            return (0.0,) * len(SHARES)
        return values


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
