"""Write what is made of something else: the CRDs, and each install as one file.

Run by `make manifests`. The CRDs come from the typed resources. The installs come from kustomize,
which is in kubectl: the pinned one that `make cluster-binaries` builds.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from ops import __version__
from ops.catalogue import Catalogue
from ops.controller.made.dashboard import dashboard_json
from ops.controller.made.health_rules import health_object
from ops.controller.made.rule_text import rule_text
from ops.controller.made.schema import definition_yaml
from ops.controller.resources.kinds import KINDS
from tests.cluster.binaries import find

HEADER = "# Made from ops/controller/made/health_rules.py by `make manifests`; a test compares.\n"
KEPT = Path(__file__).resolve().parent / "kept"  # of each version, for tests of upgrades
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
# Name for `midwatch operator manifests --overlay` -> folder that kustomize builds.
INSTALLS = {
    "default": ".",
    "observe": "overlays/observe",
    "recommend": "overlays/recommend",
    "two-region": "overlays/two-region",
}


def write_definitions() -> None:
    for kind in KINDS:
        for folder in (MANIFESTS / "base" / "crds", KEPT / __version__):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{kind.plural}.yaml"
            path.write_text(definition_yaml(kind), encoding="utf-8")


def made_files() -> dict[Path, bytes]:
    """Files of components that are made of code."""
    rules = HEADER + rule_text([health_object()])
    components = MANIFESTS / "components"
    return {
        components / "prometheus-operator" / "prometheusrule.yaml": rules.encode(),
        components / "grafana" / "midwatch.json": dashboard_json(Catalogue.load()),
    }


def rendered(kubectl: Path, folder: str | Path) -> bytes:
    """What kustomize makes of a folder below manifests/, or of one elsewhere."""
    done = subprocess.run(
        [kubectl, "kustomize", MANIFESTS / folder], capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"kustomize of {folder}: {done.stderr.decode()}")
    return done.stdout


def write_installs(kubectl: Path) -> None:
    for name, folder in INSTALLS.items():
        (MANIFESTS / "rendered" / f"{name}.yaml").write_bytes(rendered(kubectl, folder))


if __name__ == "__main__":
    write_definitions()
    for made, content in made_files().items():
        made.write_bytes(content)
    write_installs(find().kubectl)
