"""2,000 damaged notifications and requests, by seed: refused with path and reason, or taken."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import orjson
import pytest

NUM_BODIES, NUM_REQUESTS, PER_SEED = 1_400, 600, 200
ODD = [
    None, True, 0, -1, 1e308, 10**25, "", "x" * 5000, "\u202e\x00", [], {}, [[]], {"": {}},
    "2026-13-01T00:00:00Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999999999-23:59",
    "0001-01-01T00:00:00+23:59", "firing", "resolved", "{{ .Labels }}", "../../etc/passwd",
]  # fmt: skip


# 503 asks for the rest of a torn body; nothing = cut, as the head never ended
ALLOWED = {"", "200", "400", "401", "404", "405", "413", "415", "417", "503"}


def places(value, path=()):
    """Paths of everything within a document."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def put(document, path, value):
    if not path:
        return value
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


def damaged_body(rng, good):
    """One notification with one to three faults, as JSON or below it."""
    kind = rng.randrange(4)
    if kind == 0:  # another type or value somewhere
        document = orjson.loads(good)
        for _ in range(rng.randint(1, 3)):
            document = put(document, rng.choice(list(places(document))), rng.choice(ODD))
        try:
            return orjson.dumps(document)
        except (TypeError, ValueError):  # 10**25 is no 64-bit integer
            return repr(document).replace("'", '"').encode()
    raw = bytearray(good)
    if kind == 1:  # torn, doubled, or with something put in
        at, to = sorted(rng.randrange(len(raw)) for _ in range(2))
        return bytes(
            rng.choice([raw[:at], raw[:to] + raw[at:], raw[:at] + b"}" + raw[at:], raw[at:]])
        )
    if kind == 2:  # bytes changed
        for _ in range(rng.randint(1, 8)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        return bytes(raw)
    depth = rng.choice([10, 1_000, 100_000])
    return rng.choice(
        [b"[" * depth, b'{"alerts":' * depth, b"[" * depth + b"]" * depth, b"\0" * depth]
    )


def damaged_request(rng, token, good):
    """Bytes on the wire that are almost a request."""

    def maybe(usual, *odd):
        return rng.choice(odd) if rng.random() < 0.2 else usual

    size = maybe(len(good), 0, -1, 10**18, "1x", len(good) - 7)
    lines = [
        b" ".join([
            maybe(b"POST", b"PUT", b"GET", b"P\xc3\xa9ST", b"PRI", b"CONNECT"),
            maybe(b"/alerts", b"//", b"/alerts?x=%zz", b"*", b"/" + b"a" * 9000),
            maybe(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"SIP/2.0", b""),
        ]),
        b"Host: x",
        b"Connection: close",
        b"Authorization: Bearer " + maybe(token, b"", b"\xff\xfe", token * 3, token * 900),
        *maybe(
            [b"Content-Length: %s" % str(size).encode()],
            [b"Transfer-Encoding: chunked"],
            [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
            [b"Content-Encoding: gzip", b"Content-Length: %d" % len(good)],
            [b"Expect: 100-continue", b"Content-Length: %d" % len(good)],
        ),
        *maybe(
            [b"Content-Type: application/json"],
            [b"Content-Type: text/html"], [b"X: " + b"y" * 9000], [b"X" * 200 + b":"] * 200,
            [b": no name"], [b"Bad\x00Header: 1"],
        ),
    ]  # fmt: skip
    return b"\r\n".join(lines) + b"\r\n\r\n" + maybe(good, b"", good[:9], good * 2)


async def answer_to(port, data):
    """What comes back; nothing where the connection was cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), 60.0)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(NUM_BODIES // PER_SEED))
def test_a_damaged_notification_is_refused_with_path_and_reason_or_taken(door, seed):
    rng = random.Random(seed)
    good = door.body(door.item(1), door.item(2, status="resolved"), receiver="r")
    statuses = Counter()

    async def check(r):
        for n in range(PER_SEED):
            body = damaged_body(rng, good)
            answer = await r.post(body)
            statuses[answer.status] += 1
            assert answer.status in (200, 400), (seed, n, answer.said)
            if answer.status == 400:
                assert answer.said["path"] and answer.said["reason"], (seed, n, answer.said)
                assert answer.said["message"], (seed, n, answer.said)
        assert (await r.post()).status == 200

    door.run(check)
    assert statuses[400] > PER_SEED // 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(NUM_REQUESTS // PER_SEED))
def test_a_damaged_request_is_refused_and_the_receiver_goes_on(door, seed, caplog):
    rng = random.Random(1000 + seed)
    statuses = Counter()

    async def send(r, n):
        data = damaged_request(rng, door.TOKEN.encode(), door.body(door.item(n)))
        answer = await answer_to(r.port, data)
        status = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")[9:12].decode()
        statuses[status] += 1
        assert status in ALLOWED, (seed, n, answer)
        assert not status or status == "200" or b"\r\n\r\n" in answer[:-1], "no reason given"

    async def check(r):
        for at in range(0, PER_SEED, 20):
            await asyncio.gather(*(send(r, at + n) for n in range(20)))
        await r.answered()

    with caplog.at_level("INFO"):
        door.run(check, limits=door.Limits(idle_s=0.1, body_s=0.1, linger_s=0.05))
    assert door.TOKEN not in caplog.text
    assert len(caplog.records) <= PER_SEED
    print(seed, dict(statuses))
    assert statuses["400"] and statuses["401"]
