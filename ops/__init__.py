"""The application that joins the three libraries: observe, diagnose, decide, act, report."""

from __future__ import annotations

__version__ = "0.1.0"
