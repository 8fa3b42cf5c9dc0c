"""Bodies of Prometheus' HTTP API -> columns of samples. Pure: no network, no catalogue.

The samples are cut out of the body and read as flat lists of numbers; only what remains, labels
and flags, is read as JSON. That is several times faster than building an object per sample.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from ops.errors import PrometheusError
from rca.state import FloatArray

# How every known server begins the samples of a series. In a label value each quote is escaped,
# so that these bytes are never text.
_SAMPLES = b'"values":[['
_SAMPLES_END = b'"]]'
_SERIES = b'{"metric":'
_NEXT_SERIES, _LAST_SERIES = b"},", b"}]"
_BLOCK_BYTES = 1 << 19  # read at once: larger lists of numbers leave the processor's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Raw samples of some series, one series after the other.

    Attributes:
        labels: label set per series with `__name__`, length S.
        counts: samples per series, shape [S].
        times_s, values: of all samples, shape [sum of counts]; a scraped NaN stays NaN.
        warnings: what the server said beside the samples, e.g. that a store did not answer.
        num_histograms: series that are native histograms, which have no single value: left out.
    """

    labels: tuple[Mapping[str, str], ...]
    counts: npt.NDArray[np.intp]
    times_s: FloatArray
    values: FloatArray
    warnings: tuple[str, ...] = ()
    num_histograms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """As `Answer`, with label sets as the server wrote them: what is known need not be read.

    Attributes:
        metrics: JSON object of labels per series; the same bytes for the same series in every
            answer of one server, which sorts labels.
    """

    metrics: tuple[bytes, ...]
    counts: npt.NDArray[np.intp]
    times_s: FloatArray
    values: FloatArray
    warnings: tuple[str, ...] = ()
    num_histograms: int = 0


def read_raw_matrix(body: bytes) -> RawAnswer:
    """Read the answer to a range selector without its labels.

    Raises:
        PrometheusError: the body is no such answer.
    """
    head, *pieces = body.split(_SERIES)
    metrics: list[bytes] = []
    texts: list[bytes] = []
    tail = b""
    for piece in pieces:
        start = piece.find(_SAMPLES)
        end = piece.find(_SAMPLES_END, start)
        tail = piece[end + len(_SAMPLES_END) :]
        if start < 0 or end < 0 or not (tail == _NEXT_SERIES or tail.startswith(_LAST_SERIES)):
            return _raw(read_matrix(body))  # histograms, or spaces
        metrics.append(piece[: start - 1])
        texts.append(piece[start + len(_SAMPLES) : end])
    _, warnings = _data(head + tail[1:], "matrix")
    numbers, counts = _samples(texts)
    return RawAnswer(
        metrics=tuple(metrics),
        counts=counts,
        times_s=numbers[0::2],
        values=numbers[1::2],
        warnings=warnings,
    )


def _raw(answer: Answer) -> RawAnswer:
    return RawAnswer(
        metrics=tuple(orjson.dumps(labels) for labels in answer.labels),
        counts=answer.counts,
        times_s=answer.times_s,
        values=answer.values,
        warnings=answer.warnings,
        num_histograms=answer.num_histograms,
    )


