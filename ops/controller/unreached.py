"""Why another process of ours was not reached, in a person's words."""

from __future__ import annotations

import os

import aiohttp


def unreached(error: BaseException) -> str:
    """The reason alone: the address stands beside it, and aiohttp's own words add noise to it."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"TLS failed: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number).lower() if number else "no connection"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
