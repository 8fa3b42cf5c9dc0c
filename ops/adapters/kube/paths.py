"""Names of resources and the server's paths for them, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePath:
    """What a path of the API server speaks of; empty where it names none."""

    group: str = ""  # "" = core
    version: str = ""
    resource: str = ""  # plural; "" = no resource (discovery, health)
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def path_of(
    group: str,
    version: str,
    resource: str,
    namespace: str = "",
    name: str = "",
    subresource: str = "",
) -> str:
    """Path of a collection, an object or a subresource: /api/v1/namespaces/a/pods/b/eviction.

    Args:
        group: empty for the core group.
        namespace: empty for cluster-scoped resources and for all namespaces.
    """
    parts = ["apis", group, version] if group else ["api", version]
    if namespace:
        parts += ["namespaces", namespace]
    parts.append(resource)
    if name:
        parts.append(name)
        if subresource:
            parts.append(subresource)
    return "/" + "/".join(quote(part, safe="") for part in parts)


def parse_path(path: str) -> ResourcePath:
    """Read what `path_of` wrote; any other path is one without a resource."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return ResourcePath()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    return ResourcePath(
        group=group,
        version=version,
        resource=resource,
        namespace=namespace,
        name=name,
        subresource=subresource,
    )


def query_of(params: Mapping[str, str | int | bool]) -> str:
    """Query string as the server expects it: true and false in small letters."""
    return urlencode(
        {
            key: str(value).lower() if isinstance(value, bool) else value
            for key, value in params.items()
        }
    )
