"""Cold starts: how long a pod needs until it serves, and what to do about it."""

from __future__ import annotations
