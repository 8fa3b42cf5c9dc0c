"""Listens for the receiver, within its limits, with or without TLS."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ops.controller.alerts.gate import Limits
from ops.errors import SettingsError

logger = logging.getLogger(__name__)
# The framework logs a damaged request with its bytes, a token among them, at ERROR: whoever can
# reach the port could fill the log. The sender gets the reason; we note that it happened.
_requests = logging.getLogger(f"{__name__}.requests")
TLS_HANDSHAKE_S = 5.0
RELOAD_S = 30.0


class WebhookServer:
    """A listening receiver. `close` answers what is under way, then stops."""

    def __init__(self, runner: web.AppRunner, limits: Limits) -> None:
        self._runner, self._limits = runner, limits
        self._server: asyncio.Server | None = None
        self._reload: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, listen: str, *, cert_file: Path | None, key_file: Path | None) -> None:
        """Begin to listen at `host:port`; an empty host means every address.

        Raises:
            SettingsError: an address, a certificate or a key that cannot be used.
        """
        host, _, port = listen.rpartition(":")
        context = None if cert_file is None else _tls(cert_file, key_file)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._connection,
                host.strip("[]") or None,
                int(port),
                ssl=context,
                ssl_handshake_timeout=TLS_HANDSHAKE_S if context else None,
                backlog=64,
            )
        except (OSError, ValueError) as error:
            await self._runner.cleanup()
            raise SettingsError(
                f"webhook.listen {listen!r} cannot be used: {error}; give host:port"
            ) from error
        if context is not None and cert_file is not None:
            self._reload = asyncio.create_task(_keep_fresh(context, cert_file, key_file))

    async def close(self) -> None:
        """Stop listening, let the posts under way have their answers."""
        if self._reload is not None:
            self._reload.cancel()
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.Protocol:
        """One more connection; beyond the limit it is cut, and the sender tries again."""
        server = self._runner.server
        if server is None or len(server.connections) >= self._limits.connections_max:
            return _Cut()
        return server()


async def serve(
    app: web.Application,
    *,
    listen: str,
    limits: Limits | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
) -> WebhookServer:
    """Start the receiver made by `make_webhook`.

    Raises:
        SettingsError: an address, a certificate or a key that cannot be used.
    """
    limits = limits or Limits()
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_requests,
        auto_decompress=False,  # nothing compressed is read: no body can grow by itself
        keepalive_timeout=limits.idle_s,
        lingering_time=limits.linger_s,
        shutdown_timeout=limits.accept_s,
        handle_signals=False,
    )
    server = WebhookServer(runner, limits)
    await server.start(listen, cert_file=cert_file, key_file=key_file)
    return server


class _WithoutContent(logging.Filter):
    """Tells that a request was damaged, at DEBUG, and nothing of what it said."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = f"damaged request: {type(error).__name__}", ()
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
            return logger.isEnabledFor(logging.DEBUG)
        return True


_requests.addFilter(_WithoutContent())


class _Cut(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _tls(cert_file: Path, key_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"webhook.certFile {cert_file} with keyFile {key_file} cannot be used: {error}; "
            "mount a PEM certificate and its key"
        ) from error
    return context


async def _keep_fresh(context: ssl.SSLContext, cert_file: Path, key_file: Path | None) -> None:
    """Load a renewed certificate for later connections; the old one stays until one fits."""
    seen = _stamp(cert_file)
    while True:
        await asyncio.sleep(RELOAD_S)
        now = _stamp(cert_file)
        if now == seen:
            continue
        try:
            # First where it does no harm: a pair that does not fit would break the one in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
            context.load_cert_chain(cert_file, key_file)
            seen = now
        except (OSError, ssl.SSLError) as error:
            logger.error("the renewed certificate %s cannot be used: %s", cert_file, error)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
