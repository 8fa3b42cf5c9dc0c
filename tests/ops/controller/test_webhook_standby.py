"""A standby replica passes notifications on, once; without a leader it asks to come again."""

from __future__ import annotations

import asyncio


def test_a_standby_hands_bodies_to_the_leader(door, tmp_path):
    async def both():
        async with door.receiver(tmp_path) as leader:
            address = f"http://127.0.0.1:{leader.port}"
            async with door.receiver(tmp_path, leader=lambda: address) as standby:
                answer = await standby.post()
                assert (answer.status, answer.said["written"]) == (200, 1)
                assert len(leader.fleet.alerts) == 1
                assert not standby.fleet.alerts
                bad = await standby.post(b"{")
                assert (bad.status, bad.said["reason"]) == (400, "InvalidBody")
                assert (await standby.post(token="wrong")).status == 401

    asyncio.run(both())


def test_without_a_leader_a_standby_asks_to_come_again(door):
    async def check(r):
        answer = await r.post()
        assert (answer.status, answer.said["reason"]) == (503, "Standby")

    door.run(check, leader=lambda: "")


def test_a_leader_that_does_not_answer_is_no_loss(door):
    async def check(r):
        answer = await r.post()
        assert (answer.status, answer.said["reason"]) == (503, "LeaderSilent")

    door.run(check, leader=lambda: "http://127.0.0.1:9")


def test_two_replicas_that_point_at_each_other_do_not_loop(door, tmp_path):
    async def both():
        places = {}
        async with (
            door.receiver(tmp_path, leader=lambda: places["b"]) as a,
            door.receiver(tmp_path, leader=lambda: places["a"]) as b,
        ):
            places |= {name: f"http://127.0.0.1:{r.port}" for name, r in (("a", a), ("b", b))}
            answer = await a.post()
            assert (answer.status, answer.said["reason"]) == (503, "Standby")

    asyncio.run(both())
