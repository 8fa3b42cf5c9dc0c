from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.kvcache import BlockError, BlockPool


def test_taking_more_than_is_free_is_refused_and_changes_nothing() -> None:
    pool = BlockPool(4)
    pool.take(3)
    with pytest.raises(BlockError, match="2 blocks asked for, 1 of 4 free"):
        pool.take(2)
    assert pool.num_free == 1


def test_a_shared_block_becomes_free_with_its_last_reference() -> None:
    pool = BlockPool(2)
    block_ids = pool.take(1)
    pool.share(block_ids)
    pool.give_back(block_ids)
    assert (pool.num_free, pool.num_refs(block_ids[0])) == (1, 1)
    pool.give_back(block_ids)
    assert pool.num_free == 2


def test_a_leak_over_blocks_in_use_leaves_fewer_than_none_free() -> None:
    pool = BlockPool(4)
    block_ids = pool.take(3)
    pool.lose(3)
    assert pool.num_free == -2
    pool.give_back(block_ids)
    assert pool.num_free == 1
    pool.lose(0)
    assert pool.num_free == 4


def test_owing_beyond_the_blocks_there_are_is_refused() -> None:
    pool = BlockPool(3)
    pool.take(2)
    pool.owe(1)
    with pytest.raises(BlockError, match="1 more blocks owed, 0 exist"):
        pool.owe(1)


class BlockPoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(8)
        self.tables: list[list[int]] = []

    @rule(num=st.integers(0, 4))
    def take(self, num: int) -> None:
        if num <= self.pool.num_free:
            self.tables.append(self.pool.take(num))

    @rule(num=st.integers(0, 3))
    def owe(self, num: int) -> None:
        if num <= self.pool.num_free:
            self.pool.owe(num)

    @rule(num=st.integers(0, 3), forgive=st.booleans())
    def settle(self, num: int, forgive: bool) -> None:
        num = min(num, self.pool.num_owed)
        if forgive:
            self.pool.forgive(num)
        else:
            self.tables.append(self.pool.take_owed(num))

    @precondition(lambda self: self.tables)
    @rule(i=st.integers(0, 20))
    def share(self, i: int) -> None:
        table = self.tables[i % len(self.tables)]
        self.pool.share(table)
        self.tables.append(list(table))

    @precondition(lambda self: self.tables)
    @rule(i=st.integers(0, 20))
    def give_back(self, i: int) -> None:
        self.pool.give_back(self.tables.pop(i % len(self.tables)))

    @rule(num=st.integers(0, 8))
    def lose(self, num: int) -> None:
        self.pool.lose(num)

    @invariant()
    def no_block_is_lost(self) -> None:
        self.pool.check_invariants(self.tables)


TestBlockPool = BlockPoolMachine.TestCase
TestBlockPool.settings = settings(max_examples=6, stateful_step_count=20, deadline=None)
