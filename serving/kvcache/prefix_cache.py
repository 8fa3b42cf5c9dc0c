"""KV blocks that keep the prompts of ended sequences until somebody needs the room.

A block is free (no content), held (referenced by sequences) or idle: cached, held by nobody. Idle
ones count as free; the least recently used gives way first.
"""

from __future__ import annotations

from collections import OrderedDict

from serving.kvcache.blocks import BlockPool


class CachingPool(BlockPool):
    """`BlockPool` in which blocks can be found again by the key of their content.

    Source: vLLM V1, automatic prefix caching: reference counts, eviction of unreferenced blocks
    in LRU order, of one sequence its last block first.
    Differs: blocks without content are used up before any cached one is evicted; two sequences
    that compute the same block at the same time keep a copy each and one of them is cached.
    """

    __slots__ = ("_block_of", "_idle", "_key_of", "num_evicted")

    def __init__(self, num_blocks: int) -> None:
        super().__init__(num_blocks)
        self.num_evicted = 0  # cached blocks that gave way to somebody's need, since the start
        self._block_of: dict[int, int] = {}  # key -> block
        self._key_of: dict[int, int] = {}  # its inverse
        self._idle: OrderedDict[int, None] = OrderedDict()  # least recently used first

    @property
    def num_used(self) -> int:
        """Blocks in use by sequences, each counted once however often it is shared."""
        return super().num_used - len(self._idle)

    @property
    def num_idle(self) -> int:
        """Cached blocks that nobody holds."""
        return len(self._idle)

    def find(self, keys: list[int], num_max: int) -> list[int]:
        """Blocks of the leading keys, at most `num_max`, up to the first that is not cached.

        Idle ones become the most recently used: who looks is about to hold them.
        """
        block_of, idle, found = self._block_of, self._idle, []
        for key in keys[:num_max]:
            block_id = block_of.get(key)
            if block_id is None:
                break
            found.append(block_id)
        for block_id in reversed(found):
            if block_id in idle:
                idle.move_to_end(block_id)
        return found

    def num_held(self, block_ids: list[int]) -> int:
        """How many of these cached blocks somebody holds."""
        return len(block_ids) - sum(block_id in self._idle for block_id in block_ids)

    def hold(self, block_ids: list[int]) -> None:
        """Add one reference to each of these cached blocks."""
        idle, shared = self._idle, []
        for block_id in block_ids:
            if block_id in idle:
                del idle[block_id]
                self.num_free -= 1
            else:
                shared.append(block_id)
        self.share(shared)

    def remember(self, block_ids: list[int], keys: list[int]) -> None:
        """Cache blocks that are held, now that their content is computed; equal lengths.

        A key that is cached already stays with its block, unless that one is idle: then the newer
        block takes its place.
        """
        for block_id, key in zip(block_ids, keys, strict=True):
            other = self._block_of.get(key)
            if other is not None:
                if other not in self._idle:
                    continue
                del self._idle[other]
                self._forget(other)
            self._block_of[key] = block_id
            self._key_of[block_id] = key

    def owe(self, num: int) -> None:
        """Count `num` more blocks as used, even if a leak makes `num_free` negative."""
        self._make_room(num)
        super().owe(num)

    def lose(self, num: int) -> None:
        """Set how many blocks somebody outside holds (absolute, not a change)."""
        super().lose(num)
        self._make_room(0)

    def give_back(self, block_ids: list[int]) -> None:
        """Drop one reference of each block; those without any become idle if cached, else free."""
        if self._extra_refs:
            block_ids = self._unreferenced(block_ids)
        key_of, idle, free = self._key_of, self._idle, self._free
        for block_id in reversed(block_ids):
            if block_id in key_of:
                idle[block_id] = None
            else:
                free.append(block_id)
        self.num_free += len(block_ids)
        self._make_room(0)

    def check_invariants(self, tables: list[list[int]]) -> None:
        """Assert that every block is free, idle or held, and cached ones are found by their key."""
        held, free, idle = self._checked_refs(tables), set(self._free), self._idle.keys()
        assert len(free) == len(self._free), "a block is free twice"
        for one, other, names in (
            (free, held.keys(), "free and held"),
            (free, idle, "free and idle"),
            (idle, held.keys(), "idle and held"),
            (free, self._key_of.keys(), "free and cached"),
        ):
            assert not one & other, f"blocks both {names}: {sorted(one & other)}"
        num_known = len(free) + len(idle) + len(held)
        assert num_known == self.num_blocks, f"{self.num_blocks - num_known} blocks leaked"
        assert idle <= self._key_of.keys(), "idle blocks that nobody can find"
        inverse = {block_id: key for key, block_id in self._block_of.items()}
        assert inverse == self._key_of, "keys and blocks disagree"
        num_gone = self.num_owed + self.num_lost
        assert self.num_owed <= len(free), f"{self.num_owed} blocks owed, {len(free)} free"
        assert not idle or len(free) >= num_gone, f"{len(free)} free, {num_gone} owed or lost"
        real_free = len(free) + len(idle) - num_gone
        assert self.num_free == real_free, f"{self.num_free} free by count, {real_free} in fact"

    def _make_room(self, num: int) -> None:
        """Evict idle blocks until `num` without content are there beside those owed and lost."""
        num_missing = num + self.num_owed + self.num_lost - len(self._free)
        while num_missing > 0 and self._idle:
            self._forget(self._idle.popitem(last=False)[0])
            self.num_evicted += 1
            num_missing -= 1

    def _forget(self, block_id: int) -> None:
        del self._block_of[self._key_of.pop(block_id)]
        self._free.append(block_id)

    def _pop(self, num: int) -> list[int]:
        self._make_room(num)
        return super()._pop(num)
