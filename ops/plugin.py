"""The console script `kubectl-midwatch`, which kubectl finds on PATH as `kubectl midwatch`."""

from __future__ import annotations

import logging

from ops.commands.cluster import app


def main() -> None:
    """Run the plugin. What goes wrong is told once, by its error: log lines say it first, again."""
    logging.getLogger().addHandler(logging.NullHandler())
    app(prog_name="kubectl midwatch")
