"""One replay at a time, also when whoever asked for it is gone."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import suppress

import pytest

from ops.controller.worker.replay import Replayer
from ops.controller.worker_link.wire import ReplayRequest

REQUEST = ReplayRequest(namespace="shop", name="again", scenario="chat")


@pytest.mark.parametrize("after_s", [0.0, 0.05])
def test_a_replay_that_nobody_waits_for_ends_before_another_begins(after_s):
    async def check():
        replayer = Replayer(None, granger="off", limit_s=60.0)
        first = asyncio.create_task(replayer.replay(REQUEST))
        second = asyncio.create_task(replayer.replay(REQUEST))
        await asyncio.sleep(after_s)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        for _ in range(200):
            await asyncio.sleep(0.005)
            children = multiprocessing.active_children()
            assert len(children) <= 1
            if children:
                break
        else:
            raise AssertionError("the second one has not begun")
        replayer.close()
        answer = await second
        assert "ended with code -9" in answer.failed
        assert not multiprocessing.active_children()

    asyncio.run(check())
