"""The command line that gives a ranking again: moments made absolute, secrets left out."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

from ops.commands.rca_options import PrometheusOptions, Source
from rca.granger_kind import GrangerChoice
from rca.incident import Incident

_USER = re.compile(r"//[^/@]*@")  # name and password inside a URL


def read_from(source: Source) -> str:
    """What was read, in words; no password."""
    if source.prometheus.url:
        return _USER.sub("//", source.prometheus.url)
    return str(source.path)


def command_of(
    source: Source,
    incident: Incident,
    *,
    metrics_only: bool,
    granger: GrangerChoice,
    top: int | None,
) -> str:
    """`midwatch rca rank` with every option that shaped the answer, and a page.

    Args:
        incident: its first and last row stand for "now-1h" and "now", its fault time for "now-20m".
        top: None where it is the usual one.
    """
    words = ["midwatch", "rca", "rank"]
    if source.prometheus.url:
        words += _prometheus(source.prometheus, incident)
    else:
        words.append(str(source.path))
    if source.fault_at or source.fault_at_s is not None:
        words += ["--fault-at-s", _seconds(incident.fault_at_s or 0.0)]
    words += _path("--changes", source.changes)
    words += ["--service-label", source.service_label] if source.service_label else []
    words += ["--channels", "metrics"] if metrics_only else []
    words += [] if granger is GrangerChoice.AUTO else ["--granger", str(granger)]
    words += [] if top is None else ["--top", str(top)]
    return shlex.join([*words, "--report", "report.html"])


def _prometheus(asked: PrometheusOptions, incident: Incident) -> list[str]:
    """A token or a header's value never stands on a page; the file that holds one may."""
    words = ["--prometheus", _USER.sub("//", asked.url)]
    if len(incident.times_s):
        words += ["--start", _moment(float(incident.times_s[0]))]
        words += ["--end", _moment(float(incident.times_s[-1]))]
    words += ["--step", asked.step] if asked.step else []
    for option, values in (
        ("--label", asked.labels), ("--where", asked.where), ("--match", asked.match)
    ):  # fmt: skip
        words += [word for value in values for word in (option, value)]
    words += _path("--token-file", asked.token_file) + _path("--ca-file", asked.ca_file)
    for header in asked.headers:
        words += ["--header", f"{header.partition(':')[0]}:..."]
    return words


def _path(option: str, path: Path | None) -> list[str]:
    return [] if path is None else [option, str(path)]


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(at_s: float) -> str:
    return f"{at_s:.3f}".rstrip("0").rstrip(".")
