"""The wide window of metrics that a worker reads, kept so that the next question reads what is new.

Two diagnoses of one incident are seconds apart and share most of their rows. What was read is held
per place on a grid that does not move; only rows after it are asked for, with a few before them,
because a scrape may be stored after its row has passed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ops.adapters.prometheus_columns import Complete
from ops.adapters.prometheus_frame import FrameReading, open_reader, read_window
from ops.adapters.prometheus_selectors import Matcher, fleet_matchers
from ops.catalogue import Catalogue
from ops.catalogue.owner_labels import NODE_LABELS, POD_LABELS
from ops.controller.worker.settings import PrometheusAddress
from ops.controller.worker_link.wire import FleetPlace, FrameFacts, Window
from ops.errors import PrometheusError
from ops.state import NodeRecord, PodRecord
from rca.state import MetricFrame

REGION = "region"
OVERLAP_ROWS = 8  # read once more: late samples, and enough of them to know a target's offset
CELLS_MAX = 2**24  # of all kept frames: 128 MB
PLACES_MAX = 32
PHASE_RATIO = 0.5  # of a step that the kept grid may end before what is asked for

_Key = tuple[str, str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    start_s: float
    reading: FrameReading


class WindowReader:
    """Reads windows of named endpoints. Used by one thread."""

    def __init__(self, endpoints: Mapping[str, PrometheusAddress], catalogue: Catalogue) -> None:
        """Prepare; nothing is asked yet."""
        self._endpoints, self._catalogue = endpoints, catalogue
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    def read(
        self,
        place: FleetPlace,
        window: Window,
        *,
        region: str,
        pods: Sequence[PodRecord] = (),
        nodes: Sequence[NodeRecord] = (),
    ) -> FrameReading:
        """The series of a place between two moments.

        Args:
            region: of series that name none and belong to no known pod or node.
            pods, nodes: tell region, service and node of what they name.

        Raises:
            PrometheusError: an endpoint that nobody allowed, no answer, or nothing that is known.
        """
        endpoint = self._endpoints.get(place.endpoint)
        if endpoint is None:
            known = ", ".join(sorted(self._endpoints)) or "none"
            raise PrometheusError(
                f"metrics endpoint {place.endpoint!r} is not in the worker's settings "
                f"(metricsEndpoints has {known}); add it there or name another in the Fleet"
            )
        matchers = fleet_matchers(place.namespace, place.match_labels)
        key = (place.endpoint, region, tuple(map(_pair, matchers)), _sorted(place.add_labels))
        kept = self._kept.pop(key, None)
        if kept is not None and not _continues(kept, window):
            kept = None
        asked = window if kept is None else _rest(kept, window)
        with open_reader(
            endpoint.url,
            timeout_s=endpoint.timeout_s,
            headers=endpoint.headers,
            token_file=endpoint.token_file,
            basic_auth_file=endpoint.basic_auth_file,
            ca_file=endpoint.ca_file,
        ) as reader:
            reading = read_window(
                reader,
                self._catalogue,
                asked.start_s,
                asked.end_s,
                asked.step_s,
                matchers=matchers,
                add_labels={**endpoint.add_labels, **place.add_labels},
                complete=_completing(pods, nodes, region, self._catalogue.region_labels),
                deadline_s=endpoint.timeout_s,
            )
        if kept is not None:
            reading = replace(reading, frame=joined(kept.reading.frame, reading.frame))
        start_s = window.start_s if kept is None else min(kept.start_s, window.start_s)
        self._keep(key, _Kept(start_s=start_s, reading=reading))
        return replace(reading, frame=_since(reading.frame, window.start_s))

    def _keep(self, key: _Key, kept: _Kept) -> None:
        self._kept[key] = kept
        cells = sum(one.reading.frame.values.size for one in self._kept.values())
        while len(self._kept) > PLACES_MAX or (cells > CELLS_MAX and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            cells -= gone.reading.frame.values.size


def facts_of(frame: MetricFrame, notes: tuple[str, ...] = ()) -> FrameFacts:
    """A frame in numbers."""
    rows, series = frame.values.shape
    return FrameFacts(
        rows=rows,
        series=series,
        step_s=frame.step_s,
        first_s=float(frame.times_s[0]) if rows else None,
        last_s=float(frame.times_s[-1]) if rows else None,
        missing_ratio=float(np.isnan(frame.values).mean()) if frame.values.size else None,
        notes=notes,
    )


def newest_sample_s(frame: MetricFrame) -> float | None:
    """Time of the newest row with any sample; None without one."""
    filled = np.flatnonzero(~np.isnan(frame.values).all(axis=1))
    return float(frame.times_s[filled[-1]]) if len(filled) else None


def canonical(frame: MetricFrame) -> MetricFrame:
    """The frame as a bundle keeps it: series with a sample, in the order of their names.

    A diagnosis of this frame is the diagnosis of the bundle, to the last bit.
    """
    kept = np.flatnonzero(~np.isnan(frame.values).all(axis=0))
    order = sorted(kept.tolist(), key=lambda k: (frame.series[k].name, frame.series[k].labels))
    return MetricFrame(
        times_s=frame.times_s,
        values=np.ascontiguousarray(frame.values[:, order], dtype=np.float64),
        series=tuple(frame.series[k] for k in order),
        roles=tuple(frame.roles[k] for k in order),
        step_s=frame.step_s,
    )


def joined(old: MetricFrame, new: MetricFrame) -> MetricFrame:
    """Rows of `old` before `new` begins, then those of `new`; series of both, missing is NaN."""
    until = int(np.searchsorted(old.times_s, new.times_s[0], side="left"))
    column = {series: k for k, series in enumerate(old.series)}
    more = [k for k, series in enumerate(new.series) if series not in column]
    series = old.series + tuple(new.series[k] for k in more)
    values = np.full((until + len(new.times_s), len(series)), np.nan)
    values[:until, : len(old.series)] = old.values[:until]
    column.update({new.series[k]: len(old.series) + i for i, k in enumerate(more)})
    values[until:, [column[one] for one in new.series]] = new.values
    return MetricFrame(
        times_s=np.concatenate((old.times_s[:until], new.times_s)),
        values=values,
        series=series,
        roles=old.roles + tuple(new.roles[k] for k in more),
        step_s=old.step_s,
    )


def _completing(
    pods: Sequence[PodRecord],
    nodes: Sequence[NodeRecord],
    region: str,
    region_labels: Sequence[str],
) -> Complete:
    """Labels with the place of the pod or node that they name: the cluster knows it best."""
    placed = {
        pod.name: {
            key: value
            for key, value in ((REGION, pod.region), ("service", pod.service), ("node", pod.node))
            if value
        }
        for pod in pods
    }
    home = {node.name: node.region for node in nodes if node.region}

    def complete(stored: Mapping[str, str]) -> Mapping[str, str]:
        place = placed.get(_first(stored, POD_LABELS))
        if place is not None:
            return {**stored, **place}
        if any(stored.get(key) for key in region_labels):
            return stored
        return {**stored, REGION: home.get(_first(stored, NODE_LABELS), region)}

    return complete


def _first(labels: Mapping[str, str], keys: Sequence[str]) -> str:
    return next((value for key in keys if (value := labels.get(key))), "")


def _pair(matcher: Matcher) -> tuple[str, str]:
    return matcher.label, matcher.value


def _sorted(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _continues(kept: _Kept, window: Window) -> bool:
    """Whether the kept rows are a part of what is asked for, on a grid that ends near its end."""
    frame = kept.reading.frame
    step_s, rows = frame.step_s, len(frame.times_s)
    if rows <= OVERLAP_ROWS or window.step_s not in (None, step_s):
        return False
    late_s = (window.end_s - float(frame.times_s[0])) % step_s
    overlap = window.end_s >= float(frame.times_s[-1]) - OVERLAP_ROWS * step_s
    begins = kept.start_s <= window.start_s < float(frame.times_s[-1])
    return begins and overlap and late_s <= PHASE_RATIO * step_s


def _rest(kept: _Kept, window: Window) -> Window:
    """From a few rows before the end of what is kept, on its grid."""
    frame = kept.reading.frame
    return Window(
        start_s=float(frame.times_s[-OVERLAP_ROWS - 1]),
        end_s=max(window.end_s, float(frame.times_s[-1])),
        step_s=frame.step_s,
    )


def _since(frame: MetricFrame, start_s: float) -> MetricFrame:
    first = int(np.searchsorted(frame.times_s, start_s - 0.5 * frame.step_s, side="left"))
    return frame if first == 0 else replace(
        frame, times_s=frame.times_s[first:], values=frame.values[first:]
    )  # fmt: skip
