"""Which Fleets there are: what a watch does not tell, a list does; trouble is told in one line."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import aiohttp
import orjson
import pytest

from ops.adapters.kube.view import STALE_S
from ops.controller import handlers, own_kinds
from ops.controller.fleet.table import FleetTable
from ops.controller.handlers import KopfTrouble, kopf_settings
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.own_kinds import OwnKinds
from ops.errors import KubeError


def fleet(name, uid=None):
    meta = {"namespace": "shop", "name": name, "uid": uid or f"uid-{name}", "generation": 1}
    return {"metadata": meta, "spec": {}}


class Server:
    """Lists what it holds; `meanwhile` happens while a list is on its way."""

    def __init__(self, *fleets):
        self.fleets, self.lists, self.error, self.installed = list(fleets), 0, None, True
        self.meanwhile = lambda: None

    def get(self, path, **_):
        if not self.installed:
            raise KubeError(f"GET {path}: 404", status=404)
        return {"resources": [{"name": "fleets"}, {"name": "replays"}]}

    def pages(self, path, params=None):
        self.lists += 1
        if self.error is not None:
            raise self.error
        page = orjson.dumps({"items": self.fleets})
        self.meanwhile()
        yield page


class Loop:
    def __init__(self):
        self.work = SimpleNamespace(num_open=0, num_series=0)

    async def run(self):
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("LIST_RETRY_S", "DOUBT_S", "WATCH_LOOK_S"):
        monkeypatch.setattr(own_kinds, name, 0.001)
    monkeypatch.setattr(handlers, "DISCOVERY_RETRY_S", 0.001)


def play(server, scenario, monkeypatch, watch=None):
    async def never_told(api, on_event, *, plurals, stop, catch_signals):
        await stop.wait()

    monkeypatch.setattr(own_kinds, "watch_kinds", watch or never_told)

    async def main():
        table, stop = FleetTable(lambda _: Loop()), asyncio.Event()
        kinds = OwnKinds(server, table, SimpleNamespace(), OperatorMetrics())
        task = asyncio.create_task(kinds.run(stop, catch_signals=lambda: None))
        try:
            async with asyncio.timeout(30.0):
                await scenario(kinds, table)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await table.stop()

    asyncio.run(main())


async def until(check):
    while not check():
        await asyncio.sleep(0.001)


def names(table):
    return {entry.fleet.name for entry in table._entries.values()}


def test_a_fleet_that_a_server_does_not_know_goes_when_the_list_agrees(monkeypatch):
    server = Server(fleet("chat"), fleet("code"))

    async def scenario(kinds, table):
        await until(lambda: len(table) == 2)
        server.fleets = [fleet("chat")]  # kopf tells nothing of it after a new list
        kinds.doubt()
        await until(lambda: names(table) == {"chat"})

    play(server, scenario, monkeypatch)


def test_a_server_that_only_errs_takes_no_fleet_away(monkeypatch):
    server = Server(fleet("chat"))

    async def scenario(kinds, table):
        await until(lambda: len(table) == 1)
        server.error, before = KubeError("404", status=404), server.lists
        kinds.doubt()
        await until(lambda: server.lists > before and kinds.trouble)
        assert names(table) == {"chat"}

    play(server, scenario, monkeypatch)


def test_lists_are_compared_now_and_then_without_any_doubt(monkeypatch):
    monkeypatch.setattr(own_kinds, "COMPARE_S", 0.01)
    server = Server(fleet("chat"))

    async def scenario(kinds, table):
        await until(lambda: len(table) == 1)
        server.fleets = [fleet("code")]
        await until(lambda: names(table) == {"code"})

    play(server, scenario, monkeypatch)


def test_a_fault_of_ours_ends_no_comparison(monkeypatch, caplog):
    server, faults = Server(fleet("chat")), [ValueError("of ours")]

    async def scenario(kinds, table):
        await until(lambda: len(table) == 1)
        sync = table.sync

        def faulty(bodies, **among):
            if faults:
                raise faults.pop()
            sync(bodies, **among)

        table.sync, server.fleets = faulty, []
        kinds.doubt()
        await until(lambda: not faults)
        kinds.doubt()
        await until(lambda: not len(table))

    play(server, scenario, monkeypatch)
    assert "of ours" in caplog.text


def test_a_fault_of_ours_does_not_end_the_look_for_trouble(monkeypatch, caplog):
    server, tries = Server(fleet("chat")), []

    def look(*_):
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("of ours")
        return (KubeError("403", status=403),)

    monkeypatch.setattr(own_kinds, "try_watching", look)

    async def watch(api, on_event, *, plurals, stop, catch_signals):
        logging.getLogger("kopf.x").error("in trouble")
        await stop.wait()

    async def scenario(kinds, table):
        await until(lambda: kinds.trouble)

    play(server, scenario, monkeypatch, watch=watch)
    assert "of ours" in caplog.text


def test_a_fleet_that_came_while_the_list_was_made_stays(monkeypatch):
    server = Server(fleet("chat"))

    async def scenario(kinds, table):
        await until(lambda: len(table) == 1)
        loop = asyncio.get_running_loop()

        def comes():
            asyncio.run_coroutine_threadsafe(put(), loop).result()

        async def put():
            table.put(fleet("new"))

        server.meanwhile = comes
        before = server.lists
        kinds.doubt()
        await until(lambda: server.lists > before)
        await asyncio.sleep(0.01)
        assert names(table) == {"chat", "new"}

    play(server, scenario, monkeypatch)


def test_kinds_that_are_gone_are_one_line(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    server = Server(fleet("chat"))

    class NotFoundError(Exception):
        status = 404

    async def watch(api, on_event, *, plurals, stop, catch_signals):
        await until(lambda: not server.installed)
        raise NotFoundError

    async def scenario(kinds, table):
        await until(lambda: len(table) == 1)
        caplog.clear()
        server.installed = False
        await until(lambda: caplog.records)
        await asyncio.sleep(0.01)
        (line,) = caplog.records
        assert "not installed" in line.getMessage() and line.exc_info is None
        server.installed = True

    play(server, scenario, monkeypatch, watch=watch)


def test_trouble_of_a_watch_that_ended_is_looked_at_again(monkeypatch):
    monkeypatch.setattr(own_kinds, "WATCH_LOOK_S", 60.0)
    server, looks, told = Server(fleet("chat")), [(), (KubeError("403", status=403),)], []
    monkeypatch.setattr(own_kinds, "try_watching", lambda *_: looks.pop())

    async def watch(api, on_event, *, plurals, stop, catch_signals):
        if told:
            await stop.wait()
        told.append(1)
        logging.getLogger("kopf.x").error("in trouble")
        await until(lambda: len(looks) == 1)
        await asyncio.sleep(0.01)
        raise OSError

    async def scenario(kinds, table):
        await until(lambda: kinds.trouble)
        await until(lambda: not kinds.trouble)

    play(server, scenario, monkeypatch, watch=watch)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (aiohttp.ClientConnectionError("gone"), False),
        (TimeoutError(), False),
        (type("APIError", (Exception,), {"__module__": "kopf._cogs.clients.errors"})(), False),
        (ValueError("a fault of ours in a handler"), True),
    ],
)
def test_a_traceback_of_kopf_is_shown_where_it_is_a_fault_alone(caplog, error, shown):
    noticed = []
    with KopfTrouble(lambda: noticed.append(1)):
        try:
            raise error
        except Exception:
            logging.getLogger("kopf.reactor").exception("Watcher has failed")
        logging.getLogger("kopf._cogs.clients.watching").error("Request attempt #1/9 failed")
        logging.getLogger("kopf.reactor").warning("of another sort")
    logging.getLogger("kopf.reactor").error("afterwards as ever")
    assert noticed == [1, 1]
    assert "attempt" not in caplog.text and "of another sort" in caplog.text
    assert ["Watcher has failed" in r.getMessage() for r in caplog.records].count(True) == shown
    assert "afterwards as ever" in caplog.text


def test_a_half_open_watch_is_found_before_what_it_shows_counts_as_stale():
    watching = kopf_settings().watching
    assert watching.server_timeout < watching.inactivity_timeout < STALE_S
    assert watching.client_timeout < STALE_S


def test_a_user_without_a_name_can_watch_too(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 65532")

    async def end(tasks, *, ignored):
        for task in set(tasks) - set(ignored):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ended.extend(tasks)

    ended = []
    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr("kopf.run_tasks", end)
    api = SimpleNamespace(login=lambda: None)

    async def watch():
        stop = asyncio.Event()
        await handlers.watch_kinds(api, lambda *_: None, plurals=("fleets",), stop=stop)

    asyncio.run(watch())
    assert ended


def test_a_list_that_is_older_than_the_watch_changes_nothing_back(monkeypatch):
    server = Server(fleet("chat", "old"), fleet("code"))

    async def scenario(kinds, table):
        await until(lambda: len(table) == 2)

        def meanwhile():  # both are deleted, one is made again, while the list is on its way
            kinds._loop.call_soon_threadsafe(table.drop, fleet("chat", "old"))
            kinds._loop.call_soon_threadsafe(table.put, fleet("chat", "new"))
            kinds._loop.call_soon_threadsafe(table.drop, fleet("code"))

        server.meanwhile, before = meanwhile, server.lists
        kinds.doubt()
        await until(lambda: server.lists > before)
        server.meanwhile = lambda: None
        await asyncio.sleep(0.01)
        assert table.uids == {"new"}
        # One that came and went between two looks is in the list alone.
        table.sync([fleet("chat", "between")], among=frozenset())
        assert table.uids == {"new"}

    play(server, scenario, monkeypatch)
