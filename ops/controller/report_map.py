"""The ConfigMap of a report, and the reference by which it goes with what it speaks of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ops.controller.resources.fields import API_VERSION, GROUP, LABEL_MAX, OBJECT_NAME_MAX

PAGE_KEY, TEXT_KEY = "report.html.gz", "report.md"


class Pages(Protocol):
    """A page as the worker made it: `html_gzip` in base64, and the digest of the page."""

    @property
    def html_gzip(self) -> str:
        """Base64 of the packed page."""
        ...

    @property
    def markdown(self) -> str:
        """The same as text."""
        ...

    @property
    def sha256(self) -> str:
        """Of the page before it was packed."""
        ...


def owner(kind: str, name: str, uid: str) -> dict[str, Any]:
    """Reference to one of our objects; without blockOwnerDeletion, which would need more rights."""
    return {"apiVersion": API_VERSION, "kind": kind, "name": name, "uid": uid, "controller": True}


def name_with(name: str, tail: str) -> str:
    """A name made of another object's, shortened only where it would be too long."""
    return f"{name[: OBJECT_NAME_MAX - len(tail)].rstrip('-.')}{tail}"


def label_value(name: str) -> str:
    """A name as the value of a label, which may be shorter."""
    return name[:LABEL_MAX].rstrip("-.")


def report_map(
    pages: Pages,
    *,
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    owned_by: Mapping[str, Any],
) -> dict[str, Any]:
    """The ConfigMap that holds the pages; it goes when its owner goes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels),
            "annotations": {f"{GROUP}/sha256": pages.sha256},
            "ownerReferences": [dict(owned_by)],
        },
        "binaryData": {PAGE_KEY: pages.html_gzip},
        "data": {TEXT_KEY: pages.markdown},
    }
