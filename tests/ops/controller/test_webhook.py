"""The receiver: 200 means written, 503 means come again, everything else says why."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io

import pytest

from ops.errors import KubeError, OverloadedError

READ_S = 30.0


def test_an_alert_is_written_before_it_is_answered(door):
    async def check(r):
        answer = await r.post()
        assert (answer.status, answer.said["written"]) == (200, 1)
        assert [a.fingerprint for a in r.fleet.alerts] == ["0" * 16]

    door.run(check)


def test_a_repeated_notification_is_fine_and_writes_nothing(door):
    async def check(r):
        await r.post()
        again = await r.post()
        assert (again.status, again.said["written"], again.said["known"]) == (200, 0, 1)
        assert len(r.fleet.alerts) == r.fleet.num_ticks == 1

    door.run(check)


def test_the_end_of_an_alert_is_news(door):
    async def check(r):
        await r.post()
        ended = door.item(status="resolved", endsAt="2026-01-02T04:00:00Z")
        assert (await r.post(door.body(ended))).said["written"] == 1
        assert [a.firing for a in r.fleet.alerts] == [True, False]

    door.run(check)


def test_posts_that_come_during_a_tick_share_the_next_one(door):
    async def check(r):
        bodies = (door.body(door.item(n), door.item(n + 1)) for n in range(20))
        posts = [asyncio.create_task(r.post(body)) for body in bodies]
        while r.fleet.inbox.num_waiting < 21:
            await asyncio.sleep(0.001)
        r.fleet.may_write.set()
        answers = await asyncio.gather(*posts)
        assert {a.status for a in answers} == {200}
        assert sum(a.said["written"] for a in answers) == 21
        assert len(r.fleet.alerts) == 21
        assert r.fleet.num_ticks <= 3

    door.run(check, fleet=lambda: door.Written(may_write=False))


def test_what_an_earlier_process_has_written_is_known(door):
    from ops.adapters.alertmanager import parse_alerts
    from ops.controller.alerts.digests import add_digests, split_digests

    (alert,) = parse_alerts(door.body(door.item()))

    async def check(r):
        r.fleet.inbox.restore(split_digests(add_digests("", [alert])))
        assert (await r.post()).said["known"] == 1
        assert r.fleet.num_ticks == 0

    door.run(check)


def test_an_alert_without_a_fleet_is_answered_and_counted(door, caplog):
    async def check(r):
        body = door.body(*(door.item(n, labels={"namespace": "lost"}) for n in range(3)))
        answer = await r.post(body)
        assert (answer.status, answer.said["unrouted"]) == (200, 3)
        value = r.registry.get_sample_value("ops_webhook_alerts_total", {"result": "unrouted"})
        assert value == 3

    door.run(check)
    assert caplog.text.count("alert without a fleet") == 1


@pytest.mark.parametrize(
    ("request_", "status", "reason", "path"),
    [
        ({"token": "wrong"}, 401, "Unauthorized", "Authorization"),
        ({"headers": {"Authorization": None}}, 401, "Unauthorized", "Authorization"),
        ({"headers": {"Authorization": "Basic x"}}, 401, "Unauthorized", "Authorization"),
        ({"body": b"{"}, 400, "InvalidBody", "body"),
        ({"body": b'{"alerts": 3}'}, 400, "InvalidBody", "alerts"),
        ({"body": b'{"alerts": [{}, 4]}'}, 400, "InvalidBody", "alerts[0].status"),
        ({"body": io.BytesIO(b" " * 1_100_000)}, 413, "TooLarge", "body"),
        ({"headers": {"Content-Type": "text/plain"}}, 415, "UnsupportedMediaType", "Content-Type"),
        (
            {"body": gzip.compress(b"{}"), "headers": {"Content-Encoding": "gzip"}},
            415, "UnsupportedEncoding", "Content-Encoding",
        ),
        ({"path": "/api/v2/alerts"}, 404, "NotFound", "/api/v2/alerts"),
    ],
)  # fmt: skip
def test_a_refusal_names_path_and_reason(door, request_, status, reason, path):
    async def check(r):
        answer = await r.post(**request_)
        assert (answer.status, answer.said["reason"], answer.said["path"]) == (status, reason, path)
        assert answer.said["message"]
        assert not r.fleet.alerts
        assert (await r.post()).status == 200

    door.run(check)


def test_a_chunked_body_is_cut_at_the_limit(door):
    async def check(r):
        sent = 0

        async def parts():
            nonlocal sent
            for _ in range(1000):
                sent += 65536
                yield b" " * 65536

        try:
            answer = await r.post(parts())
            assert (answer.status, answer.said["reason"]) == (413, "TooLarge")
        except (ConnectionError, OSError):
            pass  # cut while it still sends
        assert sent < 30_000_000

    door.run(check, limits=door.Limits(linger_s=0.05))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OverloadedError("full", retry_after_s=3.0), "Overloaded"),
        (KubeError("PATCH incidents: 500", status=500), "NotWritten"),
    ],
)
def test_what_cannot_be_written_is_asked_for_again(door, error, reason):
    async def check(r):
        r.fleet.error = error
        answer = await r.post()
        assert (answer.status, answer.said["reason"]) == (503, reason)
        assert int(answer.headers["Retry-After"]) > 0
        r.fleet.error = None
        assert (await r.post()).said["written"] == 1

    door.run(check)


def test_a_fault_of_our_own_is_told_and_the_receiver_goes_on(door, caplog):
    async def broken(alerts):
        raise ZeroDivisionError

    async def check(r):
        for _ in range(2):
            answer = await r.post()
            assert (answer.status, answer.said["reason"]) == (500, "Internal")

    door.run(check, accept=broken)
    assert "ZeroDivisionError" in caplog.text


def test_what_is_not_written_in_time_is_asked_for_again_and_counted_once(door):
    async def check(r):
        first = await r.post()
        assert (first.status, first.said["reason"]) == (503, "NotWrittenInTime")
        r.fleet.may_write.set()
        while not r.fleet.alerts:
            await asyncio.sleep(0.001)
        assert (await r.post()).said["known"] == 1
        assert len(r.fleet.alerts) == 1

    door.run(check, fleet=lambda: door.Written(may_write=False), limits=door.Limits(accept_s=0.03))


async def answers_of(r, bodies, *, num_refused):
    """Answers to posts that are there at once: nothing is written before so many are refused."""
    posts = [asyncio.create_task(r.post(body)) for body in bodies]
    while sum(one.done() for one in posts) < num_refused:
        await asyncio.sleep(0.001)
    r.fleet.may_write.set()
    return await asyncio.gather(*posts)


def test_beyond_its_room_the_receiver_says_503_never_429(door):
    async def check(r):
        bodies = (door.body(door.item(n), door.item(100 + n)) for n in range(12))
        answers = await answers_of(r, bodies, num_refused=12 - 5)
        assert {a.status for a in answers} == {200, 503}
        taken = sum(a.said.get("written", 0) for a in answers)
        assert taken == len(r.fleet.alerts) == 2 * sum(a.status == 200 for a in answers)

    door.run(
        check, fleet=lambda: door.Written(may_write=False, waiting_max=6),
        limits=door.Limits(posts_max=5),
    )  # fmt: skip


def test_bodies_together_have_a_limit_too(door):
    async def check(r):
        big = door.body(door.item(annotations={"text": "x" * 3000}))
        answers = await answers_of(r, [big] * 4, num_refused=2)
        assert sorted(a.status for a in answers) == [200, 200, 503, 503]

    door.run(
        check, fleet=lambda: door.Written(may_write=False),
        limits=door.Limits(held_bytes_max=8000),
    )  # fmt: skip


def test_a_rotated_token_counts_at_once_and_the_one_before_for_a_while(door):
    async def check(r):
        assert (await r.post()).status == 200
        r.token_file.write_text("second")
        assert (await r.post(token="second")).status == 200
        assert (await r.post(token=door.TOKEN)).status == 200
        r.token_file.write_text("third")
        assert (await r.post(token="third")).status == 200
        assert (await r.post(token=door.TOKEN)).status == 401
        r.token_file.unlink()
        gone = await r.post(token="third")
        assert (gone.status, gone.said["reason"]) == (503, "NoToken")

    door.run(check)


def test_the_token_before_is_refused_after_the_overlap(tmp_path):
    from ops.controller.accepted_tokens import AcceptedTokens

    path, now_s = tmp_path / "token", 0.0
    tokens = AcceptedTokens(path, now_s=lambda: now_s, overlap_s=60.0)
    path.write_text("one")
    assert tokens.accepts("Bearer one")
    path.write_text("two")
    now_s = 100.0
    assert tokens.accepts("Bearer one")
    now_s = 159.0
    assert tokens.accepts("Bearer one")
    now_s = 160.0
    assert not tokens.accepts("Bearer one")
    assert tokens.accepts("Bearer two")


async def talk(port, data):
    """What the receiver says to raw bytes, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), READ_S)
    finally:
        writer.close()


