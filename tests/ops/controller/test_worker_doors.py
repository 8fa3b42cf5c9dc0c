"""The worker's doors: a port for metrics where nobody can ask; bodies are read off the loop."""

from __future__ import annotations

import asyncio
import threading

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry

from ops.controller import probes
from ops.controller.worker import server
from ops.controller.worker.server import make_metrics_door
from ops.controller.worker.service import Worker
from ops.controller.worker.settings import WorkerSettings
from ops.controller.worker_link.wire import DIAGNOSE, REPLAY, REPORT
from rca.granger_kind import GrangerChoice
from tests.ops.controller.live_worker import serving

SETTINGS = WorkerSettings(granger=GrangerChoice.LINEAR)


def test_the_port_for_metrics_answers_probes_and_takes_no_questions(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")

    async def scene():
        worker = Worker(WorkerSettings(host="0.0.0.0", token_file=token))
        runner = web.AppRunner(make_metrics_door(worker))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        found = {}
        async with aiohttp.ClientSession() as session:
            for path in ("/metrics", "/livez", "/readyz"):
                async with session.get(url + path) as response:
                    found[path] = response.status
            for path in (DIAGNOSE, REPORT, REPLAY):
                async with session.post(url + path, data=b"{}") as response:
                    found[path] = response.status
        await runner.cleanup()
        return found

    assert asyncio.run(scene()) == {
        "/metrics": 200, "/livez": 200, "/readyz": 503, DIAGNOSE: 404, REPORT: 404, REPLAY: 404,
    }  # fmt: skip


def test_a_large_body_is_read_beside_the_loop_which_answers_probes_meanwhile(monkeypatch):
    reading, go_on = threading.Event(), threading.Event()
    decode = server.decode

    def slow(kind, raw):
        reading.set()
        assert go_on.wait(30.0)
        return decode(kind, raw)

    monkeypatch.setattr(server, "decode", slow)

    async def scene(path):
        async with serving(SETTINGS) as client, aiohttp.ClientSession() as session:
            reading.clear(), go_on.clear()
            question = asyncio.create_task(session.post(client.url + path, data=b"{}"))
            await asyncio.to_thread(reading.wait, 30.0)
            async with session.get(f"{client.url}/livez") as probe:
                assert not question.done()
            go_on.set()
            async with await question as response:
                return probe.status, response.status

    for path in (DIAGNOSE, REPORT, REPLAY):
        assert asyncio.run(scene(path)) == (200, 400), path


def test_the_token_before_a_rotation_is_taken_for_a_while(tmp_path):
    """The Secret reaches operator and worker at different moments."""
    ours = tmp_path / "worker"
    ours.write_text("old")
    app = server.make_worker(WorkerSettings(token_file=ours, granger=GrangerChoice.OFF))

    async def asked(site, token):
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{site}{REPLAY}", data=b"no JSON") as answer,
        ):
            return answer.status

    async def scene():
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ours.write_text("new")  # before any question came
        told = [await asked(site, token) for token in ("old", "new", "other")]
        await runner.cleanup()
        return told

    told = asyncio.run(scene())
    assert 401 not in told[:2] and told[2] == 401


async def silent_connection_ends(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    async with asyncio.timeout(5.0):
        ended = await reader.read() == b""
    writer.close()
    return ended


def test_connections_that_say_nothing_are_cut_at_a_door_without_a_token(monkeypatch):
    monkeypatch.setattr(probes, "IDLE_S", 0.05)

    async def scene():
        app = probes.make_probes(lambda: (), CollectorRegistry())
        runner, port = await probes.serve_probes(app, "127.0.0.1:0")
        told = await silent_connection_ends("127.0.0.1", port)
        await runner.cleanup()
        return told

    assert asyncio.run(scene())


def test_so_are_they_at_the_worker_s_doors(monkeypatch):
    monkeypatch.setattr(server, "IDLE_S", 0.05)
    monkeypatch.setattr(Worker, "load", lambda self: None)
    ports, apps, make = [], [], server.make_worker
    monkeypatch.setattr(server, "make_worker", lambda told: apps.append(make(told)) or apps[0])

    async def noted(runner, host, port, *, key):
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        ports.append(runner.addresses[0][1])

    monkeypatch.setattr(server, "_listen", noted)

    async def scene():
        serving_task = asyncio.create_task(
            server._serve(WorkerSettings(host="127.0.0.1", metrics_address=("127.0.0.1", 0)))
        )
        while len(ports) < 2:
            await asyncio.sleep(0.001)
        told = [await silent_connection_ends("127.0.0.1", port) for port in ports]
        apps[0][server.WORKER].stop.set()
        await serving_task
        return told

    assert asyncio.run(scene()) == [True, True]
