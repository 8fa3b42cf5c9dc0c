"""A bearer token in a mounted file: read anew for each use, so that rotation needs no restart."""

from __future__ import annotations

import hmac
from pathlib import Path

from ops.errors import SettingsError

TOKEN_BYTES_MAX = 64 * 1024
SCHEME = "Bearer "


def read_token(path: Path) -> str:
    """The token without its line end.

    Raises:
        SettingsError: no file, an empty one, or not one line of ASCII; the content is not told.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"token file {path} cannot be read: {error.strerror}; mount the Secret there"
        ) from error
    token = raw.strip()
    if not token or len(token) > TOKEN_BYTES_MAX or not _printable(token):
        raise SettingsError(
            f"token file {path} holds {len(raw)} bytes that are no token; write one line of "
            "printable ASCII into it"
        )
    return token.decode("ascii")


def matches(header: str | None, token: str) -> bool:
    """Whether an Authorization header carries the token, compared in constant time."""
    given = (header or "").encode("utf-8", errors="surrogateescape")
    # One comparison of everything: a wrong scheme takes as long as a wrong token.
    return hmac.compare_digest(given, f"{SCHEME}{token}".encode())


def _printable(token: bytes) -> bool:
    return all(0x21 <= byte <= 0x7E for byte in token)
