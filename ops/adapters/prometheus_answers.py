"""Bodies of Prometheus' HTTP API -> columns of samples. Pure: no network, no catalogue.

The samples are cut out of the body and read apart (`prometheus_samples`); only what remains, labels
and flags, is read as JSON. That is several times faster than building an object per sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from ops.adapters.prometheus_samples import read_samples
from ops.errors import PrometheusError
from rca.state import FloatArray

# How every known server begins the samples of a series. In a label value each quote is escaped,
# so that these bytes are never text.
_SAMPLES = b'"values":[['
_SAMPLES_END = b'"]]'
_SERIES = b'{"metric":'
_NEXT_SERIES, _LAST_SERIES = b'"]]},', b'"]]}]'  # of the same length
PARTIAL = "isPartial: a store behind it did not answer"


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
    pieces = body.split(_SERIES)
    cut = _cut(pieces[1:])
    if cut is None:
        return _raw(_read_by_skeleton(body))
    metrics, texts, tail = cut
    _, warnings = _data(pieces[0] + tail, "matrix")
    counts, times_s, values = read_samples(texts)
    return RawAnswer(
        metrics=tuple(metrics), counts=counts, times_s=times_s, values=values, warnings=warnings
    )


def read_matrix(body: bytes) -> Answer:
    """Read the answer to a range selector.

    Raises:
        PrometheusError: the body is no such answer.
    """
    raw = read_raw_matrix(body)
    try:
        labels = orjson.loads(b"[%b]" % b",".join(raw.metrics))
    except orjson.JSONDecodeError as error:
        raise PrometheusError(f"its labels cannot be read: {error!r}") from error
    return Answer(
        labels=tuple(labels),
        counts=raw.counts,
        times_s=raw.times_s,
        values=raw.values,
        warnings=raw.warnings,
        num_histograms=raw.num_histograms,
    )


def _cut(pieces: Sequence[bytes]) -> tuple[list[bytes], list[bytes], bytes] | None:
    """Labels and samples of each series as text, and what follows the last one.

    None where a series holds anything else: histograms, or spaces.
    """
    metrics: list[bytes] = []
    texts: list[bytes] = []
    tail = b""
    for k, piece in enumerate(pieces, start=1):
        start = piece.find(_SAMPLES)
        last = k == len(pieces)  # warnings may follow; samples are long, so not searched elsewhere
        end = piece.find(_LAST_SERIES, start) if last else len(piece) - len(_NEXT_SERIES)
        if start < 0 or end < start or not (last or piece.endswith(_NEXT_SERIES)):
            return None
        metrics.append(piece[: start - 1])
        texts.append(piece[start + len(_SAMPLES) : end])
        tail = piece[end + len(_LAST_SERIES) - 1 :]
    return metrics, texts, tail if pieces else b""


def _raw(answer: Answer) -> RawAnswer:
    return RawAnswer(
        metrics=tuple(orjson.dumps(labels) for labels in answer.labels),
        counts=answer.counts,
        times_s=answer.times_s,
        values=answer.values,
        warnings=answer.warnings,
        num_histograms=answer.num_histograms,
    )


def _read_by_skeleton(body: bytes) -> Answer:
    """Read an answer of any form: the samples that are found are cut out, the rest is JSON."""
    runs, skeleton = _skeleton(body)
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
                texts.append(orjson.dumps(values)[2:-3])
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise PrometheusError(f"its samples cannot be read: {error!r}") from error
    counts, times_s, numbers = read_samples(texts)
    return Answer(
        labels=tuple(labels),
        counts=counts,
        times_s=times_s,
        values=numbers,
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


def read_moment(body: bytes) -> float:
    """Read the answer to `time()`, unix seconds.

    VictoriaMetrics writes a vector instead of a scalar. Unless it is asked without its cache, the
    value lags by -search.latencyOffset (30 s), and the moment beside it is cut to whole seconds.

    Raises:
        PrometheusError: the body is no such answer.
    """
    data, _ = _data(body, "scalar", "vector")
    result = data["result"]
    try:
        moment, value = result if data["resultType"] == "scalar" else result[0]["value"]
        return max(float(moment), float(value))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        told = f"its time() is {_seen(result)}, expected a moment and a number"
        raise PrometheusError(told) from error


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


def _skeleton(body: bytes) -> tuple[list[bytes], bytes]:
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


def _data(body: bytes, *result_types: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """`data` of an answer of one of these types, and the server's warnings.

    `infos`, which newer servers write beside them, tell that a query may be meant otherwise.
    """
    document = _document(body)
    data = document.get("data")
    if not isinstance(data, dict) or data.get("resultType") not in result_types:
        seen = data.get("resultType") if isinstance(data, dict) else data
        raise PrometheusError(f"its result is {_seen(seen)}, expected a {result_types[0]}")
    if not isinstance(data.get("result"), list):
        raise PrometheusError(f"its result holds {_seen(data.get('result'))}, expected a list")
    warnings = [str(one) for one in document.get("warnings") or ()]
    if document.get("isPartial") is True:  # VictoriaMetrics' way of saying it
        warnings.append(PARTIAL)
    return data, tuple(warnings)


def _seen(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
