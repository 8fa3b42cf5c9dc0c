"""Errors of the serving library."""

from __future__ import annotations


class ServingError(Exception):
    """Root of every error that `serving` raises on purpose."""


class TraceFormatError(ServingError):
    """A workload file that does not have the form its reader expects."""


class ConfigError(ServingError):
    """A setting outside its domain."""
