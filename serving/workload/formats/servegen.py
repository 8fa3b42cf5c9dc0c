"""ServeGen load windows and token quantiles per client.

Windows come as one table with a header (client, window_start_s, rate_rps, iat_cv, iat_dist,
iat_p0 = shape, iat_p1 = scale) or as published: `chunk-N-trace.csv` of client N, six columns
without a header. A window of rate 0 may leave all after the rate empty.

Source: alibaba/ServeGen, arXiv 2505.09999.
"""

from __future__ import annotations

import re

import numpy as np

from serving.workload.formats.cells import Cells
from serving.workload.formats.columns import Column
from serving.workload.formats.numerals import Ints, Unsure
from serving.workload.formats.rows import (
    SECONDS_MAX,
    BadRow,
    Header,
    Names,
    RowReader,
    TraceFormat,
    column_names,
    parse_count,
    parse_number,
    parse_seconds,
)
from serving.workload.windows import QUANTILES, GapLaw, LoadWindows, TokenQuantiles

CLIENT, START, RATE, CV = "client", "window_start_s", "rate_rps", "iat_cv"
LAW, SHAPE, SCALE = "iat_dist", "iat_p0", "iat_p1"
WINDOW_COLUMNS = (CLIENT, START, RATE, CV, LAW, SHAPE, SCALE)
BLOCK, FIELD, MEAN, MAXIMUM, SUPPORT = "block_start_s", "field", "mean", "max", "support"
QUANTILE_COLUMNS = tuple(f"p{round(100 * q):02d}" for q in QUANTILES)
TOKEN_COLUMNS = (CLIENT, BLOCK, FIELD, MEAN, *QUANTILE_COLUMNS, MAXIMUM, SUPPORT)
LAWS = {"Gamma": GapLaw.GAMMA, "Weibull": GapLaw.WEIBULL}
CLIENT_MAX = 2**31 - 1
NUMBER_MAX = 1e9
CHUNK = re.compile(r"chunk-(\d{1,9})\b")


class WindowsReader:
    """Rows of one file of windows, with a header or of one client without."""

    __slots__ = ("_at", "_cells", "_client", "_client_at", "_columns", "_width")

    def __init__(self, file_name: str, first_line: str, *, has_header: bool) -> None:
        names = first_line if has_header else ",".join(WINDOW_COLUMNS[1:])
        header = Header(file_name, names, WINDOW_COLUMNS[0 if has_header else 1 :])
        self._cells, self._width = header.cells, header.width
        self._client_at = header.at(CLIENT)
        self._at = tuple(header.at(name) for name in WINDOW_COLUMNS[1:])
        chunk = CHUNK.search(file_name)
        self._client = int(chunk[1]) if chunk else 0
        self._columns = _columns("idddBdd")

    def block(self, raw: bytes) -> None:
        """Take whole lines."""
        table = Cells(raw).table(self._width)
        start_at, rate_at, cv_at, law_at, shape_at, scale_at = self._at
        client: Ints = np.full(table.cells.num_rows, self._client)
        if self._client_at >= 0:
            client = table.counts(self._client_at, limit=CLIENT_MAX)
        start_s = table.decimals(start_at, limit=SECONDS_MAX)
        rate, cv, shape, scale = table.optional_decimals(
            (rate_at, cv_at, shape_at, scale_at), limit=NUMBER_MAX
        )
        law = table.codes(law_at, _law)
        lawless = (law == GapLaw.NONE) & (rate == 0)
        if not (lawless | ((cv >= 0) & (shape >= 0) & (scale >= 0) & (rate >= 0))).all():
            raise Unsure
        if ((law == GapLaw.NONE) != lawless).any():
            raise Unsure
        for column, values in zip(
            self._columns, (client, start_s, rate, cv, law, shape, scale), strict=True
        ):
            column.grow(np.where(lawless, np.nan, values) if values is cv else values)

    def row(self, line: str) -> None:
        """Take one row."""
        cells = self._cells(line)
        start, rate, cv, law, shape, scale = (cells[at] for at in self._at)
        client = self._client
        if self._client_at >= 0:
            client = parse_count(cells[self._client_at], CLIENT, limit=CLIENT_MAX)
        start_s = parse_seconds(start, START)
        rate_rps = parse_number(rate, RATE, limit=NUMBER_MAX)
        code = _law(law)
        rest: list[float] = []
        for name, text in ((CV, cv), (SHAPE, shape), (SCALE, scale)):
            empty_is_fine = code is GapLaw.NONE and not text
            rest.append(
                float("nan") if empty_is_fine else parse_number(text, name, limit=NUMBER_MAX)
            )
        if code is GapLaw.NONE:
            if rate_rps > 0:
                raise BadRow("missing value", column=LAW, value=law, expected=" or ".join(LAWS))
            rest[0] = float("nan")
        row = (client, start_s, rate_rps, rest[0], code, rest[1], rest[2])
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def table(self, trace_id: str) -> LoadWindows:
        """The rows taken so far."""
        client, start_s, rate, cv, law, shape, scale = (column.frozen() for column in self._columns)
        return LoadWindows(
            trace_id=trace_id,
            client=client,
            start_s=start_s,
            rate_rps=rate,
            iat_cv=cv,
            law=law,
            shape=shape,
            scale=scale,
        )


