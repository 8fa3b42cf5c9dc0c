"""One replay at a time, also when whoever asked for it is gone."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from contextlib import suppress

import pytest

from ops.controller.worker import replay
from ops.controller.worker.replay import Replayer
from ops.controller.worker_link.wire import ReplayRequest

REQUEST = ReplayRequest(namespace="shop", name="again", scenario="chat")
LONG_S, LIMIT_S, SOON_S = 600.0, 30.0, 15.0


def endless(*_):
    """A run that ends by nothing but its end."""
    time.sleep(LONG_S)


@pytest.mark.parametrize("after_s", [0.0, 0.05])
def test_a_replay_that_nobody_waits_for_ends_before_another_begins(monkeypatch, after_s):
    monkeypatch.setattr(replay, "_child", endless)

    async def check():
        replayer = Replayer(None, granger="off", limit_s=LIMIT_S)
        first = asyncio.create_task(replayer.replay(REQUEST))
        second = asyncio.create_task(replayer.replay(REQUEST))
        await asyncio.sleep(after_s)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        while True:
            await asyncio.sleep(0.005)
            children = multiprocessing.active_children()
            assert len(children) <= 1
            if children:
                break
        replayer.close()
        answer = await second
        assert "ended with code -9" in answer.failed
        assert not multiprocessing.active_children()

    asyncio.run(asyncio.wait_for(check(), SOON_S))
