"""Receiver of Alertmanager's webhook, version 4: an answer of 200 means that it is written.

POST /alerts with a bearer token. What is refused says why in JSON; what we cannot take now is
answered 503, never 429, which Alertmanager drops. A standby replica passes bodies on to the leader.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry

from ops.adapters.alertmanager import parse_alerts
from ops.clock import monotonic_s
from ops.controller.accepted_tokens import AcceptedTokens
from ops.controller.alerts.forward import FORWARDED, Forwarder, Leader
from ops.controller.alerts.gate import Gate, Limits, RefusedError, check_form, read_body
from ops.controller.alerts.inbox import Receipt
from ops.controller.alerts.metrics import WebhookMetrics
from ops.errors import AlertError, OpsError, OverloadedError, SettingsError
from ops.state import Alert

logger = logging.getLogger(__name__)
Accept = Callable[[tuple[Alert, ...]], Awaitable[Receipt]]
PATH = "/alerts"


def make_webhook(
    accept: Accept,
    *,
    token_file: Path,
    limits: Limits | None = None,
    leader: Leader | None = None,
    cert_file: Path | None = None,
    registry: CollectorRegistry | None = None,
) -> web.Application:
    """The receiver as an application; `webhook_server.serve` listens with its limits.

    Args:
        accept: returns once the alerts are written. It raises OverloadedError, or another OpsError
            where they could not be written: both are answered 503.
        token_file: the bearer token, read for each request.
        leader: who holds the Lease; None where there is one replica.
        cert_file: what the leader must show, where the receiver speaks TLS.
    """
    limits = limits or Limits()
    door = _Door(
        accept=accept,
        tokens=AcceptedTokens(token_file, now_s=monotonic_s),
        gate=Gate(limits),
        metrics=WebhookMetrics(registry or CollectorRegistry()),
        leader=leader or (lambda: None),
        forwarder=Forwarder(timeout_s=limits.accept_s, cert_file=cert_file),
    )
    # Our own limit is stricter than the framework's, and says why.
    app = web.Application(middlewares=[door.answer], client_max_size=0)
    app.router.add_post(PATH, door.post)
    app.on_cleanup.append(door.close)
    return app


class _Door:
    def __init__(
        self,
        *,
        accept: Accept,
        tokens: AcceptedTokens,
        gate: Gate,
        metrics: WebhookMetrics,
        leader: Leader,
        forwarder: Forwarder,
    ) -> None:
        self._accept, self._tokens, self._gate = accept, tokens, gate
        self._metrics, self._leader, self._forwarder = metrics, leader, forwarder
        self._token_fault = ""

    async def close(self, _: web.Application) -> None:
        await self._forwarder.close()

    @web.middleware
    async def answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Every request gets a JSON answer, and is counted."""
        began_s = monotonic_s()
        reason = "Ok"
        try:
            response = await handler(request)
            if response.status != 200:
                reason = "Forwarded"
        except RefusedError as error:
            reason, response = error.reason, _refusal(error)
        except web.HTTPException as error:  # 404, 405 of the router
            reason = error.reason.replace(" ", "")
            response = _refusal(
                RefusedError(
                    error.status, reason, request.path[:200], f"POST {PATH} is the only one"
                )
            )
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except Exception:  # the top of one request: it is counted, logged, answered
            logger.exception("notification failed")
            reason = "Internal"
            response = _refusal(
                RefusedError(500, reason, "", "this is a fault of the receiver; see its log")
            )
        self._metrics.answered(response.status, reason, monotonic_s() - began_s)
        return response

    async def post(self, request: web.Request) -> web.Response:
        self._check_token(request)
        limits = self._gate.limits
        check_form(request, body_bytes_max=limits.body_bytes_max)
        with self._gate.enter(request):
            self._metrics.held.set(self._gate.held_bytes)
            body = await read_body(
                request, body_bytes_max=limits.body_bytes_max, body_s=limits.body_s
            )
            leader = self._leader()
            if leader is not None:
                return await self._forward(request, leader, body)
            receipt = await self._write(_parsed(body, limits.body_bytes_max))
        self._metrics.held.set(self._gate.held_bytes)
        self._metrics.took(receipt)
        return web.json_response({"status": "ok", **asdict(receipt)})

    def _check_token(self, request: web.Request) -> None:
        try:
            good = self._tokens.accepts(request.headers.get("Authorization"))
        except SettingsError as error:
            # Our own fault, and it may pass: a 401 would make Alertmanager drop the alerts.
            if str(error) != self._token_fault:
                logger.error("no token to compare with: %s", error)
            self._token_fault = str(error)
            raise RefusedError(
                503, "NoToken", "", "the receiver has no token to compare with; see its log",
                retry_after_s=self._gate.limits.retry_after_s,
            ) from error  # fmt: skip
        if not good:
            raise RefusedError(
                401, "Unauthorized", "Authorization",
                "no bearer token, or not the one that is expected; set "
                "http_config.authorization.credentials_file in the receiver",
            )  # fmt: skip

    async def _forward(self, request: web.Request, leader: str, body: bytes) -> web.Response:
        if not leader or FORWARDED in request.headers:
            raise RefusedError(
                503, "Standby", "", "this replica does not lead, and knows no other that does; "
                "send it again", retry_after_s=2.0,
            )  # fmt: skip
        status, answer = await self._forwarder.send(
            leader, body, authorization=request.headers.get("Authorization", "")
        )
        return web.Response(status=status, body=answer, content_type="application/json")

    async def _write(self, alerts: tuple[Alert, ...]) -> Receipt:
        limits = self._gate.limits
        try:
            async with asyncio.timeout(limits.accept_s):
                return await self._accept(alerts)
        except TimeoutError as error:
            raise RefusedError(
                503, "NotWrittenInTime", "",
                f"{len(alerts)} alerts are not written after {limits.accept_s:g} s; "
                "send them again, none counts twice",
                retry_after_s=limits.retry_after_s,
            ) from error  # fmt: skip
        except OverloadedError as error:
            raise RefusedError(
                503, "Overloaded", "", str(error), retry_after_s=error.retry_after_s
            ) from error
        except OpsError as error:
            logger.warning("alerts not written: %s", error)
            raise RefusedError(
                503, "NotWritten", "", str(error), retry_after_s=limits.retry_after_s
            ) from error


def _parsed(body: bytes, body_bytes_max: int) -> tuple[Alert, ...]:
    try:
        return parse_alerts(body, body_bytes_max=body_bytes_max)
    except AlertError as error:
        path = error.faults[0][0] if error.faults else "body"
        raise RefusedError(400, "InvalidBody", path, str(error), faults=error.faults) from error


def _refusal(error: RefusedError) -> web.Response:
    body = {
        "status": "refused",
        "reason": error.reason,
        "path": error.path,
        "message": error.message,
        "faults": [{"path": path, "message": text} for path, text in error.faults],
    }
    response = web.Response(
        status=error.status, body=orjson.dumps(body), content_type="application/json"
    )
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="midwatch"'
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = f"{error.retry_after_s:.0f}"
    # What is left of a refused body is not worth waiting for.
    if error.status in (401, 413, 415, 503):
        response.force_close()
    return response