class QuantilesReader:
    """Rows of one file of token quantiles."""

    __slots__ = ("_at", "_cells", "_columns", "_fields", "_numbers_at", "_width")

    def __init__(self, file_name: str, first_line: str) -> None:
        header = Header(file_name, first_line, TOKEN_COLUMNS)
        self._cells, self._width = header.cells, header.width
        self._at = tuple(header.at(name) for name in (CLIENT, BLOCK, FIELD, SUPPORT))
        self._numbers_at = tuple(header.at(n) for n in (MEAN, *QUANTILE_COLUMNS, MAXIMUM))
        self._columns = _columns("idBi" + "d" * len(self._numbers_at))
        self._fields = Names(FIELD)

    def block(self, raw: bytes) -> None:
        """Take whole lines."""
        table = Cells(raw).table(self._width)
        client_at, block_at, field_at, support_at = self._at
        client = table.counts(client_at, limit=CLIENT_MAX)
        start_s = table.decimals(block_at, limit=SECONDS_MAX)
        support = table.counts(support_at, limit=CLIENT_MAX)
        numbers = table.optional_decimals(self._numbers_at, limit=NUMBER_MAX)
        if np.isnan(numbers).any() or (np.diff(numbers[1:], axis=0) < 0).any():
            raise Unsure
        field = table.codes(field_at, self._fields.code)
        for column, values in zip(
            self._columns, (client, start_s, field, support, *numbers), strict=True
        ):
            column.grow(values)

    def row(self, line: str) -> None:
        """Take one row."""
        cells = self._cells(line)
        client_at, block_at, field_at, support_at = self._at
        client = parse_count(cells[client_at], CLIENT, limit=CLIENT_MAX)
        start_s = parse_seconds(cells[block_at], BLOCK)
        support = parse_count(cells[support_at], SUPPORT, limit=CLIENT_MAX)
        names = (MEAN, *QUANTILE_COLUMNS, MAXIMUM)
        numbers = [
            parse_number(cells[at], name, limit=NUMBER_MAX)
            for at, name in zip(self._numbers_at, names, strict=True)
        ]
        for k in range(2, len(numbers)):
            if numbers[k] < numbers[k - 1]:
                raise BadRow(
                    "falling quantiles",
                    column=names[k],
                    value=numbers[k],
                    expected=f"at least {names[k - 1]}, {numbers[k - 1]}",
                )
        row = (client, start_s, self._fields.code(cells[field_at]), support, *numbers)
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def table(self, trace_id: str) -> TokenQuantiles:
        """The rows taken so far."""
        client, start_s, field, support, mean, *quantiles, maximum = (
            column.frozen() for column in self._columns
        )
        return TokenQuantiles(
            trace_id=trace_id,
            client=client,
            start_s=start_s,
            field=field,
            fields=self._fields.all(),
            mean=mean,
            quantiles=np.array(quantiles),
            maximum=maximum,
            support=support,
        )


def _columns(codes: str) -> tuple[Column, ...]:
    return tuple(Column(code) for code in codes)


def _law(text: str) -> GapLaw:
    if not text:
        return GapLaw.NONE
    if text not in LAWS:
        raise BadRow("unknown law", column=LAW, value=text, expected=" or ".join(LAWS))
    return LAWS[text]


def _has_windows_header(line: str) -> bool:
    names = column_names(line)
    return START in names and (RATE in names or LAW in names)


def _is_client_row(line: str) -> bool:
    cells = line.split(",")
    return len(cells) == len(WINDOW_COLUMNS) - 1 and cells[3] in {*LAWS, ""} and bool(cells[1])


def _has_quantiles_header(line: str) -> bool:
    names = column_names(line)
    return BLOCK in names and FIELD in names


def _windows(file_name: str, line: str) -> RowReader:
    return WindowsReader(file_name, line, has_header=True)


def _client_windows(file_name: str, line: str) -> RowReader:
    return WindowsReader(file_name, line, has_header=False)


def _quantiles(file_name: str, line: str) -> RowReader:
    return QuantilesReader(file_name, line)


WINDOWS = TraceFormat(
    name="servegen",
    has_header=True,
    recognises=_has_windows_header,
    reader=_windows,
    rows_are="load windows",
)
CLIENT_WINDOWS = TraceFormat(
    name="servegen-client",
    has_header=False,
    recognises=_is_client_row,
    reader=_client_windows,
    rows_are="load windows",
)
TOKENS = TraceFormat(
    name="servegen-tokens",
    has_header=True,
    recognises=_has_quantiles_header,
    reader=_quantiles,
    rows_are="token quantiles",
)
