"""Options that every command of `kubectl midwatch` takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Options of every command."""

    namespace: str = ""  # "" = that of the context
    everywhere: bool = False
    context: str = ""
    kubeconfig: Path | None = None
    as_json: bool = False
    timeout_s: float = 10.0
