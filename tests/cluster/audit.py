"""The API server's audit log: who asked for what, what was allowed, who wrote what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.adapters.kube.rights import Right

CREDENTIAL = "authentication.kubernetes.io/credential-id"
READS = frozenset({"get", "list", "watch"})
# Everything of users that tests are about; nothing of the control plane's own parts, which would
# be most of the log. Reviews of one's own access change nothing and are kept as what they are.
POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:masters", "system:serviceaccounts:kube-system"]},
        {"level": "None", "users": ["system:kube-controller-manager", "system:kube-scheduler"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One request to the API server."""

    user: str
    right: Right | None  # None for a path that is no resource, e.g. /version
    name: str
    uri: str
    status: int
    at: str
    dry_run: bool
    credential: str  # which token of the account: "JTI=" and the token's id

    @property
    def allowed(self) -> bool:
        return self.status != 403

    @property
    def writes(self) -> bool:
        """Whether it changed something, or would have."""
        if self.right is None or self.right.verb in READS or self.dry_run:
            return False
        return self.status < 400 and self.right.group != "authorization.k8s.io"


class AuditLog:
    """Reads the log of one API server; a mark limits what is read to what came after it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mark(self) -> int:
        """Where the log ends now: `since` of the other calls."""
        return self.path.stat().st_size if self.path.exists() else 0

    def accesses(self, *, user: str = "", since: int = 0) -> list[Access]:
        """Requests in the order of their answers, a watch once.

        Args:
            user: whose, by the beginning of the name; "" takes all that are logged.
        """
        if not self.path.exists():
            return []
        with self.path.open("rb") as log:
            log.seek(since)
            lines = log.read().splitlines()
        found: dict[str, Access] = {}
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:  # the last line may be half written
                continue
            name = event["user"].get("username", "")
            if name.startswith(user):
                found.setdefault(event["auditID"], access_of(event, name))
        return list(found.values())

    def rights_used(self, *, user: str = "", since: int = 0) -> set[Right]:
        """Every right that an allowed request used."""
        return {
            one.right
            for one in self.accesses(user=user, since=since)
            if one.right is not None and one.allowed
        }

    def rights_refused(self, *, user: str = "", since: int = 0) -> set[Right]:
        """Every right that a request lacked."""
        return {
            one.right
            for one in self.accesses(user=user, since=since)
            if one.right is not None and not one.allowed
        }

    def writes(self, *, user: str = "", since: int = 0) -> list[Access]:
        """Requests that changed something."""
        return [one for one in self.accesses(user=user, since=since) if one.writes]


def access_of(event: dict[str, Any], user: str) -> Access:
    """One line of the log."""
    what, uri = event.get("objectRef"), event.get("requestURI", "")
    right = None
    if what is not None and what.get("resource"):
        right = Right(
            event["verb"], what.get("apiGroup", ""), what["resource"],
            what.get("subresource", ""), what.get("namespace", ""),
        )  # fmt: skip
    return Access(
        user=user,
        right=right,
        name=(what or {}).get("name", ""),
        uri=uri,
        status=event.get("responseStatus", {}).get("code", 0),
        at=event.get("stageTimestamp", ""),
        dry_run="dryRun=All" in uri,
        credential="".join(event["user"].get("extra", {}).get(CREDENTIAL, [])),
    )
