"""KV memory of one instance: paged blocks with reference counts."""

from __future__ import annotations

from serving.kvcache.blocks import BlockPool

__all__ = ["BlockPool"]
