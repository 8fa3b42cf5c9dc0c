"""KV memory of one instance: paged blocks with reference counts, and how decodes use them up."""

from __future__ import annotations

from serving.kvcache.blocks import BlockError, BlockPool
from serving.kvcache.decode_group import DecodeGroup

__all__ = ["BlockError", "BlockPool", "DecodeGroup"]
