"""Bodies of `kubectl midwatch report` and `export`: what is stored, as files."""

from __future__ import annotations

import hashlib
import webbrowser
import zlib
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import orjson
import typer

from ops.adapters.kube.paths import path_of
from ops.commands.cluster_access import Cluster, Object, connect, fail, show_json
from ops.commands.cluster_asked import Asked
from ops.controller.resources.fields import GROUP, VERSION
from ops.controller.screens.look import SYSTEM
from ops.controller.screens.stored import StoredIncident, condition
from ops.errors import KubeError

PAGE_BYTES_MAX = 64 * 1024 * 1024  # of an unpacked page: more is no page of ours
_WORKER = "deploy/midwatch-worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a report's ConfigMap holds."""

    config_map: str
    html: bytes
    markdown: str = ""


def save_report(asked: Asked, name: str, *, out: Path | None, open_it: bool) -> None:
    """Write the HTML page to a file, and open it where that is asked for."""
    cluster = connect(asked)
    _, incident = cluster.incident(name)
    page = _page(cluster, incident)
    if isinstance(page, str):
        raise fail(page)
    path = out or Path(f"{incident.name}.html")
    if path.is_dir():
        path = path / f"{incident.name}.html"
    elif not path.parent.is_dir():
        raise fail(f"{path.parent} is no folder; make it, or choose another place with --out")
    _write(path, page.html)
    if asked.as_json:
        show_json({"path": str(path), "bytes": len(page.html), "configMap": page.config_map})
    else:
        typer.echo(f"{path}: {len(page.html):,} bytes, of ConfigMap {page.config_map}")
    if open_it and not webbrowser.open(path.resolve().as_uri()):
        raise fail(f"no browser could be started; open {path} yourself")


def export_incident(asked: Asked, name: str, *, out: Path) -> None:
    """Write what the API server has of an incident into a folder, and say what it has not."""
    cluster = connect(asked)
    raw, incident = cluster.incident(name)
    files: dict[str, bytes] = {"incident.json": _json(raw)}
    rows: list[tuple[str, str]] = [("incident.json", "the Incident, as it is stored")]
    fleet = _optional(cluster, GROUP, "fleets", incident, incident.spec.fleet)
    if fleet is not None:
        files["fleet.json"] = _json(fleet)
        rows.append(("fleet.json", "its Fleet, as it is now"))
    page = _page(cluster, incident)
    if isinstance(page, str):
        rows.append(("report.html", f"missing: {page}"))
    else:
        files["report.html"] = page.html
        rows.append(("report.html", f"the page, of ConfigMap {page.config_map}"))
        if page.markdown:
            files["report.md"] = page.markdown.encode()
            rows.append(("report.md", "the same as Markdown"))
    events = _events(cluster, incident)
    if events:
        files["events.json"] = _json(events)
        rows.append(("events.json", f"{len(events)} Events about it"))
    rows.append(("bundle", _bundle(incident)))
    for file_name, content in files.items():
        _write(out / file_name, content)
    if asked.as_json:
        show_json({"folder": str(out), "files": sorted(files), "notes": dict(rows)})
        return
    typer.echo(f"{out}:")
    for file_name, text in rows:
        typer.echo(f"  {file_name:<14} {text}")


def _page(cluster: Cluster, incident: StoredIncident) -> Page | str:
    """The page, or why there is none."""
    ref = incident.status.report
    if ref is None or not ref.config_map:
        recorded = condition(incident.status.conditions, "Recorded")
        because = f" ({recorded.message})" if recorded and recorded.message else ""
        return (
            f"no report is written for {incident.name} yet{because}; see "
            f"kubectl midwatch why {incident.name} -n {incident.namespace}"
        )
    path = path_of("", "v1", "configmaps", incident.namespace, ref.config_map)
    try:
        stored = cluster.api.get(path)
    except KubeError as error:
        if error.status == 404:
            return f"ConfigMap {ref.config_map} of its report is gone: it was pruned or deleted"
        return f"ConfigMap {ref.config_map} of its report cannot be read: {error}"
    packed = stored.get("binaryData") or {}
    keys = [key for key in sorted(packed) if key.endswith(".html.gz")]
    if not keys:
        return f"ConfigMap {ref.config_map} holds no key ending in .html.gz"
    try:
        html = _unpacked(b64decode(packed[keys[0]], validate=True))
    except (OSError, EOFError, ValueError, Base64Error, zlib.error) as error:
        return f"key {keys[0]} of ConfigMap {ref.config_map} is damaged: {error}"
    if ref.sha256 and hashlib.sha256(html).hexdigest() != ref.sha256:
        return (
            f"key {keys[0]} of ConfigMap {ref.config_map} is not the page that the Incident "
            f"speaks of (sha256 {ref.sha256[:12]}): it was changed, or is being written"
        )
    texts = stored.get("data") or {}
    markdown = next((texts[key] for key in sorted(texts) if key.endswith(".md")), "")
    return Page(config_map=ref.config_map, html=html, markdown=str(markdown))


def _unpacked(raw: bytes) -> bytes:
    """The page of a gzip, which may not be a bomb."""
    unpacker = zlib.decompressobj(wbits=31)
    html = unpacker.decompress(raw, PAGE_BYTES_MAX)
    if unpacker.unconsumed_tail:
        raise ValueError(f"more than {PAGE_BYTES_MAX} bytes unpacked")
    if not unpacker.eof:
        raise EOFError("it ends too early")
    return html


def _bundle(incident: StoredIncident) -> str:
    """Where the bundle is, and how to fetch it: the API server does not hold it."""
    ref = incident.status.report
    if ref is None or not ref.bundle:
        recorded = condition(incident.status.conditions, "Recorded")
        return f"missing: {recorded.message if recorded and recorded.message else 'none is told'}"
    folder, _, last = ref.bundle.rstrip("/").rpartition("/")
    return (
        f"on the worker's volume at {ref.bundle}; a worker outside the cluster has it in that "
        f"folder of its machine, from one of the shipped manifests fetch it with: kubectl -n "
        f"{SYSTEM} exec {_WORKER} -- tar cf - -C {quote(folder or '/')} {quote(last)} | tar xf -"
    )


def _events(cluster: Cluster, incident: StoredIncident) -> list[Object]:
    """Events about it; none where they may not be read."""
    path = path_of("", "v1", "events", incident.namespace)
    selector = f"involvedObject.kind=Incident,involvedObject.name={incident.name}"
    try:
        found = cluster.api.get(path, params={"fieldSelector": selector, "limit": 500})
    except KubeError:
        return []
    return list(found.get("items") or [])


def _optional(
    cluster: Cluster, group: str, resource: str, incident: StoredIncident, name: str
) -> Object | None:
    try:
        return cluster.api.get(path_of(group, VERSION, resource, incident.namespace, name))
    except KubeError:
        return None


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise fail(f"{path}: {error.strerror}; choose another place with --out") from error
