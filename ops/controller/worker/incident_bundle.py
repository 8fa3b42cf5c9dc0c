"""The bundle of a live incident: exactly what was diagnosed, so that anybody can ask again.

A bundle is written beside its place and moved there whole; the oldest ones go when there are too
many. Reading gives back the question, to the last bit.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from ops import __version__
from ops.bundle import MANIFEST, Bundle, Manifest, read_bundle, read_manifest, write_bundle
from ops.catalogue import Catalogue
from ops.controller.worker.question import Question
from ops.encode import to_json_line
from ops.errors import BundleError
from ops.replay.openmetrics import metric_chunks
from ops.replay.openmetrics_read import parse_metrics
from ops.replay.recorded import parse_change, parse_event, parse_shown
from ops.state import Alert, Decision, SloTarget
from ops.topology import discover
from rca.state import FloatArray, MetricFrame, Symptom, Topology

KIND = "cluster"  # of a bundle's source: recorded from a real cluster, not simulated
SAMPLES_MAX = 2**21  # of one bundle: read back it takes 0.6 GB, and 10 s to write
BUNDLES_BYTES_MAX = 1536 << 20  # of the 2 GiB of the shipped volume
_TEMPORARY = ".writing-"  # prefix of a folder that is not complete
_OLD = ".old-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an incident happened."""

    namespace: str
    fleet: str
    incident: str
    cluster: str = ""
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A bundle read back."""

    origin: Origin
    question: Question
    ranking_sha256: str  # of the answer that was given
    slos: tuple[SloTarget, ...]


class BundleStore:
    """A folder of bundles, one per incident, the oldest removed where there are too many."""

    def __init__(self, root: Path, *, bundles_max: int, bytes_max: int = BUNDLES_BYTES_MAX) -> None:
        """Use `root`; what a killed process left half-written is removed, what it took away not.

        Args:
            bytes_max: of all files together. A pod whose volume grows beyond its limit is evicted.
        """
        self.root, self._bundles_max, self._bytes_max = root, bundles_max, bytes_max
        for old in root.glob(f"*/{_OLD}*"):
            place = old.parent / old.name.removeprefix(_OLD)
            if not place.exists():
                old.rename(place)
        for left in [*root.glob(f"*/{_TEMPORARY}*"), *root.glob(f"*/{_OLD}*")]:
            shutil.rmtree(left, ignore_errors=True)

    def path(self, namespace: str, incident: str) -> Path:
        """Folder of an incident's bundle."""
        return self.root / namespace / incident

    def ranking_of(self, namespace: str, incident: str) -> str:
        """Hash of the ranking that an incident's bundle was written for; empty without one."""
        try:
            source = read_manifest(self.path(namespace, incident)).source
        except BundleError:
            return ""
        return str(source.get("ranking_sha256", ""))

    def write(
        self,
        origin: Origin,
        question: Question,
        *,
        ranking_sha256: str,
        decisions: Sequence[Decision],
        alerts: Sequence[Alert] = (),
        slos: Sequence[SloTarget] = (),
    ) -> Path:
        """Write or replace the bundle of an incident; half a bundle is never seen there.

        Raises:
            BundleError: the volume cannot be written, or it is more than can be asked again.
            MetricsTextError: a metric name that the text format does not allow.
        """
        _check_samples(question)
        target = self.path(origin.namespace, origin.incident)
        made = target.parent / f"{_TEMPORARY}{origin.incident}"
        old = target.parent / f"{_OLD}{origin.incident}"
        try:
            shutil.rmtree(made, ignore_errors=True)
            try:
                _write(made, origin, question, ranking_sha256, decisions, alerts, slos)
            except BundleError as error:  # the oldest bundles are worth less than this one
                if not (_is_full(error) and self._make_room(keep=target)):
                    raise
                _write(made, origin, question, ranking_sha256, decisions, alerts, slos)
            if target.exists():
                target.rename(old)
            made.rename(target)
            shutil.rmtree(old, ignore_errors=True)
            self._prune(keep=target)
        except OSError as error:
            raise BundleError(
                f"bundle {target} cannot be written: {error}; look at the volume of bundleDir"
            ) from error
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return target

    def _prune(self, *, keep: Path) -> None:
        room, known = self._bytes_max, self._newest_first(keep)
        for place, folder in enumerate(known):
            room -= sum(file.stat().st_size for file in folder.iterdir())
            if place and (place >= self._bundles_max or room < 0):
                shutil.rmtree(folder, ignore_errors=True)

    def _make_room(self, *, keep: Path) -> bool:
        """Remove the older half of the bundles; whether there were any."""
        known = self._newest_first(keep)
        if known and known[0] == keep:
            del known[0]
        for folder in known[len(known) // 2 :]:
            shutil.rmtree(folder, ignore_errors=True)
        return bool(known)

    def _newest_first(self, keep: Path) -> list[Path]:
        """Folders of all bundles, before them the one that is kept whatever its age."""
        known = [manifest.parent for manifest in self.root.glob(f"*/[!.]*/{MANIFEST}")]
        known.sort(key=lambda folder: (folder != keep, -folder.stat().st_mtime, folder.name))
        return known


def _is_full(error: BundleError) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def _check_samples(question: Question) -> None:
    frame = question.frame
    num_samples = int(np.isfinite(frame.values).sum())
    if num_samples > SAMPLES_MAX:
        raise BundleError(
            f"the window holds {num_samples:,} samples of {len(frame.series):,} series, at most "
            f"{SAMPLES_MAX:,} are recorded: asked again they would not fit into the worker's "
            "memory; narrow spec.selector or spec.metrics.matchLabels of the Fleet"
        )


def read_recording(folder: Path) -> Recording:
    """The question of a bundle.

    Raises:
        BundleError: the bundle is incomplete, was changed, or is none of a live incident.
        MetricsTextError: its metrics cannot be read.
    """
    bundle = read_bundle(folder)
    source: Mapping[str, Any] = bundle.manifest.source
    if source.get("kind") != KIND:
        raise BundleError(
            f"{folder} is no bundle of a live incident (its source is {source.get('kind')!r}); "
            "midwatch replay runs a simulated one again"
        )
    try:
        return _recording(bundle, source)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder}: its question cannot be used: {error!r}; copy the bundle again"
        ) from error


