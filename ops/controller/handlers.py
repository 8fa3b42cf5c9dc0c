"""kopf at our service: it watches our kinds and nothing else, and writes nothing.

Only handlers of events are registered: for any other sort kopf keeps annotations or finalizers on
the objects. It neither posts Events nor scans for other resources. Leading is our own affair
(`ops.controller.leading.lease`): kopf's peering freezes two equal peers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import kopf
from kopf._core.engines.peering import Identity  # not exported, though spawn_tasks takes one

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.connect import Login
from ops.controller.resources.fields import GROUP, VERSION
from ops.errors import KubeError

logger = logging.getLogger(__name__)
SERVER_S = 20  # of one watch, whole seconds: it is sent to the server
SILENT_S = 30.0  # then it should have ended: the connection is half-open
CLIENT_S, CONNECT_S, REQUEST_S = 40.0, 5.0, 20.0
DISCOVERY_RETRY_S = 2.0
NOT_FOUND = 404
KOPF_CLIENTS = "kopf._cogs.clients"  # loggers that count failed requests, nine lines each

# kind in plural, "DELETED" or another type of event, the object
OnEvent = Callable[[str, str, Mapping[str, Any]], None]


def make_registry(
    login: Callable[[], Login], on_event: OnEvent, *, plurals: tuple[str, ...]
) -> kopf.OperatorRegistry:
    """What kopf calls: our login, and one handler for the events of each kind."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry, errors=kopf.ErrorsMode.TEMPORARY)
    async def _login(**_: Any) -> kopf.ConnectionInfo:
        found = await asyncio.to_thread(login)
        return kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_file,
            certificate_path=found.cert_file,
            private_key_path=found.key_file,
            scheme="Bearer" if found.token else None,
            token=found.token,
            insecure=not found.verify,
        )

    for plural in plurals:

        @kopf.on.event(GROUP, VERSION, plural, registry=registry)
        async def _event(
            type: str | None,  # noqa: A002  kopf's name
            body: Mapping[str, Any],
            _plural: str = plural,
            **_: Any,
        ) -> None:
            on_event(_plural, type or "LISTED", body)

    return registry


def kopf_settings() -> kopf.OperatorSettings:
    """Time limits everywhere, and nothing that writes."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = SERVER_S
    settings.watching.inactivity_timeout = SILENT_S
    settings.watching.client_timeout = CLIENT_S
    settings.watching.connect_timeout = CONNECT_S
    settings.networking.request_timeout = REQUEST_S
    settings.networking.connect_timeout = CONNECT_S
    return settings


async def kinds_served(api: KubeApi, *, plurals: tuple[str, ...]) -> None:
    """Wait until the server knows our kinds: they may come after the operator, or go before it."""
    told = False
    while True:
        missing = True
        try:
            found = await asyncio.to_thread(api.get, f"/apis/{GROUP}/{VERSION}")
            if set(plurals) <= {item.get("name") for item in found.get("resources", ())}:
                return
        except KubeError as error:
            missing = error.status == NOT_FOUND  # a server that fails says nothing of its kinds
            if error.status not in (0, NOT_FOUND, 429, 500, 503):
                logger.warning("discovery error=%r", str(error))
        if missing and not told:
            told = True
            logger.warning(
                "the kinds of %s/%s are not installed: nothing is watched; kubectl apply "
                "manifests/base/crds, or remove the operator too", GROUP, VERSION,
            )  # fmt: skip
        await asyncio.sleep(DISCOVERY_RETRY_S)


class KopfTrouble(logging.Handler):
    """Takes what kopf logs, the only place where it tells of its trouble.

    An error of the server or of the way to it is kept from the log: the same try with our own
    client names it in a line, where kopf shows a traceback for each kind. All else passes.
    """

    def __init__(self, noticed: Callable[[], object]) -> None:
        super().__init__(level=logging.NOTSET)
        self._noticed = noticed

    def emit(self, record: logging.LogRecord) -> None:
        """Notice that something is wrong; what it is, a try of our own tells better."""
        if record.levelno >= logging.ERROR:
            self._noticed()
        error = record.exc_info[1] if record.exc_info else None
        told = record.name.startswith(KOPF_CLIENTS) if error is None else _of_the_server(error)
        if not told:
            logging.getLogger().handle(record)

    def __enter__(self) -> KopfTrouble:
        kopfs = logging.getLogger("kopf")
        kopfs.addHandler(self)
        kopfs.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        kopfs = logging.getLogger("kopf")
        kopfs.removeHandler(self)
        kopfs.propagate = True


def _of_the_server(error: BaseException) -> bool:
    """Whether the server said so, or the way to it; kopf's own errors have no public names."""
    of_kopf = type(error).__module__.partition(".")[0] == kopf.__name__
    return of_kopf or isinstance(error, aiohttp.ClientError | OSError)


def try_watching(api: KubeApi, plurals: tuple[str, ...]) -> tuple[KubeError, ...]:
    """Ask what kopf asks: a refused right is then known to `api` by its name.

    Returns:
        Why kinds cannot be watched, empty where all can be.
    """
    trouble = []
    for plural in plurals:
        path = f"/apis/{GROUP}/{VERSION}/{plural}"
        try:
            api.get(path, params={"limit": 1})
            api.watch(path, params={"timeoutSeconds": 1}, read_timeout_s=5.0).close()
        except KubeError as error:
            trouble.append(error)
    return tuple(trouble)


async def watch_kinds(
    api: KubeApi,
    on_event: OnEvent,
    *,
    plurals: tuple[str, ...],
    stop: asyncio.Event,
    catch_signals: Callable[[], None] = lambda: None,
) -> None:
    """Call `on_event` for each object that is there and for each change, until `stop`.

    Args:
        catch_signals: puts the caller's signal handlers back in place of kopf's, which would end
            the watch and not the process.
    """
    existing = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=make_registry(api.login, on_event, plurals=plurals),
        settings=kopf_settings(),
        standalone=True,
        clusterwide=True,
        stop_flag=stop,
        # Only its peering uses it. Else kopf asks for the user's name: the image's has none.
        identity=Identity("midwatch"),
    )
    catch_signals()
    await kopf.run_tasks(tasks, ignored=existing)
