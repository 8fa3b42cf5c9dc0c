"""Incident bundle: one directory from which an incident replays, every file under its hash.

The truth of a simulated fault lies apart: `read_bundle` never opens it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ops.encode import to_json, to_json_line
from ops.errors import BundleError
from ops.state import Alert, SloTarget
from rca.state import ChangeEvent, ClusterEvent, Shown, Topology

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
TRUTH = "truth.json"
METRICS = "metrics.om.gz"  # a window of a real fleet is a hundred megabytes of text
METRICS_BYTES_MAX = 1 << 30  # of the text; more is refused
CONTENT = (
    METRICS,
    "events.jsonl",
    "changes.jsonl",
    "alerts.jsonl",
    "topology.json",
    "slos.json",
    "journal.jsonl",
)
SHOWN = "shown.jsonl"  # only where a cluster was seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself."""

    start_s: float  # window of the world's clock that the metrics cover
    end_s: float
    scrape_s: float
    seed: int
    version: str  # of the program that wrote it
    format_version: int = FORMAT_VERSION
    source: Mapping[str, Any] = field(default_factory=dict)  # how to run it again, free form
    sha256: Mapping[str, str] = field(default_factory=dict)  # file name -> hash
    truth_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Content of a bundle. Lines of JSON stay plain data; `journal` is kept byte for byte."""

    manifest: Manifest
    metrics_text: str
    events: tuple[dict[str, Any], ...]
    changes: tuple[dict[str, Any], ...]
    alerts: tuple[dict[str, Any], ...]
    topology: dict[str, Any]
    slos: tuple[dict[str, Any], ...]
    journal: bytes
    shown: tuple[dict[str, Any], ...] = ()


def write_bundle(
    folder: Path,
    *,
    manifest: Manifest,
    metrics_text: str | Iterable[str],
    journal: bytes,
    topology: Topology,
    slos: Sequence[SloTarget],
    events: Sequence[ClusterEvent] = (),
    changes: Sequence[ChangeEvent] = (),
    alerts: Sequence[Alert] = (),
    shown: Sequence[Shown] = (),
    truth: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a bundle into `folder`; the manifest comes last, so that half a bundle has none.

    Args:
        metrics_text: whole, or in pieces, which are packed one after the other.

    Returns:
        The manifest with its hashes.

    Raises:
        BundleError: the folder cannot be written.
    """
    files = {
        METRICS: _packed([metrics_text] if isinstance(metrics_text, str) else metrics_text),
        "events.jsonl": b"".join(map(to_json_line, events)),
        "changes.jsonl": b"".join(map(to_json_line, changes)),
        "alerts.jsonl": b"".join(map(to_json_line, alerts)),
        "topology.json": to_json(topology),
        "slos.json": to_json(list(slos)),
        "journal.jsonl": journal,
    }
    if shown:
        files[SHOWN] = b"".join(map(to_json_line, shown))
    truth_bytes = None if truth is None else to_json(truth)
    complete = Manifest(
        start_s=manifest.start_s,
        end_s=manifest.end_s,
        scrape_s=manifest.scrape_s,
        seed=manifest.seed,
        version=manifest.version,
        source=manifest.source,
        sha256={name: _sha256(content) for name, content in sorted(files.items())},
        truth_sha256="" if truth_bytes is None else _sha256(truth_bytes),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        (folder / TRUTH).unlink(missing_ok=True)
        if truth_bytes is not None:
            files[TRUTH] = truth_bytes
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / MANIFEST).write_bytes(to_json(complete))
    except OSError as error:
        raise BundleError(
            f"bundle {folder} cannot be written: {error}; choose a folder that can be written"
        ) from error
    return complete


