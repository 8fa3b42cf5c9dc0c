"""Evidence channels: each turns one kind of data into findings about entities."""

from __future__ import annotations
