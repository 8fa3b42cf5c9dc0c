"""Tokens that a server accepts: the one in the mounted file, and for a while the one before it.

A Secret reaches the pods that send and the one that receives at different moments, a minute or
two apart. Alertmanager drops what is answered 401, and a diagnosis would wait for the later one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ops.controller.token_file import matches, read_token

OVERLAP_S = 180.0


class AcceptedTokens:
    """Reads the file for each request; the token before a change counts `overlap_s` longer."""

    def __init__(
        self, path: Path, *, now_s: Callable[[], float], overlap_s: float = OVERLAP_S
    ) -> None:
        self._path, self._now_s, self._overlap_s = path, now_s, overlap_s
        self._current, self._previous = "", ""
        self._changed_at_s = 0.0

    def accepts(self, header: str | None) -> bool:
        """Whether an Authorization header carries a token that counts now.

        Raises:
            SettingsError: the file holds no token.
        """
        token = read_token(self._path)
        if token != self._current:
            self._previous, self._current = self._current, token
            self._changed_at_s = self._now_s()
        good = matches(header, token)
        if self._previous and self._now_s() - self._changed_at_s < self._overlap_s:
            good |= matches(header, self._previous)
        else:
            self._previous = ""
        return good
