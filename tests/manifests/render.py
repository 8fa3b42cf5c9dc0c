"""Write what is made: the CRDs of manifests/base/crds. Run by `make manifests`."""

from __future__ import annotations

from pathlib import Path

from ops.controller.kinds import KINDS
from ops.controller.schema import definition_yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"


def write_definitions() -> None:
    for kind in KINDS:
        path = MANIFESTS / "base" / "crds" / f"{kind.plural}.yaml"
        path.write_text(definition_yaml(kind), encoding="utf-8")


if __name__ == "__main__":
    write_definitions()