HEAD = (
    b"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer correct-horse\r\n"
    b"Content-Length: 100\r\n"
)


@pytest.mark.parametrize("data", [b"", b"POST /ale", HEAD])
def test_a_sender_without_a_whole_head_is_cut(door, data):
    async def check(r):
        assert await talk(r.port, data) == b""
        await r.answered()

    door.run(check, limits=door.Limits(idle_s=0.05))


def test_a_sender_that_stops_within_its_body_is_cut_and_asked_to_come_again(door):
    async def check(r):
        answer = await talk(r.port, HEAD + b"\r\n{")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"TooSlow" in answer
        await r.answered()

    door.run(check, limits=door.Limits(body_s=0.05, linger_s=0.05))


def test_connections_have_a_limit(door):
    async def check(r):
        held = [await asyncio.open_connection("127.0.0.1", r.port) for _ in range(3)]
        await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection("127.0.0.1", r.port)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), READ_S) == b""
        writer.close()
        for _, w in held:
            w.close()
        await r.answered()

    door.run(check, limits=door.Limits(connections_max=3))


def test_no_answer_carries_the_token(door):
    async def check(r):
        for body in (None, b"{", b"[]"):
            answer = await r.post(body)
            assert door.TOKEN not in str(answer.said) + str(answer.headers)

    door.run(check)
