"""What a replay writes to disk and prints: reports, journal, bundles, run.json, the figures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ops import __version__
from ops.bundle import CONTENT, MANIFEST, TRUTH, Manifest, write_bundle
from ops.encode import to_json, to_plain
from ops.replay.experiment import Experiment
from ops.replay.facts import Source, make_report
from ops.replay.hardware import engine_text
from ops.replay.openmetrics import metric_chunks
from ops.replay.provenance import commit, versions
from ops.replay.run import WorldRecord, incidents_of
from ops.replay.score import bad_minutes
from ops.reports import RunReport, render_html, render_json, render_markdown
from ops.reports.build_story import confirmed
from ops.state import Incident
from ops.topology import discover
from rca.state import ChangeEvent, ClusterEvent, MetricFrame

BUNDLE_BEFORE_S, BUNDLE_AFTER_S = 900.0, 60.0  # of metrics around onset and first verdict
CAUSES_MAX = 5
JOURNAL = "journal.jsonl"

Timed = TypeVar("Timed", ChangeEvent, ClusterEvent)


def summary(done: Experiment, *, report: str) -> dict[str, Any]:
    """The fixed keys that `replay --json` prints; scripts rely on them."""
    ledger = done.told.ledger
    decisions = done.acted.decisions if done.acted else []
    return {
        "requests": {
            "arrived": ledger.arrived,
            "ok": ledger.ok,
            "failed": ledger.failed,
            "timed_out": ledger.timed_out,
            "rejected": dict(sorted(ledger.rejected.items())),
            "cancelled": ledger.cancelled,
            "in_flight": ledger.in_flight,
        },
        "attempts": {"total": ledger.attempts, "retries": ledger.retries},
        "load": done.plan.load,
        "seed": done.plan.seed,
        "engine": engine_text(done.plan.scenario.engine),
        "bad_minutes": {"without": _bad(done, done.without), "with": _bad(done, done.acted)},
        "incidents": [_incident(confirmed(i, decisions)) for i in incidents_of(decisions)],
        "report": report,
    }


def _bad(done: Experiment, world: WorldRecord | None) -> int | None:
    if world is None:
        return None
    slos = done.plan.scenario.slos
    return int(bad_minutes(world.minutes, slos, start_s=0.0, end_s=world.end_s, weighted=False))


def _incident(incident: Incident) -> dict[str, Any]:
    result, named = incident.result, incident.diagnosed_at_s is not None
    plain: dict[str, Any] = to_plain(
        {
            "began_at_s": incident.began_at_s,
            "detected_at_s": incident.detected_at_s,
            "diagnosed_at_s": incident.diagnosed_at_s,
            "causes": [
                {
                    "entity": c.entity,
                    "resource_class": c.resource_class,
                    "confidence": c.confidence,
                }
                for c in (result.causes[:CAUSES_MAX] if result and named else ())
            ],
            "actions": [
                {"kind": r.action.kind, "target": r.action.target, "outcome": r.verdict}
                for r in incident.actions
            ],
        }
    )
    return plain


def journal_sha256(out: Path) -> str:
    """Hash of the journal of a run."""
    return hashlib.sha256((out / JOURNAL).read_bytes()).hexdigest()


def write_run(done: Experiment, source: Source, out: Path) -> RunReport:
    """Write everything below `out`; the journal is there already.

    Raises:
        BundleError: a bundle cannot be written.
        OSError: another file cannot be written.
    """
    content = (out / JOURNAL).read_bytes() if done.acted is not None else b""
    digest = journal_sha256(out) if done.acted is not None else ""
    report = make_report(done, source, journal_sha256=digest, path=str(out / "report.html"))
    # The report's data hold no path of this machine, so that equal runs give equal bytes.
    (out / "report.html").write_text(render_html(report), encoding="utf-8")
    (out / "report.md").write_text(render_markdown(report), encoding="utf-8")
    (out / "report.json").write_text(
        render_json(replace(report, report_path="report.html")), encoding="utf-8"
    )
    run = {
        "source": source.plain(),
        "worlds": list(source.worlds),
        "load": done.plan.load,
        "rate_rps": done.plan.rate_rps,
        "capacity_rps": done.plan.capacity_rps,
        "duration_s": done.plan.scenario.duration_s,
        "simulated_s": done.told.end_s,
        "complete": done.complete,
        "notes": list(done.plan.notes),
        "journal_sha256": digest,
        "commit": commit(),
        "versions": versions(),
        "summary": summary(done, report="report.html"),
    }
    (out / "run.json").write_bytes(to_json(run))
    _remove_old_bundles(out / "bundle")
    for incident in incidents_of(done.acted.decisions if done.acted else ()):
        folder = out / "bundle" / incident.incident_id
        _write_incident(done, source, incident, content, folder)
    return report


def _remove_old_bundles(folder: Path) -> None:
    """Bundles of an older run in the same folder; anything else stays."""
    for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
        for name in (*CONTENT, TRUTH, MANIFEST):
            (manifest.parent / name).unlink(missing_ok=True)
        if not any(manifest.parent.iterdir()):
            manifest.parent.rmdir()


def _write_incident(
    done: Experiment, source: Source, incident: Incident, journal: bytes, folder: Path
) -> None:
    """The bundle of one incident: what the loop saw around its onset and its first verdict."""
    seen = done.verdicts.get(incident.incident_id) or done.endings[incident.incident_id]
    ending = done.endings[incident.incident_id]
    frame = _window(
        ending.frame, incident.began_at_s - BUNDLE_BEFORE_S, seen.now_s + BUNDLE_AFTER_S
    )  # fmt: skip
    write_bundle(
        folder,
        manifest=Manifest(
            start_s=float(frame.times_s[0]),
            end_s=float(frame.times_s[-1]),
            scrape_s=frame.step_s,
            seed=source.seed,
            version=__version__,
            source=source.plain() | {"incident_id": incident.incident_id},
        ),
        metrics_text=metric_chunks(frame),
        journal=journal,
        topology=discover(frame, seen.pods),
        slos=done.plan.scenario.slos,
        events=_until(ending.events, frame),
        changes=_until(ending.changes, frame),
        truth=_truth(done),
    )


def _until(items: Sequence[Timed], frame: MetricFrame) -> list[Timed]:
    return [item for item in items if item.at_s <= frame.times_s[-1]]


def _window(frame: MetricFrame, start_s: float, end_s: float) -> MetricFrame:
    """Rows in [start_s, end_s] with the series that have a sample in them."""
    low = int(np.searchsorted(frame.times_s, start_s, side="left"))
    high = int(np.searchsorted(frame.times_s, end_s, side="right"))
    values = frame.values[low:high]
    kept = np.flatnonzero(~np.isnan(values).all(axis=0))
    return MetricFrame(
        times_s=frame.times_s[low:high],
        values=values[:, kept],
        series=tuple(frame.series[k] for k in kept),
        roles=tuple(frame.roles[k] for k in kept),
        step_s=frame.step_s,
    )


def _truth(done: Experiment) -> dict[str, Any]:
    assert done.acted is not None
    return {"faults": [to_plain(t) for t in done.acted.truths]}
