"""One job of one fleet does one thing at a time, whatever was cancelled."""

from __future__ import annotations

import asyncio

from ops.controller.fleet.threads import OneAtATime


class Queue:
    """A pool whose threads begin when the test says so."""

    def __init__(self):
        self.waiting = []

    def __call__(self, work):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((work, future))
        return future

    def work_off(self):
        work, future = self.waiting.pop(0)
        future.set_result(work())


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def begun(alone, work):
    task = asyncio.create_task(alone(work))
    await settle()
    return task


async def left(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_the_next_work_waits_for_what_was_left():
    async def main():
        pool, done = Queue(), []
        alone = OneAtATime(pool)
        await left(await begun(alone, lambda: done.append(1)))
        task = await begun(alone, lambda: done.append(2))
        assert len(pool.waiting) == 1
        pool.work_off()
        await settle()
        pool.work_off()
        await task
        return done

    assert asyncio.run(main()) == [2]  # what nobody waited for was not begun


def test_what_the_work_returns_and_raises_comes_back():
    async def main():
        alone = OneAtATime(lambda work: asyncio.get_running_loop().run_in_executor(None, work))
        found = [await alone(lambda: 7)]
        try:
            await alone(lambda: 1 / 0)
        except ZeroDivisionError:
            found.append("raised")
        return found

    assert asyncio.run(main()) == [7, "raised"]
