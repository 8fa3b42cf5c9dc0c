"""`midwatch rca`: root causes of recorded incidents."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ops.commands import rca_evaluate_options as parts
from ops.commands import rca_options as options
from rca.granger_kind import GrangerChoice

app = typer.Typer(
    help="Rank the causes of an incident, and measure how often the ranking is right.",
    no_args_is_help=True,
)


class Channels(StrEnum):
    """Which data is used."""

    METRICS = "metrics"
    ALL = "all"


class Fold(StrEnum):
    """What a fold keeps from the choice of settings."""

    SET = "set"
    SYSTEM = "system"


Granger = Annotated[
    GrangerChoice,
    typer.Option(help="What leads what, by which model; auto is neural with torch, else linear."),
]


@app.command()
def rank(
    path: options.PathToRead = None,
    fault_at_s: options.FaultAtS = None,
    fault_at: options.FaultAt = "",
    top: Annotated[int, typer.Option(min=1, help="Suspects to print.")] = 5,
    channels: Annotated[Channels, typer.Option(help="Metrics only, or all.")] = Channels.ALL,
    granger: Granger = GrangerChoice.AUTO,
    changes: options.Changes = None,
    service_label: options.ServiceLabel = "",
    prometheus: options.Url = "",
    start: options.Start = "now-1h",
    end: options.End = "now",
    step: options.Step = "",
    label: options.AddedLabels = None,
    where: options.Where = None,
    match: options.Match = None,
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    header: options.Headers = None,
    timeout_s: options.TimeoutS = 30.0,
    deadline_s: options.DeadlineS = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the answer as Markdown to this file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page (HTML, one file) to this file.")
    ] = None,
) -> None:
    """Name the service, instance and metric at fault in one incident, recorded or of now.

    Columns of a table are `time` and `<service>_<metric>`, split at the last underscore. Exit code
    1 when nothing stands out: the ranking is printed all the same.

    Example: `midwatch rca rank incidents/2024-05-01/metrics.csv --fault-at-s 1714521600`

    Example: `midwatch rca rank --prometheus http://prometheus:9090 --start now-2h --report p.html`
    """
    from ops.commands.rca_output import Output
    from ops.commands.rca_run import run_rank

    asked = options.PrometheusOptions(
        url=prometheus, start=start, end=end, step=step, labels=tuple(label or ()),
        where=tuple(where or ()), match=tuple(match or ()), token_file=token_file,
        ca_file=ca_file, headers=tuple(header or ()), timeout_s=timeout_s, deadline_s=deadline_s,
    )  # fmt: skip
    source = options.Source(
        path=path, fault_at_s=fault_at_s, fault_at=fault_at, changes=changes,
        service_label=service_label, prometheus=asked,
    )  # fmt: skip
    run_rank(
        source, metrics_only=channels is Channels.METRICS, granger=granger,
        output=Output(top=top, as_json=as_json, markdown=markdown, report=report),
    )  # fmt: skip


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of sets, a set, or a case.")],
    only: Annotated[str, typer.Option(help="Score this set only.")] = "",
    channels: Annotated[Channels, typer.Option(help="Metrics only, or all.")] = Channels.ALL,
    leave_out: Annotated[
        Fold | None, typer.Option(help="Choose settings without the set or system scored.")
    ] = None,
    hide_fault_time: Annotated[
        bool, typer.Option("--hide-fault-time", help="Nobody says when it began.")
    ] = False,
    shift_s: Annotated[
        float, typer.Option(help="Give the fault time so many seconds too late; negative: early.")
    ] = 0.0,
    drop_cells: Annotated[float, typer.Option(help="Chance of a cell to be missing.")] = 0.0,
    late_services: Annotated[float, typer.Option(help="Chance of a service to lag.")] = 0.0,
    dirty: Annotated[
        bool, typer.Option("--dirty", help="Dead series, a counter reset, repeated rows.")
    ] = False,
    shuffle_columns: parts.ShuffleColumns = False,
    rescale_units: parts.RescaleUnits = False,
    granger: Granger = GrangerChoice.AUTO,
    no_granger: Annotated[bool, typer.Option("--no-granger", help="As --granger off.")] = False,
    no_spans: parts.NoSpans = False,
    no_logs: parts.NoLogs = False,
    no_sequences: parts.NoSequences = False,
    no_onset: parts.NoOnset = False,
    no_topology: parts.NoTopology = False,
    no_changes: parts.NoChanges = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure accuracy, abstention, calibration and cost over labelled cases.

    DATA holds sets of cases, `SET/CASE/metrics.csv` with `case.json` beside it (docs/rca.md). A
    case that cannot be read or ranked counts as a miss; it is named on stderr, and the exit code is
    1.

    Example: `midwatch rca evaluate --data incidents --channels metrics --leave-out set`
    """
    from ops.commands.rca_run import run_evaluate
    from rca.disturb import Disturbance

    without = {"sequences": no_sequences, "topology": no_topology, "change": no_changes}
    try:
        disturbance = Disturbance(
            hide_fault_time=hide_fault_time, shift_s=shift_s, drop_cells=drop_cells,
            late_services=late_services, dirty=dirty, shuffle_columns=shuffle_columns,
            rescale_units=rescale_units,
        )  # fmt: skip
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    run_evaluate(
        data, only=only, leave_out=str(leave_out or ""), as_json=as_json,
        metrics_only=channels is Channels.METRICS, disturbance=disturbance,
        without=frozenset(name for name, off in without.items() if off),
        granger=GrangerChoice.OFF if no_granger else granger,
        spans=not no_spans, logs=not no_logs, repair=not no_onset,
    )  # fmt: skip
