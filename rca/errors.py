"""Errors of the diagnosis library."""

from __future__ import annotations


class RcaError(Exception):
    """Root of every error that `rca` raises on purpose."""


class FrameError(RcaError):
    """A metric frame whose parts do not fit together."""


class DatasetError(RcaError):
    """Incidents on disk that cannot be read: names the file, the value and the next step."""


class ModelError(RcaError):
    """A model that was asked for and cannot be had."""
