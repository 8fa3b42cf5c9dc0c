"""Bodies of `midwatch rca`; parameters are declared in `ops.commands.rca`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import typer

from ops.clock import cpu_s
from ops.commands.rca_again import command_of, read_from
from ops.commands.rca_inputs import read_incidents
from ops.commands.rca_options import Source
from ops.commands.rca_output import Output, give_out
from ops.errors import OpsError
from rca.disturb import Disturbance
from rca.errors import RcaError
from rca.evaluate import LeaveOut, evaluate, report
from rca.granger_choice import choose
from rca.granger_kind import GrangerChoice
from rca.incident import Incident
from rca.judging import Method
from rca.localisation import Localisation
from rca.localise import CHANNELS, localise


def run_rank(source: Source, *, metrics_only: bool, granger: GrangerChoice, output: Output) -> None:
    """Read, rank, give out. Exit code 1 where nothing stands out, 2 on wrong use."""
    try:
        channels = () if metrics_only else CHANNELS
        model = choose(granger)
        answers = [
            (localise(i, channels=channels, granger=model), i) for i in read_incidents(source)
        ]
    except (RcaError, OpsError) as error:
        raise typer.BadParameter(str(error)) from error
    found, incident = _most_troubled(answers)
    if not found.services:
        raise typer.BadParameter(
            f"{source.path}: no column names a service; columns are <service>_<metric>"
        )
    if metrics_only:
        incident = replace(incident, spans=None, logs=None, normal_spans=(), normal_logs=())
    top = None if output.top == Output().top else output.top
    command = command_of(source, incident, metrics_only=metrics_only, granger=granger, top=top)
    give_out(found, incident, source=read_from(source), command=command, output=output)
    if found.abstained:
        raise typer.Exit(1)


def _most_troubled(
    answers: Sequence[tuple[Localisation, Incident]],
) -> tuple[Localisation, Incident]:
    """Of several regions the one where most happened, with a note on the others."""
    found, incident = max(answers, key=lambda answer: answer[0].presence)
    if len(answers) == 1:
        return found, incident
    others = ", ".join(f"{a.incident_id} {a.presence:.2f}" for a, _ in answers if a is not found)
    note = (f"of {len(answers)} regions this one changed most, {found.presence:.2f} times what "
            f"quiet time shows; {others}")  # fmt: skip
    return replace(found, notes=(note, *found.notes)), incident


def run_evaluate(
    data: Path,
    *,
    only: str,
    leave_out: str,
    metrics_only: bool,
    disturbance: Disturbance,
    without: frozenset[str],
    granger: GrangerChoice,
    spans: bool,
    logs: bool,
    repair: bool,
    as_json: bool,
) -> None:
    """Evaluate and print. Exit code 1 where a case failed, 2 on wrong use."""
    try:
        method = Method(
            channels=() if metrics_only else CHANNELS,
            without=without,
            granger=choose(granger),
            repair=repair,
            spans=spans,
            logs=logs,
            disturbance=disturbance,
        )
        result = evaluate(
            data, only=only, method=method, leave_out=LeaveOut(leave_out), cpu_s=cpu_s, tick=_tick
        )
    except RcaError as error:
        raise typer.BadParameter(str(error)) from error
    figures = report(result)
    if as_json:
        typer.echo(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    else:
        _print_figures(figures)
    if leave_out and len(figures["knobs"]) == 1:
        print(
            f"{data} holds one {leave_out}, so there was nothing to choose settings on: plain ones "
            "were taken; without --leave-out the shipped ones are",
            file=sys.stderr,
        )
    for case, why in figures["failed"].items():
        print(f"failed, counted as a miss: {case}: {why}", file=sys.stderr)
    if figures["failed"]:
        raise typer.Exit(1)


def _tick(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total or done % 25 == 0:
        end = "\n" if done == total or not sys.stderr.isatty() else "\r"
        print(f"{what} {done}/{total}", end=end, file=sys.stderr, flush=True)


def _print_figures(figures: dict[str, Any]) -> None:
    typer.echo(f"{'set':<22}{'n':>5}{'AC@1':>7}{'95 %':>12}{'AC@3':>7}{'AC@5':>7}{'Avg@5':>7}"
               f"{'metric':>8}{'random':>8}{'order':>7}")  # fmt: skip
    for name, one in figures["sets"].items():
        low, high = one["interval"]
        metric = f"{one['metric']['ac_at_1']:.2f}" if one["metric"]["n"] else "-"
        typer.echo(
            f"{name:<22}{one['n']:>5}{one['ac_at_1']:>7.2f}{f'{low:.2f}-{high:.2f}':>12}"
            f"{one['ac_at_3']:>7.2f}{one['ac_at_5']:>7.2f}{one['avg_at_5']:>7.2f}{metric:>8}"
            f"{one['floors']['random']:>8.2f}{one['floors']['column_order']:>7.2f}"
        )
    macro = figures["macro"]
    typer.echo(f"{'mean of sets':<27}{macro['ac_at_1']:>7.3f}{'':>12}{macro['ac_at_3']:>7.3f}"
               f"{macro['ac_at_5']:>7.3f}{macro['avg_at_5']:>7.3f}")  # fmt: skip
    for name, one in figures["sets"].items():
        kinds = ", ".join(f"{k} {v['ac_at_1']:.2f} of {v['n']}" for k, v in one["by_kind"].items())
        typer.echo(f"{name}: {kinds}")
    _print_trust("", figures["presence"], figures["calibration"])
    if "fold" in figures["presence"]:
        _print_trust("by folds, ", figures["presence"]["fold"], figures["calibration"]["fold"])
        thresholds = figures["presence"]["fold"]["thresholds"]
        typer.echo("  thresholds: " + ", ".join(f"{k} {v:.2f}" for k, v in thresholds.items()))
    for key, said in (("without_effect", "faults that nobody felt"),
                      ("no_service", "troubles of no service")):  # fmt: skip
        if key in figures:
            typer.echo(f"{said}: {figures[key]['accused']:.1%} of {figures[key]['n']} accused")
    if "simultaneous" in figures:
        both = figures["simultaneous"]
        typer.echo(f"two faults at once: both in the first four in {both['both_in_top_4']:.1%} "
                   f"of {both['n']}")  # fmt: skip
    for name, one in figures["change_point"].items():
        typer.echo(f"change point {name}: {one['within']:.1%} of {one['n']} near enough")
    for name, one in figures["join_found"].items():
        typer.echo(f"{name} is spliced: a join was found in {one['within']:.1%} of {one['n']}")
    cost = figures["cpu_s"]
    typer.echo(
        f"CPU a case: {cost['p50'] * 1e3:.0f} ms median, {cost['p95'] * 1e3:.0f} ms p95; "
        f"failures {figures['failures']}"
    )
    used = ", ".join(f"{name} in {n}" for name, n in figures["granger"]["used"].items())
    typer.echo(f"granger: {used} of the cases")
    for fold, knobs in figures["knobs"].items():
        typer.echo(f"settings {fold}: " + ", ".join(f"{k} {v:g}" for k, v in knobs.items()))


def _print_trust(how: str, quiet: dict[str, Any], sure: dict[str, Any]) -> None:
    sources = ", ".join(f"{v['false_accusations']:.1%} of {v['n']} by {k}"
                        for k, v in quiet["by_source"].items() if v["n"])  # fmt: skip
    typer.echo(
        f"presence: {how}{quiet['coverage']:.1%} of faults answered, "
        f"{quiet['ac_at_1_answered']:.1%} of these right; {quiet['false_accusations']:.1%} of "
        f"{quiet['n']} fault-free windows accused ({sources})"
    )
    low, high = sure["interval"]
    typer.echo(
        f"confidence: {how}calibration error {sure['ece']:.3f} ({low:.3f}-{high:.3f}), Brier "
        f"{sure['brier']:.3f}, {sure['n']} answers: {sure['faults']} faults, "
        f"{sure['disturbed_copies']} disturbed copies, {sure['fault_free']} fault-free windows"
    )
