"""10,000 alerts through the real receiver and the real loop, the process killed in the middle."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.cluster.processes import free_ports

RECEIVER = Path(__file__).with_name("storm_receiver.py")
ROOT = Path(__file__).resolve().parents[3]
SHARES = {"shop": 0.7, "chat": 0.2, "search": 0.1}
NUM_ALERTS, BATCH = 10_000, 100


async def start(folder, port):
    """The receiver, once it listens; its output is the test's."""
    process = subprocess.Popen(
        [sys.executable, str(RECEIVER), str(folder), str(port)], cwd=ROOT, env={"PYTHONPATH": "."}
    )
    while process.poll() is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return process
    raise RuntimeError(f"the receiver ended with {process.returncode}")


def batches(door, seed):
    """Notifications as Alertmanager groups them: one namespace and region each, in mixed order."""
    rng = random.Random(seed)
    groups, n = [], 0
    for space, share in SHARES.items():
        for _ in range(int(NUM_ALERTS * share / BATCH)):
            labels = {"namespace": space, "region": rng.choice(["east", "west"])}
            items = [
                door.item(n + i, labels=labels | {"alertname": f"Slow{(n + i) % 7}"})
                for i in range(BATCH)
            ]
            groups.append(door.body(*items, groupKey=f"{{}}:{{group={n}}}"))
            n += BATCH
    rng.shuffle(groups)
    return groups


async def deliver(client, body, answers):
    """As Alertmanager does: 5xx and broken connections again, later and later; 2xx ends it."""
    pause_s = 0.05
    while True:
        try:
            headers = {"Authorization": "Bearer correct-horse", "Content-Type": "application/json"}
            async with client.post("/alerts", data=body, headers=headers) as answer:
                await answer.read()
                answers[answer.status] += 1
                if answer.status == 200:
                    return
                assert answer.status >= 500, answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            answers["broken"] += 1
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, 1.0)


def stored(folder):
    return {
        space: orjson.loads((folder / f"{space}.json").read_bytes())
        for space in SHARES
        if (folder / f"{space}.json").exists()
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_storm_with_kills_is_few_incidents_and_every_alert_counts_once(door, tmp_path, seed):
    (tmp_path / "token").write_text(door.TOKEN)
    (port,), answers, rng = free_ports(1), Counter(), random.Random(seed)
    bodies = batches(door, seed)

    async def send():
        process = await start(tmp_path, port)
        queue = asyncio.Queue()
        for body in bodies:
            queue.put_nowait(body)
        kills = sorted(rng.sample(range(10, len(bodies) - 10), 3))

        async def sender(client):
            while not queue.empty():
                await deliver(client, queue.get_nowait(), answers)

        try:
            timeout = aiohttp.ClientTimeout(total=10)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as client:
                senders = [asyncio.create_task(sender(client)) for _ in range(12)]
                for at in kills:
                    while answers[200] < at and not all(s.done() for s in senders):
                        await asyncio.sleep(0.001)
                    process.kill()
                    process.wait()
                    process = await start(tmp_path, port)
                await asyncio.gather(*senders)
        finally:
            process.kill()
            process.wait()

    asyncio.run(asyncio.wait_for(send(), 300))
    incidents = stored(tmp_path)
    counted = {space: sum(i["alerts"] for i in items) for space, items in incidents.items()}
    numbers = {space: len(items) for space, items in incidents.items()}
    print(f"seed {seed}: answers {dict(answers)}, incidents {numbers}")
    assert sum(numbers.values()) <= 10
    assert counted == {space: int(NUM_ALERTS * share) for space, share in SHARES.items()}
    assert answers["broken"], "the kills must have been felt"