def _write(
    folder: Path,
    origin: Origin,
    question: Question,
    ranking_sha256: str,
    decisions: Sequence[Decision],
    alerts: Sequence[Alert],
    slos: Sequence[SloTarget],
) -> None:
    frame = question.frame
    source = {
        "kind": KIND,
        "origin": origin,
        "incident_id": decisions[-1].incident_id if decisions else "",  # the journal's own name
        "ranking_sha256": ranking_sha256,
        "question": {
            "symptom": question.symptom,
            "now_s": question.now_s,
            "granger": question.granger,
            "rows": len(frame.times_s),
        },
    }
    manifest = Manifest(
        start_s=float(frame.times_s[0]),
        end_s=float(frame.times_s[-1]),
        scrape_s=frame.step_s,
        seed=question.seed,
        version=__version__,
        source=source,
    )
    write_bundle(
        folder,
        manifest=manifest,
        metrics_text=metric_chunks(frame),
        journal=b"".join(map(to_json_line, decisions)),
        topology=question.topology,
        slos=slos,
        events=question.events,
        changes=question.changes,
        alerts=alerts,
        shown=question.shown,
    )


def _recording(bundle: Bundle, source: Mapping[str, Any]) -> Recording:
    asked, manifest = source["question"], bundle.manifest
    frame = parse_metrics(bundle.metrics_text, step_s=manifest.scrape_s, catalogue=Catalogue.load())
    frame = _regular(frame, manifest, int(asked["rows"]))
    symptom = dict(asked["symptom"])
    if symptom["bad_ratio"] is None:  # an alert alone measures none
        symptom["bad_ratio"] = nan
    question = Question(
        frame=frame,
        symptom=Symptom(**symptom),
        topology=_topology(frame, bundle.topology),
        changes=tuple(parse_change(raw) for raw in bundle.changes),
        events=tuple(parse_event(raw) for raw in bundle.events),
        now_s=float(asked["now_s"]),
        seed=manifest.seed,
        granger=str(asked["granger"]),
        shown=tuple(parse_shown(raw) for raw in bundle.shown),
    )
    return Recording(
        origin=Origin(**source["origin"]),
        question=question,
        ranking_sha256=str(source["ranking_sha256"]),
        slos=tuple(SloTarget(**raw) for raw in bundle.slos),
    )


def _regular(frame: MetricFrame, manifest: Manifest, rows: int) -> MetricFrame:
    """The frame on its full grid, series in order: rows without a sample are not in the text."""
    start_ms, step_ms = round(manifest.start_s * 1000), round(manifest.scrape_s * 1000)
    times_s: FloatArray = (start_ms + step_ms * np.arange(rows)) / 1000.0
    place = np.searchsorted(times_s, frame.times_s)
    if len(frame.times_s) and (
        place[-1] >= rows or not np.array_equal(times_s[place], frame.times_s)
    ):
        raise ValueError("samples lie beside the rows that the manifest names")
    order = sorted(
        range(len(frame.series)), key=lambda k: (frame.series[k].name, frame.series[k].labels)
    )
    values = np.full((rows, len(order)), np.nan)
    values[place] = frame.values[:, order]
    return replace(
        frame,
        times_s=times_s,
        values=values,
        series=tuple(frame.series[k] for k in order),
        roles=tuple(frame.roles[k] for k in order),
    )


def _topology(frame: MetricFrame, raw: Mapping[str, Any]) -> Topology:
    """Calls and entries are in the frame's own labels; pods are as the cluster showed them."""
    pods = {}
    for pod, (region, service, node) in sorted(raw["pods"].items()):
        pods[str(pod)] = (str(region), str(service), str(node))
    return replace(discover(frame, ()), pods=pods)
