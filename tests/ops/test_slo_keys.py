"""Which pairs of region and class are counted where a label has more values than memory."""

from __future__ import annotations

from ops.slo_keys import KEYS_MAX, room_for
from ops.state import SloTarget

CHAT = SloTarget(name="chat", ttft_s=1.0, tpot_s=0.1)
ODD = {("eu", f"user-{k}") for k in range(2 * KEYS_MAX)}


def test_others_are_counted_while_there_is_room_and_those_with_an_slo_always():
    kept = room_for(ODD | {("eu", "chat")}, (CHAT,), num_known=0)
    assert len(kept) == KEYS_MAX
    assert ("eu", "chat") in kept
    assert room_for(ODD | {("us", "chat")}, (CHAT,), num_known=KEYS_MAX) == (("us", "chat"),)


def test_few_are_all_counted_in_their_order():
    assert room_for({("us", "b"), ("eu", "a")}, (), num_known=0) == (("eu", "a"), ("us", "b"))
