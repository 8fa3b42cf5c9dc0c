"""Short names of alerts, so that one counts once, also after a restart.

An Incident's status keeps them as one text (`status.alertDigests`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ops.alerts import DIGEST_CHARS, alert_digest
from ops.state import Alert

DIGESTS_MAX = 2048  # of one Incident: 16,384 characters of its status


def add_digests(known: str, alerts: Iterable[Alert]) -> str:
    """`known` with the digests of `alerts` behind it, each once; the oldest beyond the limit go.

    The oldest may go: what Alertmanager sends again after a crash are the posts that were not
    answered, and those are the newest. A repetition hours later joins the open Incident as before
    and is merely counted again.
    """
    names = dict.fromkeys([*split_digests(known), *map(alert_digest, alerts)])
    return "".join(list(names)[-DIGESTS_MAX:])


def split_digests(text: str) -> tuple[str, ...]:
    """Digests of a status, oldest first; a torn last one is left out."""
    whole = len(text) // DIGEST_CHARS * DIGEST_CHARS
    return tuple(text[i : i + DIGEST_CHARS] for i in range(0, whole, DIGEST_CHARS))
