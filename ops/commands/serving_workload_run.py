"""Bodies of `midwatch serving workload`; parameters are declared in `serving_workload`."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import typer

from ops.commands.options import OURS, command_line
from ops.reports.workload_page import render_workload
from ops.reports.workload_words import aspect_lines, differences, repeated
from serving.errors import ConfigError
from serving.workload import RequestTable, read_table, read_trace, write_csv, write_trace
from serving.workload.clients import draw_clients
from serving.workload.fidelity import Aspect, Verdict, compare
from serving.workload.fit import fit
from serving.workload.formats.parquet import SUFFIX, write_parquet
from serving.workload.law_file import encode_law, parse_law
from serving.workload.laws import WorkloadLaw
from serving.workload.replay import mean_rate_rps
from serving.workload.resample import resample
from serving.workload.windows import LoadWindows, TokenQuantiles

AUTO, OWN_FORMAT = "auto", "requests"


def run_fit(
    trace: Path,
    *,
    trace_format: str,
    skip_bad_rows: bool,
    start_hour: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Read, fit, write the model file, say what was found."""
    target = out or Path(f"{trace.name.split('.')[0]}.workload.json")
    try:
        table, notes = _read(trace, trace_format, skip_bad_rows)
        law = fit(table, start_hour=start_hour)
        raw = encode_law(law)
        parse_law(raw, source=str(target))  # what we write, we can read
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(raw)
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(_unwritable(target, error)) from error
    if as_json:
        typer.echo(
            _json({"out": str(target), "requests": len(table), "notes": notes, **_facts(law)})
        )
        return
    for note in notes:
        typer.echo(note)
    hours = law.duration_s / 3600
    typer.echo(f"{law.trace_id}: {len(table):,} requests over {hours:.3g} h")
    for row in _facts(law)["streams"]:
        typer.echo(
            f"  {row['model']}, {row['kind']}: {row['requests']:,} requests, gamma shape "
            f"{row['alpha']:.2f}, prompt {row['prompt_p50']:.0f} and output median "
            f"{row['output_p50']:.0f} tokens, {row['fail_ratio']:.2g} failed"
            + (f", {row['turns_mean']:.2f} turns a session" if row["turns_mean"] else "")
        )
    typer.echo(f"wrote {target}, {len(raw) / 1024:.0f} KiB")


def run_generate(
    model: Path,
    *,
    tokens: Path | None,
    start_s: float,
    seed: int,
    duration_s: float | None,
    rate_ratio: float,
    shape: str,
    continuous: bool,
    trace_format: str,
    out: Path,
    as_json: bool,
) -> None:
    """Draw a trace and write it."""
    notes: list[str] = []
    try:
        if tokens is not None:
            table = _from_clients(
                model, tokens, seed=seed, start_s=start_s, duration_s=duration_s,
                rate_ratio=rate_ratio,
            )  # fmt: skip
        elif start_s:
            raise ConfigError("--start belongs to ServeGen's windows; give --tokens, or leave it")
        else:
            law = _law(model)
            notes = repeated(law.duration_s, duration_s)
            table = resample(
                law, seed=seed, duration_s=duration_s, rate_ratio=rate_ratio, shape=shape,
                continuous=continuous,
            )  # fmt: skip
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(table, out, trace_format)
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(_unwritable(out, error)) from error
    figures = {
        "out": str(out),
        "format": trace_format,
        "notes": notes,
        "seed": seed,
        "requests": len(table),
        "rate_rps": mean_rate_rps(table) if len(table) > 1 else None,
        "prompt_tokens": int(table.num_prompt_tokens.sum(dtype="int64")),
        "output_tokens": int(table.num_output_tokens.sum(dtype="int64")),
    }
    if as_json:
        typer.echo(_json(figures))
        return
    typer.echo(f"seed {seed}: {len(table):,} requests, {figures['prompt_tokens']:,} prompt and "
               f"{figures['output_tokens']:,} output tokens")  # fmt: skip
    for note in notes:
        typer.echo(note)
    typer.echo(f"wrote {out}")


