"""What is held at the door: how many posts and bytes at once, how large, how long, in which form.

A refusal says which status, which part of the request, why. 503 asks Alertmanager to come again;
it drops what is refused with any 4xx, 429 among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the receiver.

    Attributes:
        posts_max: notifications that are read or wait to be written at once.
        held_bytes_max: of all their bodies together. Parsed, a body takes up to about 20 times
            its size.
        body_s: from the head of a post to the end of its body.
        accept_s: from there until it is written. Alertmanager gives up after `group_interval`,
            10 s at least: the answer should come before that.
        idle_s: connections that send no complete head, or none after an answer, are cut.
        linger_s: for the rest of a body that was refused.
    """

    body_bytes_max: int = MIB
    posts_max: int = 64
    held_bytes_max: int = 4 * MIB
    body_s: float = 5.0
    accept_s: float = 8.0
    idle_s: float = 30.0
    linger_s: float = 1.0
    connections_max: int = 128
    retry_after_s: float = 5.0


class RefusedError(Exception):
    """A request that is not taken, with the answer that it gets."""

    def __init__(
        self,
        status: int,
        reason: str,
        path: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        faults: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.path, self.message = status, reason, path, message
        self.retry_after_s, self.faults = retry_after_s, faults


class Gate:
    """Room for posts. `enter` takes it, leaving the context gives it back."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.num_posts = 0
        self.held_bytes = 0

    @contextmanager
    def enter(self, request: web.Request) -> Iterator[None]:
        """Room for one post.

        Raises:
            RefusedError: 503, nothing is free.
        """
        limits = self.limits
        # A chunked body does not tell its size: it may become as large as allowed.
        told = request.content_length
        size = limits.body_bytes_max if told is None else told
        if self.num_posts >= limits.posts_max:
            raise self._full(f"{self.num_posts} notifications are being written")
        if self.num_posts and self.held_bytes + size > limits.held_bytes_max:
            raise self._full(f"{self.held_bytes} bytes of notifications are being written")
        self.num_posts += 1
        self.held_bytes += size
        try:
            yield
        finally:
            self.num_posts -= 1
            self.held_bytes -= size

    def _full(self, seen: str) -> RefusedError:
        return RefusedError(
            503, "Overloaded", "", f"{seen}; send it again", retry_after_s=self.limits.retry_after_s
        )


def check_form(request: web.Request, *, body_bytes_max: int) -> None:
    """What the head alone tells.

    Raises:
        RefusedError: 413 or 415.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RefusedError(
            415, "UnsupportedEncoding", "Content-Encoding",
            f"{encoding[:40]!r} is not read; send the body uncompressed",
        )  # fmt: skip
    if "Content-Type" in request.headers and request.content_type != "application/json":
        raise RefusedError(
            415, "UnsupportedMediaType", "Content-Type",
            f"{request.content_type[:80]!r} is not read; send application/json",
        )  # fmt: skip
    if request.content_length is not None and request.content_length > body_bytes_max:
        raise _too_large(request.content_length, body_bytes_max)


async def read_body(request: web.Request, *, body_bytes_max: int, body_s: float) -> bytes:
    """The body, however it is sent.

    Raises:
        RefusedError: 413 when it grows beyond the limit, 503 when it comes too slowly.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(body_s):
            async for part in request.content.iter_any():
                body += part
                if len(body) > body_bytes_max:
                    raise _too_large(len(body), body_bytes_max)
    except TimeoutError as error:
        raise RefusedError(
            503, "TooSlow", "body",
            f"{len(body)} bytes came within {body_s:g} s and no end; send it again",
            retry_after_s=1.0,
        ) from error  # fmt: skip
    return bytes(body)


def _too_large(size: int, most: int) -> RefusedError:
    return RefusedError(
        413, "TooLarge", "body",
        f"{size} bytes and more, limit {most}; set max_alerts in the receiver",
    )  # fmt: skip
