"""Options of `midwatch rca evaluate` that disturb the cases or leave parts of the method out."""

from __future__ import annotations

from typing import Annotated

import typer

ShuffleColumns = Annotated[
    bool,
    typer.Option("--shuffle-columns", help="Columns in another order: the answer must not change."),
]
RescaleUnits = Annotated[
    bool, typer.Option("--rescale-units", help="Other units: the answer must not change.")
]
NoSpans = Annotated[bool, typer.Option("--no-spans", help="Leave out spans.")]
NoLogs = Annotated[bool, typer.Option("--no-logs", help="Leave out log lines.")]
NoSequences = Annotated[
    bool, typer.Option("--no-sequences", help="Leave out what comes after what in a trace.")
]
NoOnset = Annotated[bool, typer.Option("--no-onset", help="Take a given fault time as it is.")]
NoTopology = Annotated[bool, typer.Option("--no-topology", help="Leave out who calls whom.")]
NoChanges = Annotated[bool, typer.Option("--no-changes", help="Leave out announced changes.")]
