"""Reads the installs that the package prints, for tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
INSTALLS = ("default", "observe", "recommend", "two-region")


@cache
def install(name: str) -> tuple[dict[str, Any], ...]:
    """Objects of one install."""
    text = (MANIFESTS / "rendered" / f"{name}.yaml").read_text(encoding="utf-8")
    return tuple(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def of_kind(name: str, kind: str) -> list[dict[str, Any]]:
    return [item for item in install(name) if item["kind"] == kind]


def label_of(item: dict[str, Any]) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"
