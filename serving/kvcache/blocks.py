"""Paged KV blocks: free list, reference counts, counted-ahead growth, blocks lost to a leak.

Which sequence holds which block is the caller's table; this module knows blocks only.
"""

from __future__ import annotations

from serving.errors import ServingError


class BlockError(ServingError):
    """Blocks taken, shared or given back against the rules."""


class BlockPool:
    """Fixed number of KV blocks.

    Source: vLLM's PagedAttention block manager (Kwon et al., SOSP'23, section 4).
    Differs: a block held once has no entry in the reference map, so taking and giving back runs
    of unshared blocks is one list operation; growth of decoding sequences may be counted first
    (`owe`) and turned into ids when somebody reads the table (`take_owed`).
    """

    __slots__ = ("_extra_refs", "_free", "num_blocks", "num_free", "num_lost", "num_owed")

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.num_free = num_blocks  # usable now; negative while a leak overlaps blocks in use
        self.num_owed = 0  # counted as used, no id chosen yet
        self.num_lost = 0  # taken by somebody outside (a memory leak)
        self._free = list(range(num_blocks - 1, -1, -1))
        self._extra_refs: dict[int, int] = {}  # references beyond the first; only if any

    @property
    def num_used(self) -> int:
        """Blocks in use by sequences, each counted once however often it is shared."""
        return self.num_blocks - len(self._free) + self.num_owed

    @property
    def num_extra_refs(self) -> int:
        """References beyond the first, over all blocks."""
        return sum(self._extra_refs.values())

    def take(self, num: int) -> list[int]:
        """Take `num` blocks with one reference each.

        Raises:
            BlockError: fewer are free.
        """
        if not 0 <= num <= self.num_free:
            raise BlockError(
                f"{num} blocks asked for, {self.num_free} of {self.num_blocks} free; "
                "preempt a sequence first"
            )
        self.num_free -= num
        return self._pop(num)

    def owe(self, num: int) -> None:
        """Count `num` more blocks as used, even if a leak makes `num_free` negative.

        Raises:
            BlockError: the pool has not that many ids left.
        """
        if not 0 <= num <= len(self._free) - self.num_owed:
            raise BlockError(
                f"{num} more blocks owed, {len(self._free) - self.num_owed} exist unassigned; "
                "the plan ran more decode steps than blocks allow"
            )
        self.num_owed += num
        self.num_free -= num

    def take_owed(self, num: int) -> list[int]:
        """Turn `num` owed blocks into ids."""
        self.forgive(num)
        self.num_free -= num
        return self._pop(num)

    def forgive(self, num: int) -> None:
        """Make `num` owed blocks free again: nobody will need their ids.

        Raises:
            BlockError: fewer are owed.
        """
        if not 0 <= num <= self.num_owed:
            raise BlockError(
                f"{num} owed blocks dropped, {self.num_owed} are owed; check the count"
            )
        self.num_owed -= num
        self.num_free += num

    def share(self, block_ids: list[int]) -> None:
        """Add one reference to each block, all of which must be in use."""
        for block_id in block_ids:
            self._extra_refs[block_id] = self._extra_refs.get(block_id, 0) + 1

    def num_refs(self, block_id: int) -> int:
        """References of a block in use."""
        return 1 + self._extra_refs.get(block_id, 0)

    def give_back(self, block_ids: list[int]) -> None:
        """Drop one reference of each block; those without references become free."""
        if self._extra_refs:
            block_ids = self._unreferenced(block_ids)
        self._free.extend(block_ids)
        self.num_free += len(block_ids)

    def lose(self, num: int) -> None:
        """Set how many blocks somebody outside holds (absolute, not a change).

        Raises:
            BlockError: more than there are.
        """
        if not 0 <= num <= self.num_blocks:
            raise BlockError(f"{num} blocks lost, expected 0 to {self.num_blocks}")
        self.num_free += self.num_lost - num
        self.num_lost = num

    def check_invariants(self, tables: list[list[int]]) -> None:
        """Assert that `tables` hold every used block exactly as often as it is referenced."""
        held = self._checked_refs(tables)
        free = set(self._free)
        assert len(free) == len(self._free), "a block is free twice"
        assert not free & held.keys(), f"blocks both free and held: {sorted(free & held.keys())}"
        assert len(free) + len(held) == self.num_blocks, (
            f"{self.num_blocks - len(free) - len(held)} of {self.num_blocks} blocks leaked"
        )
        assert 0 <= self.num_owed <= len(free), f"{self.num_owed} blocks owed, {len(free)} free"
        real_free = len(free) - self.num_owed - self.num_lost
        assert self.num_free == real_free, f"{self.num_free} free by count, {real_free} in fact"

    def _unreferenced(self, block_ids: list[int]) -> list[int]:
        """Drop one reference of each block; those that have none left, in order."""
        extra_refs, unreferenced = self._extra_refs, []
        for block_id in block_ids:
            extra = extra_refs.pop(block_id, 0)
            if extra == 0:
                unreferenced.append(block_id)
            elif extra > 1:
                extra_refs[block_id] = extra - 1
        return unreferenced

    def _checked_refs(self, tables: list[list[int]]) -> dict[int, int]:
        """How often each block is held, once it is certain that references say the same."""
        held: dict[int, int] = {}
        for table in tables:
            for block_id in table:
                held[block_id] = held.get(block_id, 0) + 1
        for block_id, num in held.items():
            assert num == self.num_refs(block_id), (
                f"block {block_id} held {num} times, {self.num_refs(block_id)} references"
            )
        assert self._extra_refs.keys() <= held.keys(), "references to blocks nobody holds"
        return held

    def _pop(self, num: int) -> list[int]:
        if num == 0:
            return []
        block_ids = self._free[-num:]
        del self._free[-num:]
        return block_ids
