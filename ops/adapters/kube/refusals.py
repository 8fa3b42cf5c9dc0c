"""What a server's refusal means, in three parts: what was asked, what was said, what to do."""

from __future__ import annotations

import re
from typing import Any

import orjson
import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as HttpTimeout

from ops.adapters.kube.rights import Right
from ops.errors import KubeError

_BODY_BYTES_MAX = 1 << 16
_POOL = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")
_RETRY_AFTER_S_MAX = 600.0
_MESSAGE_CHARS_MAX = 400
# The server's words where a right is there and admission refuses all the same: policies, webhooks,
# namespaces that end, quotas. Its authorizers say: User "..." cannot ...
_ADMISSION = ("denied request", "denied the request", "being terminated", "exceeded quota")
_NEXT = {
    400: "the request is malformed: check its parameters",
    401: "the token is not accepted: check that it belongs to this cluster and has not expired",
    403: "a rule of the cluster refuses it, no right is missing: the message names the rule",
    404: "check that the object exists and that its kind is installed",
    409: "somebody else changed or created it: read it again and repeat",
    410: "the version asked for is too old: list again",
    413: "the object is too large: shorten it",
    422: "the object does not fit its schema: correct the fields named",
    429: "the server is busy: wait and repeat",
}


def refusal(asked: str, response: urllib3.BaseHTTPResponse, right: Right) -> KubeError:
    """The error for an answer with a bad status; takes the body and frees the connection."""
    try:
        body = response.read(_BODY_BYTES_MAX)
    except HTTPError:
        body = b""
    finally:
        response.close()
    told = _status_object(body)
    reason = str(told.get("reason") or response.reason or "")
    message = str(told.get("message") or body[:_MESSAGE_CHARS_MAX].decode(errors="replace")).strip()
    if response.status == 403 and not by_admission(message):
        step = f"grant: {right}" if right.resource else "grant the path as a nonResourceURL"
    else:
        step = _NEXT.get(
            response.status,
            "wait and repeat; the server's log says more" if response.status >= 500 else "",
        )
    return KubeError(
        f"{asked}: {response.status} {reason}: {message[:_MESSAGE_CHARS_MAX]}; {step}".rstrip("; "),
        status=response.status,
        reason=reason,
        retry_after_s=_retry_after_s(response, told),
        causes=_causes(told),
    )


def by_admission(message: str) -> bool:
    """Whether a 403 is a rule's refusal: the same request with more rights would be refused too."""
    return any(words in message for words in _ADMISSION)


def no_answer(asked: str, host: str, error: Exception) -> KubeError:
    """The error for a call that no answer came to."""
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    text = str(getattr(cause, "reason", None) or cause).replace("\n", " ")
    text = _POOL.sub("", text)  # the address is told anyway
    if isinstance(cause, NewConnectionError):
        reason, step = "Unreachable", "check the address and that the server runs"
    elif isinstance(cause, HttpTimeout):
        reason, step = "Timeout", "the server is slow or gone: repeat, or allow more time"
    elif isinstance(cause, SSLError) or "SSL" in text or "certificate" in text:
        reason, step = "Tls", "check the certificate authority of the configuration"
    else:
        reason, step = "Dropped", "the connection broke: repeat"
    return KubeError(
        f"{asked} at {host}: no answer ({text[:_MESSAGE_CHARS_MAX]}); {step}", reason=reason
    )


def error_of_status(asked: str, status: dict[str, Any]) -> KubeError:
    """The error for a `Status` object that arrived inside a watch."""
    code = status.get("code")
    return KubeError(
        f"{asked}: {code} {status.get('reason', '')}: "
        f"{str(status.get('message', ''))[:_MESSAGE_CHARS_MAX]}",
        status=code if isinstance(code, int) else 0,
        reason=str(status.get("reason") or ""),
        retry_after_s=_seconds((status.get("details") or {}).get("retryAfterSeconds")),
    )


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _causes(told: dict[str, Any]) -> frozenset[str]:
    details = told.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    if not isinstance(causes, list):
        return frozenset()
    return frozenset(str(one.get("reason", "")) for one in causes if isinstance(one, dict))


def _retry_after_s(response: urllib3.BaseHTTPResponse, told: dict[str, Any]) -> float | None:
    said = _seconds(response.headers.get("Retry-After"))
    details = told.get("details")
    if said is None and isinstance(details, dict):
        said = _seconds(details.get("retryAfterSeconds"))
    return said


def _seconds(value: object) -> float | None:
    """Seconds of a header or field; a date or nonsense counts as not said."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return min(seconds, _RETRY_AFTER_S_MAX) if seconds > 0.0 else None