def _samples(texts: Sequence[bytes]) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Times and values in turn, and the number of samples of each text."""
    try:
        numbers = _numbers(texts)
        counts = np.array([text.count(b"[") + 1 for text in texts], dtype=np.intp)
        if len(numbers) != 2 * counts.sum():
            raise ValueError(f"{len(numbers)} numbers for {counts.sum()} samples")
    except ValueError as error:
        raise PrometheusError(f"its samples cannot be read: {error!r}") from error
    return numbers, counts


def read_matrix(body: bytes) -> Answer:
    """Read the answer to a range selector.

    Raises:
        PrometheusError: the body is no such answer.
    """
    runs, skeleton = _cut(body)
    data, warnings = _data(skeleton, "matrix")
    labels: list[Mapping[str, str]] = []
    texts: list[bytes] = []
    num_histograms = 0
    try:
        for one in data["result"]:
            values = one.get("values", ())
            if "histograms" in one:
                num_histograms += 1
            if isinstance(values, int):
                labels.append(one["metric"])
                texts.append(runs[values])
            elif values:  # written with spaces, as no known server does
                labels.append(one["metric"])
                texts.append(orjson.dumps(values)[2:-2])
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise PrometheusError(f"its samples cannot be read: {error!r}") from error
    numbers, counts = _samples(texts)
    return Answer(
        labels=tuple(labels),
        counts=counts,
        times_s=numbers[0::2],
        values=numbers[1::2],
        warnings=warnings,
        num_histograms=num_histograms,
    )


def read_counts(body: bytes) -> dict[str, int]:
    """Read the answer to `count by (__name__) (...)`: number of series per name.

    Raises:
        PrometheusError: the body is no such answer.
    """
    data, _ = _data(body, "vector")
    try:
        return {one["metric"]["__name__"]: int(float(one["value"][1])) for one in data["result"]}
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise PrometheusError(f"its counts cannot be read: {error!r}") from error


def read_scalar(body: bytes) -> float:
    """Read the answer to a query that is one number.

    Raises:
        PrometheusError: the body is no such answer.
    """
    data, _ = _data(body, "scalar")
    try:
        return float(data["result"][1])
    except (IndexError, TypeError, ValueError) as error:
        raise PrometheusError(f"its number cannot be read: {error!r}") from error


def read_names(body: bytes) -> tuple[str, ...]:
    """Read the values of a label, sorted.

    Raises:
        PrometheusError: the body is no such answer.
    """
    names = _document(body).get("data")
    if names is None:  # what Go writes for an empty list in some versions
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PrometheusError(f"its label values are {_seen(names)}, expected a list of texts")
    return tuple(sorted(names))


def read_error(body: bytes) -> tuple[str, str]:
    """Type and text of a refusal; a body that is none of Prometheus' gives its first characters."""
    try:
        document = orjson.loads(body)
        return str(document.get("errorType", "")), str(document["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return "", " ".join(body[:160].decode("utf-8", "replace").split())


def _cut(body: bytes) -> tuple[list[bytes], bytes]:
    """Samples per series as text, and the body with their numbers instead."""
    runs: list[bytes] = []
    rest: list[bytes] = []
    place = 0
    while (start := body.find(_SAMPLES, place)) >= 0:
        end = body.find(_SAMPLES_END, start)
        if end < 0:
            raise PrometheusError(f"its body of {len(body)} bytes ends within a series")
        rest += (body[place:start], b'"values":%d' % len(runs))
        runs.append(body[start + len(_SAMPLES) : end])
        place = end + len(_SAMPLES_END)
    rest.append(body[place:])
    return runs, b"".join(rest)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise PrometheusError(
            f"it answered no JSON: it begins {_seen(body[:60])}, {error}"
        ) from error
    if not isinstance(document, dict) or document.get("status") != "success":
        raise PrometheusError(f"it answered {_seen(document)}, not Prometheus' JSON")
    return document


def _data(body: bytes, result_type: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """`data` of an answer of that type, and the server's warnings."""
    document = _document(body)
    data = document.get("data")
    if not isinstance(data, dict) or data.get("resultType") != result_type:
        seen = data.get("resultType") if isinstance(data, dict) else data
        raise PrometheusError(f"its result is {_seen(seen)}, expected a {result_type}")
    if not isinstance(data.get("result"), list):
        raise PrometheusError(f"its result holds {_seen(data.get('result'))}, expected a list")
    return data, tuple(str(one) for one in document.get("warnings") or ())


def _numbers(texts: Sequence[bytes]) -> FloatArray:
    """Times and values in turn, shape [2 * samples]."""
    parts: list[FloatArray] = []
    block: list[bytes] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= _BLOCK_BYTES:
            parts.append(_block(block))
            block, size = [], 0
    if block:
        parts.append(_block(block))
    return np.concatenate(parts) if parts else np.empty(0)


def _block(texts: Sequence[bytes]) -> FloatArray:
    flat = b",".join(texts).translate(None, b'[]" ')
    if b"N" in flat or b"I" in flat:  # NaN, +Inf, -Inf are no JSON
        return np.array([float(number) for number in flat.split(b",")])
    return np.frombuffer(array("d", orjson.loads(b"[%b]" % flat)))


def _seen(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
