"""KV memory of one instance: paged blocks with reference counts, and how decodes use them up."""

from __future__ import annotations

from serving.kvcache.blocks import BlockError, BlockPool
from serving.kvcache.decode_group import DecodeGroup
from serving.kvcache.prefix_cache import CachingPool
from serving.kvcache.prefix_keys import block_keys, chain_keys

__all__ = ["BlockError", "BlockPool", "CachingPool", "DecodeGroup", "block_keys", "chain_keys"]
