"""Whole lists of our own kinds, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.paths import path_of
from ops.controller.resources.fields import GROUP, VERSION


def list_objects(
    api: KubeApi, plural: str, *, namespace: str = "", labels: str = ""
) -> Iterator[Mapping[str, Any]]:
    """Objects of one of our kinds, in the server's order.

    Raises:
        KubeError: no usable answer; a 410 means to begin again.
    """
    params = {"labelSelector": labels} if labels else {}
    for page in api.pages(path_of(GROUP, VERSION, plural, namespace), params=params):
        yield from orjson.loads(page).get("items") or ()
