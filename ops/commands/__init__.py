"""One file a command group; heavy imports stay inside the commands."""

from __future__ import annotations
