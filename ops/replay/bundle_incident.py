"""An incident bundle as recorded incidents that `rca.localise` reads: one per region."""

from __future__ import annotations

from pathlib import Path

from ops.bundle import read_bundle
from ops.catalogue import Catalogue
from ops.errors import BundleError
from ops.replay.openmetrics import parse_metrics
from ops.replay.recorded import parse_change
from ops.replay.wide_table import wide_table
from ops.topology import discover
from rca.incident import Column, Incident


def incidents_of_bundle(folder: Path) -> dict[str, Incident]:
    """Region -> what the bundle recorded of it. Alerts and the truth are left out.

    Raises:
        BundleError: the bundle was changed, is incomplete, or shows no pod or service.
        MetricsTextError: its metrics cannot be read.
    """
    bundle = read_bundle(folder)
    frame = parse_metrics(
        bundle.metrics_text, step_s=bundle.manifest.scrape_s, catalogue=Catalogue.load()
    )
    try:
        changes = tuple(sorted(parse_change(raw) for raw in bundle.changes))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder}: changes hold {error!r}; write the bundle again") from error
    topology = discover(frame, ())
    found = {}
    for region in sorted({region for region, _, _ in topology.pods.values()}):
        table = wide_table(
            frame, now_s=float(frame.times_s[-1]), region=region, placed=topology.pods
        )
        entries = [service for where, service in topology.entries if where == region]
        found[region] = Incident(
            incident_id=f"{folder.name}/{region}",
            times_s=table.times_s,
            values=table.values,
            columns=tuple(Column.parse(name) for name in table.columns),
            step_s=frame.step_s,
            instances=table.instances,
            nodes=table.nodes,
            calls=tuple(
                (caller, callee)
                for (where, caller), callees in sorted(topology.calls.items())
                if where == region
                for callee in callees
            ),
            entry=entries[0] if entries else "",
            changes=tuple(c for c in changes if c.region == region),
        )
    if not found:
        raise BundleError(f"{folder}: the metrics name no pod; nothing can be accused")
    return found
