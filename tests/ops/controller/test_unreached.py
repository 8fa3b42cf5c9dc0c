"""What a person reads where a process of ours is not reached."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from ops import plugin
from ops.controller.alerts.forward import Forwarder
from ops.controller.alerts.gate import RefusedError
from ops.controller.worker_link.client import WorkerClient
from ops.controller.worker_link.wire import ReplayRequest
from ops.errors import WorkerError


@pytest.fixture
def nobody():
    """Address of a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_worker_that_is_away_is_named_with_the_next_step(nobody):
    async def ask():
        async with WorkerClient(nobody, token_file=None) as client:
            await client.replay(ReplayRequest(name="r", namespace="n", incident="i"))

    with pytest.raises(WorkerError) as caught:
        asyncio.run(ask())
    said = str(caught.value)
    assert f"{nobody}/" in said and ": connection refused; look" in said and "worker.url" in said
    assert "ssl:" not in said


def test_a_leader_that_is_away_is_named_with_the_next_step(nobody):
    async def send():
        forwarder = Forwarder(timeout_s=2.0)
        try:
            await forwarder.send(nobody, b"{}", authorization="")
        finally:
            await forwarder.close()

    with pytest.raises(RefusedError) as caught:
        asyncio.run(send())
    assert nobody in caught.value.message
    assert "ssl:" not in caught.value.message and "send it again" in caught.value.message


def test_the_plugin_prints_no_log_lines_above_its_error(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(plugin, "app", lambda prog_name: None)
    plugin.main()
    assert root.handlers  # without any, Python itself prints warnings on stderr
