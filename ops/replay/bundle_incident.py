"""An incident bundle as recorded incidents that `rca.localise` reads: one per region."""

from __future__ import annotations

from pathlib import Path

from ops.bundle import read_bundle
from ops.catalogue import Catalogue
from ops.errors import BundleError
from ops.replay.frame_incidents import incidents_of_frame
from ops.replay.openmetrics_read import parse_metrics
from ops.replay.recorded import parse_change
from rca.incident import Incident


def incidents_of_bundle(folder: Path, *, service_label: str = "") -> dict[str, Incident]:
    """Region -> what the bundle recorded of it. Alerts and the truth are left out.

    Args:
        service_label: label that names the service of a pod; found by rule without.

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
    found = {}
    if frame.values.size:
        found = incidents_of_frame(
            frame, name=folder.name, changes=changes, service_label=service_label
        )  # fmt: skip
    if not found:
        raise BundleError(
            f"{folder}: its metrics name no pod and no service, so nothing can be accused; "
            "record the bundle with the labels pod and service"
        )
    return found
