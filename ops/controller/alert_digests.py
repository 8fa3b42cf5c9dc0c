"""Short names of alerts, so that one counts once, also after a restart.

An Incident's status keeps them as one text (`status.alertDigests`). Eight characters are 48 bits:
among 10,000 alerts a new one is taken for a known one with a chance of 4 in 10^11.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from ops.state import Alert

DIGEST_CHARS = 8
DIGESTS_MAX = 2048  # of one Incident: 16,384 characters of its status


def alert_digest(alert: Alert) -> str:
    """Name of what makes a repeated notification the same alert: groupKey, fingerprint, startsAt.

    Firing and resolved notifications of one alert have the same digest.
    """
    text = "\0".join((alert.group_key, alert.fingerprint, repr(alert.starts_at_s)))
    raw = hashlib.blake2b(text.encode(), digest_size=6).digest()
    return base64.urlsafe_b64encode(raw).decode()


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
