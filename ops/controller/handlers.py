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

import kopf

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.connect import Login
from ops.controller.resources.fields import GROUP, VERSION
from ops.errors import KubeError

logger = logging.getLogger(__name__)
SERVER_S = 240  # whole seconds: it is sent to the server
CLIENT_S, CONNECT_S, REQUEST_S = 300.0, 5.0, 20.0
DISCOVERY_RETRY_S = 2.0

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
    settings.watching.client_timeout = CLIENT_S
    settings.watching.connect_timeout = CONNECT_S
    settings.networking.request_timeout = REQUEST_S
    settings.networking.connect_timeout = CONNECT_S
    return settings


async def kinds_served(api: KubeApi, *, plurals: tuple[str, ...]) -> None:
    """Wait until the server knows our kinds: the operator may start before its definitions."""
    told = False
    while True:
        try:
            found = await asyncio.to_thread(api.get, f"/apis/{GROUP}/{VERSION}")
            names = {item.get("name") for item in found.get("resources", ())}
            if set(plurals) <= names:
                return
        except KubeError as error:
            if error.status not in (0, 404, 429, 500, 503):
                logger.warning("discovery error=%r", str(error))
        if not told:
            told = True
            logger.info("waiting for the kinds of %s/%s; apply manifests/base/crds", GROUP, VERSION)
        await asyncio.sleep(DISCOVERY_RETRY_S)


class KopfTrouble(logging.Handler):
    """Notices that kopf is in trouble: it tells so in its log and nowhere else."""

    def __init__(self, noticed: Callable[[], object]) -> None:
        super().__init__(level=logging.ERROR)
        self._noticed = noticed

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """Say that something is wrong; what it is, a try of our own tells better."""
        self._noticed()

    def __enter__(self) -> KopfTrouble:
        logging.getLogger("kopf").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kopf").removeHandler(self)


def try_watching(api: KubeApi, plurals: tuple[str, ...]) -> str:
    """Ask what kopf asks: a refused right is then known to `api` by its name.

    Returns:
        Why a kind cannot be watched, empty where all can be.
    """
    trouble = []
    for plural in plurals:
        path = f"/apis/{GROUP}/{VERSION}/{plural}"
        try:
            api.get(path, params={"limit": 1})
            api.watch(path, params={"timeoutSeconds": 1}, read_timeout_s=5.0).close()
        except KubeError as error:
            trouble.append(str(error))
    return "; ".join(trouble)


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
    )
    catch_signals()
    await kopf.run_tasks(tasks, ignored=existing)
