"""How log lines look; known to the command line before anything heavy is imported."""

from __future__ import annotations

from enum import StrEnum


class LogForm(StrEnum):
    """How a line looks."""

    JSON = "json"
    TEXT = "text"
