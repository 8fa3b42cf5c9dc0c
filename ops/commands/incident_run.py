"""Body of `midwatch incident`: reads journals and bundles, never a world."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import orjson
import typer

from ops.adapters.journal import read_journal
from ops.bundle import CONTENT, MANIFEST, TRUTH, read_bundle, read_manifest, read_truth
from ops.errors import OpsError
from ops.reports.markdown import escape

Entry = dict[str, Any]


def show_incidents(folder: Path, *, incident_id: str, markdown: bool, as_json: bool) -> None:
    """Print the incidents of a journal. Exit code 2 where there is none to show."""
    if markdown and as_json:
        raise typer.BadParameter("--markdown and --json exclude each other; give one")
    try:
        bundle = (folder / MANIFEST).is_file()
        wanted = incident_id or (_own_id(folder) if bundle else "")
        entries = read_journal(folder / "journal.jsonl").entries
    except OpsError as error:
        raise typer.BadParameter(str(error)) from error
    ids = sorted({str(e["incident_id"]) for e in entries if e.get("incident_id")})
    if wanted and wanted not in ids:
        raise typer.BadParameter(
            f"{folder} has no incident {wanted!r}; it has {', '.join(ids) or 'none'}"
        )
    chosen = [wanted] if wanted else ids
    kept = [e for e in entries if e.get("incident_id") in chosen]
    if as_json:
        typer.echo(orjson.dumps(kept, option=orjson.OPT_INDENT_2).decode())
        return
    if not chosen:
        typer.echo(f"No incident in {folder}.")
        for entry in entries:  # gaps in the measurements belong to no incident
            typer.echo(f"  {_clock(entry)} {entry['kind']:10} {_told(entry)}")
    for one in chosen:
        mine = [e for e in kept if e["incident_id"] == one]
        typer.echo("\n".join(_markdown(one, mine) if markdown else _plain(one, mine)))


def _own_id(folder: Path) -> str:
    """The incident that a bundle was written for."""
    return str(read_manifest(folder).source.get("incident_id", ""))


def _plain(incident_id: str, entries: list[Entry]) -> list[str]:
    lines = [f"{incident_id}: {_state(entries)}"]
    for entry in entries:
        lines.append(f"  {_clock(entry)} {entry['kind']:10} {_told(entry)}")
    for cause in _causes(entries):
        lines.append(f"  {cause['confidence']:8.2f} {cause['entity']}, {cause['resource_class']}")
    return [*lines, ""]


def _markdown(incident_id: str, entries: list[Entry]) -> list[str]:
    lines = [f"# {escape(incident_id)}: {escape(_state(entries))}", "", "| | | |", "|---|---|---|"]
    lines += [f"| {_clock(e)} | {e['kind']} | {escape(_told(e))} |" for e in entries]
    causes = _causes(entries)
    if causes:
        lines += ["", "| Candidate | Resource | Confidence |", "|---|---|---|"]
        lines += [
            f"| {escape(c['entity'])} | {escape(c['resource_class'])} | {c['confidence']:.2f} |"
            for c in causes
        ]
    return [*lines, ""]


def _clock(entry: Entry) -> str:
    """Seconds of the world's clock."""
    return f"{entry['at_s']:8.0f} s"


def _told(entry: Entry) -> str:
    action = entry.get("action")
    done = f"{action['kind']} {action['target']}: " if action else ""
    return f"{done}{entry['reason']}"


def _state(entries: list[Entry]) -> str:
    last = _last(entries)
    return str(last["phase"]) if last else "unknown"


def _last(entries: list[Entry]) -> Entry | None:
    found = [e["incident"] for e in entries if e.get("incident")]
    return found[-1] if found else None


def _causes(entries: list[Entry]) -> list[Entry]:
    last = _last(entries)
    result = last.get("result") if last else None
    return list(result["causes"][:5]) if result else []


def export_incident(folder: Path, *, incident_id: str, out: Path, truth: bool) -> None:
    """Verify a bundle and write it as tar: same bundle, same bytes."""
    place = folder if (folder / MANIFEST).is_file() else folder / "bundle" / incident_id
    try:
        read_bundle(place)
        if truth and read_truth(place) is None:
            raise typer.BadParameter(f"{place} has no truth; leave --truth")
        if _own_id(place) not in ("", incident_id):
            raise typer.BadParameter(f"{place} is the bundle of {_own_id(place)}")
    except OpsError as error:
        raise typer.BadParameter(str(error)) from error
    names = [MANIFEST, *CONTENT, *([TRUTH] if truth else [])]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            content = (place / name).read_bytes()
            member = tarfile.TarInfo(f"{incident_id}/{name}")
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(packed.getvalue())
    except OSError as error:
        raise typer.BadParameter(f"--out {out}: {error}; choose another file") from error
    typer.echo(f"{out}: {len(names)} files, {len(packed.getvalue()):,} bytes")