def read_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle without its truth.

    Raises:
        BundleError: a file is missing, was changed or cannot be read; the message names it.
    """
    manifest = read_manifest(folder)
    names = (*CONTENT, SHOWN) if SHOWN in manifest.sha256 else CONTENT
    files = {name: _verified(folder, name, manifest.sha256.get(name, "")) for name in names}
    topology, slos = _json(folder, "topology.json", files), _json(folder, "slos.json", files)
    if not isinstance(topology, dict) or not isinstance(slos, list):
        raise BundleError(f"{folder}: topology.json must be an object and slos.json a list")
    return Bundle(
        manifest=manifest,
        metrics_text=_decoded(folder, files[METRICS]),
        events=_lines(folder, "events.jsonl", files),
        changes=_lines(folder, "changes.jsonl", files),
        alerts=_lines(folder, "alerts.jsonl", files),
        topology=topology,
        slos=tuple(slos),
        journal=files["journal.jsonl"],
        shown=_lines(folder, SHOWN, files) if SHOWN in files else (),
    )


def read_truth(folder: Path) -> dict[str, Any] | None:
    """The truth of a simulated bundle, None where there is none. Only evaluation may call this.

    Raises:
        BundleError: the manifest promises a truth that is missing or was changed.
    """
    manifest = read_manifest(folder)
    if not manifest.truth_sha256:
        return None
    raw = _verified(folder, TRUTH, manifest.truth_sha256)
    truth = _json(folder, TRUTH, {TRUTH: raw})
    return truth if isinstance(truth, dict) else None


def read_manifest(folder: Path) -> Manifest:
    """Read what the bundle says of itself.

    Raises:
        BundleError: no manifest, or one that cannot be used.
    """
    path = folder / MANIFEST
    try:
        raw = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} is missing; give the folder of a complete bundle, or write it again"
        ) from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}; write the bundle again") from error
    faults = _manifest_faults(raw)
    if faults:
        raise BundleError(f"{path}: {'; '.join(faults)}; write the bundle again")
    return Manifest(
        start_s=float(raw["start_s"]),
        end_s=float(raw["end_s"]),
        scrape_s=float(raw["scrape_s"]),
        seed=raw["seed"],
        version=raw["version"],
        format_version=raw["format_version"],
        source=raw.get("source") or {},
        sha256=raw["sha256"],
        truth_sha256=raw.get("truth_sha256", ""),
    )


def _manifest_faults(raw: Any) -> list[str]:
    if not isinstance(raw, dict):
        return [f"it holds {type(raw).__name__}, expected an object"]
    wanted: dict[str, type | tuple[type, ...]] = {
        "start_s": (int, float),
        "end_s": (int, float),
        "scrape_s": (int, float),
        "seed": int,
        "version": str,
        "format_version": int,
        "sha256": dict,
    }
    faults = [
        f"{name} is {raw.get(name)!r}, of the wrong type"
        for name, kind in wanted.items()
        if not isinstance(raw.get(name), kind) or isinstance(raw.get(name), bool)
    ]
    if not faults and raw["format_version"] > FORMAT_VERSION:
        faults.append(f"format {raw['format_version']} is newer than {FORMAT_VERSION}")
    return faults


def _verified(folder: Path, name: str, expected: str) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing; copy the whole folder again") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}; check its rights") from error
    seen = _sha256(content)
    if seen != expected:
        raise BundleError(
            f"{path} was changed: its hash is {seen[:12]}, the manifest says "
            f"{expected[:12] or 'nothing'}; copy the bundle again from where it was written"
        )
    return content


def _packed(pieces: Iterable[str]) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as file:
        for piece in pieces:
            file.write(piece.encode())
    return packed.getvalue()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _decoded(folder: Path, content: bytes) -> str:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            raw = file.read(METRICS_BYTES_MAX + 1)
        if len(raw) > METRICS_BYTES_MAX:
            raise BundleError(
                f"{folder / METRICS} holds more than {METRICS_BYTES_MAX} bytes of text; "
                "export a shorter window"
            )
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{folder / METRICS} is not UTF-8: {error}; write it again") from error
    except (OSError, EOFError, zlib.error) as error:
        raise BundleError(f"{folder / METRICS} is no gzip: {error}; write it again") from error


def _json(folder: Path, name: str, files: Mapping[str, bytes]) -> Any:
    try:
        return orjson.loads(files[name])
    except orjson.JSONDecodeError as error:
        raise BundleError(f"{folder / name} is not JSON: {error}; write it again") from error


def _lines(folder: Path, name: str, files: Mapping[str, bytes]) -> tuple[dict[str, Any], ...]:
    entries = []
    for number, line in enumerate(files[name].splitlines(), start=1):
        try:
            entries.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise BundleError(
                f"{folder / name}:{number} is not JSON: {error}; write it again"
            ) from error
    return tuple(entries)
