"""Adapters between the loop's ports and the outside: files, alert bodies, fakes for tests."""

from __future__ import annotations
