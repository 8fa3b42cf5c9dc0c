"""Options of `midwatch rca` that say where an incident is read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_PROMETHEUS = "From Prometheus"

PathToRead = Annotated[
    Path | None,
    typer.Argument(help="Case folder, wide table (CSV, CSV.GZ, Parquet; - = stdin) or bundle."),
]
FaultAtS = Annotated[
    float | None,
    typer.Option(help="When it began, on the rows' clock; found by itself without."),
]
FaultAt = Annotated[
    str,
    typer.Option(
        "--fault-at",
        metavar="TIME",
        help="The same as a time: 2026-01-02T03:04:05Z, unix seconds or now-20m.",
    ),
]
Changes = Annotated[
    Path | None,
    typer.Option(help="Announced changes, one JSON object a line: at_s, kind, service."),
]
ServiceLabel = Annotated[
    str, typer.Option(metavar="NAME", help="Label that names a pod's service; found by itself.")
]
Url = Annotated[
    str,
    typer.Option(
        "--prometheus", metavar="URL", help="Read this Prometheus.", rich_help_panel=_PROMETHEUS
    ),
]
Start = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="First row: 2026-01-02T03:04:05Z, unix seconds, now-2h.",
        rich_help_panel=_PROMETHEUS,
    ),
]
End = Annotated[str, typer.Option(metavar="TIME", help="Last row.", rich_help_panel=_PROMETHEUS)]
Step = Annotated[
    str,
    typer.Option(
        metavar="SPAN",
        help="Between rows, best the scrape interval: 15, 15s, 1m. Found by itself.",
        rich_help_panel=_PROMETHEUS,
    ),
]
AddedLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=VALUE",
        help="Given to series that lack it, such as region=eu-west-1. Repeatable.",
        rich_help_panel=_PROMETHEUS,
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Only series with `namespace=prod` or `pod=~shop-.+`. Repeatable.",
        rich_help_panel=_PROMETHEUS,
    ),
]
Match = Annotated[
    list[str] | None,
    typer.Option(
        "--match",
        metavar="SELECTOR",
        help="Metrics of your own beside the known ones: `shop_orders_total`, "
        '`{__name__=~"shop_.+"}`. Repeatable.',
        rich_help_panel=_PROMETHEUS,
    ),
]
TokenFile = Annotated[
    Path | None, typer.Option(help="Holds a bearer token.", rich_help_panel=_PROMETHEUS)
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="Certificates to trust instead.",
        rich_help_panel=_PROMETHEUS,
    ),
]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="NAME:VALUE",
        help="Sent along, such as X-Scope-OrgID:team-a. Repeatable.",
        rich_help_panel=_PROMETHEUS,
    ),
]
TimeoutS = Annotated[
    float, typer.Option(help="Of one request, in seconds.", rich_help_panel=_PROMETHEUS)
]
DeadlineS = Annotated[
    float, typer.Option(help="Of all reading, in seconds.", rich_help_panel=_PROMETHEUS)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusOptions:
    """What was asked of a Prometheus, as it was typed; `url` is empty where it was not."""

    url: str = ""
    start: str = "now-1h"
    end: str = "now"
    step: str = ""
    labels: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    token_file: Path | None = None
    ca_file: Path | None = None
    headers: tuple[str, ...] = ()
    timeout_s: float = 30.0
    deadline_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an incident is read from: a path or a Prometheus, and what is said of it."""

    path: Path | None = None
    fault_at_s: float | None = None
    fault_at: str = ""
    changes: Path | None = None
    service_label: str = ""
    prometheus: PrometheusOptions = PrometheusOptions()
