"""The console script `kubectl-midwatch`, which kubectl finds on PATH as `kubectl midwatch`."""

from __future__ import annotations

from ops.commands.cluster import app


def main() -> None:
    """Run the plugin."""
    app(prog_name="kubectl midwatch")