def run_check(
    reference: Path,
    candidate: Path,
    *,
    trace_format: str,
    skip_bad_rows: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare, print a row for each aspect, write the page; exit code 1 where one differs."""
    try:
        tables = [_read(p, trace_format, skip_bad_rows) for p in (reference, candidate)]
        (a, _), (b, _) = tables
        aspects = compare(a, b)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            command = command_line(
                "midwatch", "serving", "workload", "check", reference, candidate,
                options=[
                    ("--format", None if trace_format == AUTO else trace_format),
                    ("--skip-bad-rows", skip_bad_rows),
                    ("--out", out),
                ],
            )  # fmt: skip
            page = render_workload(
                a, b, aspects, names=(reference.name, candidate.name), command=command
            )
            out.write_text(page, encoding="utf-8")
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(_unwritable(out or Path(), error)) from error
    alike = all(aspect.verdict != Verdict.DIFFERENT for aspect in aspects)
    notes = [note for _, found in tables for note in found]
    if as_json:
        told = dict(differences(aspects))
        rows = [
            {**_finite(a), "verdict": a.verdict.value, "difference": told.get(a.name)}
            for a in aspects
        ]
        typer.echo(_json({"reference": str(reference), "candidate": str(candidate),
                          "alike": alike, "notes": notes, "aspects": rows}))  # fmt: skip
    else:
        for note in notes:
            typer.echo(note)
        for line in aspect_lines(aspects, names=(reference.name, candidate.name)):
            typer.echo(line)
        for _, text in differences(aspects):
            typer.echo(text)
        if out is not None:
            typer.echo(f"Report {out}")
    if not alike:
        raise typer.Exit(1)


def _facts(law: WorkloadLaw) -> dict[str, list[dict[str, Any]]]:
    """What a reader wants to know of a fit first."""
    return {
        "streams": [
            {
                "model": one.model,
                "kind": one.kind.lower(),
                "requests": one.num_requests,
                "alpha": one.alpha,
                "windows_fitted": sum(alpha is not None for alpha in one.alphas),
                "windows": len(one.alphas),
                "prompt_p50": one.median_tokens()[0],
                "output_p50": one.median_tokens()[1],
                "fail_after_ok": one.fail_after_ok,
                "fail_after_fail": one.fail_after_fail,
                "fail_ratio": one.fail_ratio,
                "turns_mean": one.session.turns_mean if one.session else None,
            }
            for one in law.streams
        ]
    }


def _read(path: Path, trace_format: str, skip_bad_rows: bool) -> tuple[RequestTable, list[str]]:
    table, report = read_trace(path, trace_format=trace_format, skip_bad_rows=skip_bad_rows)
    dropped = report.rows_read - report.rows_kept
    return table, [f"{path.name}: {dropped} bad rows dropped"] if dropped else []


def _law(model: Path) -> WorkloadLaw:
    raw = _bytes(model)
    if raw[:1] not in (b"{", b"") and _is_windows(model):
        raise ConfigError(
            f"{model.name} holds load windows per client; pass their token quantiles with --tokens"
        )
    return parse_law(raw, source=model.name)


def _is_windows(path: Path) -> bool:
    try:
        return isinstance(read_table(path)[0], LoadWindows)
    except OURS:
        return False


def _from_clients(
    windows: Path,
    tokens: Path,
    *,
    seed: int,
    start_s: float,
    duration_s: float | None,
    rate_ratio: float,
) -> RequestTable:
    found, lengths = read_table(windows)[0], read_table(tokens)[0]
    for path, table, wanted in (
        (windows, found, LoadWindows),
        (tokens, lengths, TokenQuantiles),
    ):
        if not isinstance(table, wanted):
            raise ConfigError(
                f"{path.name} holds {type(table).__name__}, expected {wanted.__name__}; give "
                "ServeGen's windows first and its token quantiles with --tokens"
            )
    assert isinstance(found, LoadWindows)
    assert isinstance(lengths, TokenQuantiles)
    return draw_clients(
        found, lengths, seed=seed, start_s=start_s, duration_s=duration_s, rate_ratio=rate_ratio
    )[0]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error}; give a file of workload fit") from error


def _write(table: RequestTable, out: Path, trace_format: str) -> None:
    if out.suffix == SUFFIX:
        if trace_format != OWN_FORMAT:
            raise ConfigError(f"--out {out}: Parquet holds the format {OWN_FORMAT} only")
        write_parquet(table, out)
        return
    if trace_format != OWN_FORMAT:
        write_trace(table, out, trace_format)
        return
    if out.suffix == ".gz":
        raise ConfigError(f"--out {out}: {OWN_FORMAT} files are not packed; leave out .gz")
    try:
        write_csv(table, out)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _unwritable(path: Path, error: OSError) -> str:
    return f"{path} cannot be written: {error}; choose another --out"


def _finite(aspect: Aspect) -> dict[str, object]:
    """The fields, with null for what is unknown."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(aspect).items()
    }


def _json(figures: dict[str, object]) -> str:
    return orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode()
