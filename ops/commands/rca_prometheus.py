"""A window of a Prometheus as incidents for `midwatch rca`, with progress and plain errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace

from ops.adapters.prometheus_frame import FrameReading, open_reader, read_window
from ops.adapters.prometheus_selectors import (
    parse_label,
    parse_matcher,
    parse_moment,
    parse_selector,
)
from ops.catalogue import Catalogue
from ops.clock import Deadline, moment_text, monotonic_s, wall_s
from ops.commands.rca_options import PrometheusOptions
from ops.errors import PrometheusError
from ops.replay.frame_incidents import incidents_of_frame
from rca.incident import Incident
from rca.state import ChangeEvent, MetricFrame

REGION = "all"  # of series that name none, where no other is told
SKEW_S = 30.0  # between two clocks before anybody is told
QUIET_S = 2.0  # before progress is shown
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def incidents_of_prometheus(
    options: PrometheusOptions,
    *,
    fault_at: str = "",
    changes: Sequence[ChangeEvent] = (),
    service_label: str = "",
) -> dict[str, Incident]:
    """Region -> what the Prometheus holds of it between the two moments.

    Args:
        fault_at: when it began, as typed; empty = unknown.

    Raises:
        PrometheusError: an option that cannot be used, no usable answer, or nothing to accuse.
    """
    catalogue = Catalogue.load()
    step_s = parse_span(options.step) if options.step else None
    where = [parse_matcher(text) for text in options.where]
    also = [parse_selector(text) for text in options.match]
    added = dict(parse_label(text) for text in options.labels)
    given = any(key in added for key in catalogue.region_labels)
    if not given:
        added[catalogue.region_labels[-1]] = REGION  # whatever a series says itself comes first
    with open_reader(
        options.url,
        timeout_s=options.timeout_s,
        headers=dict(_header(text) for text in options.headers),
        token_file=options.token_file,
        ca_file=options.ca_file,
    ) as reader:
        # Samples are stamped by the server's clock, so "now" is its now.
        now_s = reader.now_s(deadline=Deadline.after(options.timeout_s))
        start_s, end_s, notes = _window(options, now_s)
        at_s = _fault_at(fault_at, now_s, start_s, end_s)
        reading = read_window(
            reader, catalogue, start_s, end_s, step_s, matchers=where, also=also,
            add_labels=added, bucket_roles=frozenset(),  # a table holds means
            deadline_s=options.deadline_s, tick=_Progress(reader.url),
        )  # fmt: skip
    frame, more = (reading.frame, ()) if given else _one_region(reading.frame)
    found = incidents_of_frame(
        frame, name=reader.url.partition("//")[2], changes=changes, service_label=service_label,
        fault_at_s=at_s, notes=(*notes, *_said(reading), *more),
    )  # fmt: skip
    if not found:
        raise PrometheusError(
            f"{reader.url}: {len(frame.series)} series of {len(reading.names)} metrics name no "
            "pod and no service, so nothing can be accused; name the label with --service-label, "
            "or add metrics of services with --match"
        )
    return found


def parse_span(text: str) -> float:
    """Seconds of `15`, `15s`, `500ms`, `1m`.

    Raises:
        PrometheusError: another form, or 0.
    """
    found = _SPAN.fullmatch(text.strip())
    seconds = float(found.group(1)) * _UNIT_S[found.group(2) or ""] if found else 0.0
    if not seconds > 0.0:
        raise PrometheusError(
            f"--step is {text!r}, expected more than 0 seconds such as 15, 15s or 1m; "
            "without it the scrape interval is found"
        )
    return seconds


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[\w-]+", name.strip()) or not value.strip().isprintable():
        raise PrometheusError(f"--header is {text!r}, expected name:value such as X-Scope-OrgID:a")
    return name.strip(), value.strip()


def _window(options: PrometheusOptions, now_s: float) -> tuple[float, float, list[str]]:
    """Start and end by the server's clock, and what is odd about them."""
    start_s = _moment("--start", options.start, now_s)
    end_s = _moment("--end", options.end, now_s)
    if not start_s < end_s:
        raise PrometheusError(
            f"--start {options.start} is {moment_text(start_s)}, not before --end {options.end}, "
            f"{moment_text(end_s)}; exchange them"
        )
    notes = []
    ahead_s = wall_s() - now_s
    if abs(ahead_s) > SKEW_S:
        way = "ahead of" if ahead_s > 0.0 else "behind"
        notes.append(f"this machine's clock is {abs(ahead_s):.0f} s {way} the server's: "
                     "'now' is the server's")  # fmt: skip
    if start_s >= now_s:
        raise PrometheusError(
            f"--start {options.start} is {moment_text(start_s)}, in the future of the server, "
            f"whose clock shows {moment_text(now_s)}; check time zone and clocks"
        )
    if end_s > now_s + SKEW_S:
        notes.append(
            f"--end {options.end} is in the server's future: read until {moment_text(now_s)}"
        )
        end_s = now_s
    return start_s, end_s, notes


def _fault_at(text: str, now_s: float, start_s: float, end_s: float) -> float | None:
    if not text:
        return None
    at_s = _moment("--fault-at", text, now_s)
    if not start_s < at_s < end_s:
        raise PrometheusError(
            f"--fault-at {text} is {moment_text(at_s)}, not between start {moment_text(start_s)} "
            f"and end {moment_text(end_s)}; widen the window to both sides of it"
        )
    return at_s


def _moment(option: str, text: str, now_s: float) -> float:
    try:
        return parse_moment(text, now_s=now_s)
    except PrometheusError as error:
        raise PrometheusError(f"{option}: {error}") from error


def _one_region(frame: MetricFrame) -> tuple[MetricFrame, tuple[str, ...]]:
    """Count series without a region to the only one that others name."""
    regions = {role.entity.region for role in frame.roles if role is not None} - {REGION}
    num = sum(role is not None and role.entity.region == REGION for role in frame.roles)
    if not regions or not num:
        return frame, ()
    if len(regions) > 1:
        return frame, (
            f"{num} series name no region, others {', '.join(sorted(regions))}: they are looked "
            "at apart; give --label region=... or --where region=...",
        )
    (only,) = regions
    roles = tuple(
        replace(role, entity=replace(role.entity, region=only))
        if role is not None and role.entity.region == REGION
        else role
        for role in frame.roles
    )
    return replace(frame, roles=roles), (f"{num} series name no region: taken as {only}",)


def _said(reading: FrameReading) -> list[str]:
    frame = reading.frame
    return [
        f"read {len(frame.series)} series of {len(reading.names)} metrics, {len(frame.times_s)} "
        f"rows every {frame.step_s:g} s from {moment_text(float(frame.times_s[0]))} to "
        f"{moment_text(float(frame.times_s[-1]))}",
        *reading.notes,
    ]


class _Progress:
    """Tells on stderr how far a long reading has come."""

    def __init__(self, url: str) -> None:
        self._url, self._next_s = url, monotonic_s() + QUIET_S

    def __call__(self, answered: int, known: int, num_samples: int) -> None:
        if monotonic_s() < self._next_s and answered < known:
            return
        if answered == known and monotonic_s() < self._next_s:
            return
        end = "\r" if sys.stderr.isatty() and answered < known else "\n"
        print(f"{self._url}: {answered} of {known} questions, {num_samples:,} samples", end=end,
              file=sys.stderr, flush=True)  # fmt: skip
        self._next_s = monotonic_s() + (0.2 if sys.stderr.isatty() else 10.0)
