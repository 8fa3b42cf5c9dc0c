"""What the API server says to a recommended action.

The exact request is sent with dryRun=All: admission, quotas, budgets and rights answer as they
would, and nothing is stored. It is made only for a fleet of mode Recommend that is not frozen, and
only after the Incident itself is written. Asking may take long, so it runs beside the steps, each
of which takes in what was answered since the last one: a late answer keeps nothing waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ops.adapters.kube.api import KubeApi, PatchKind
from ops.clock import Deadline
from ops.controller.fleet.api_request import ApiRequest, Verb, request_of
from ops.controller.fleet.rollback import read_rollback
from ops.controller.resources.fleet import FleetSpec, Mode
from ops.errors import KubeError, OpsError
from ops.proposals import is_allowed
from ops.state import Action, ActionKind, Decision, Snapshot

logger = logging.getLogger(__name__)
ALL_DRY = {"dryRun": "All"}
DRY_RUN_S = 3.0  # of one answer: admission webhooks of others may hang
ASK_S = 10.0  # of one fleet before the next one's turn; what is asked then is still waited for
BODY_BYTES_MAX, ANSWER_CHARS_MAX = 4096, 1024
THROTTLED = 429
BUDGET = "DisruptionBudget"  # the cause that a 429 of an eviction names; a throttle names none
# Source: the StatusReasons of apimachinery's meta/v1; any other word is somebody's own.
REASONS = frozenset(
    {"AlreadyExists", "BadRequest", "Conflict", "Expired", "Forbidden", "Gone", "InternalError",
     "Invalid", "MethodNotAllowed", "NotAcceptable", "NotFound", "RequestEntityTooLarge",
     "ServerTimeout", "ServiceUnavailable", "Timeout", "TooManyRequests", "Unauthorized",
     "UnsupportedMediaType"}
)  # fmt: skip
WAITING_MAX = 32  # actions of one fleet that wait for an answer; the oldest are given up
TRIES_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """What a status shows beside an action."""

    request: str = ""
    patch: str = ""
    dry_run: str = ""

    def details(self) -> Mapping[str, str]:
        """As details of a decision."""
        return {"request": self.request, "patch": self.patch, "dry_run": self.dry_run}


@dataclass(slots=True, eq=False)
class _Waiting:
    decision: Decision
    tries: int = 0
    found: Recommended | None = None


class Recommender:
    """Allowed actions of one fleet that wait for the server's word.

    `ask` runs beside any other call, all others in one thread at a time. Nothing is locked: only
    `ask` changes what it was offered, and `take` looks at each once.
    """

    def __init__(self, api: KubeApi, *, namespace: str) -> None:
        """Start with none."""
        self._api, self._namespace = api, namespace
        self._waiting: list[_Waiting] = []
        self._offered: tuple[Snapshot, tuple[_Waiting, ...]] | None = None

    @property
    def num_waiting(self) -> int:
        """Actions without an answer."""
        return len(self._waiting)

    @property
    def offered(self) -> bool:
        """Whether there is something to ask."""
        return self._offered is not None

    def note(self, decisions: Sequence[Decision], spec: FleetSpec) -> None:
        """Want an answer for what the guard allows, where the mode wants it.

        What waits is dropped where the mode or a freeze forbids it now.
        """
        if spec.mode not in (Mode.RECOMMEND, Mode.ACT) or spec.frozen:
            self._waiting.clear()
            return
        self._waiting += [_Waiting(one) for one in decisions if is_allowed(one)]
        del self._waiting[:-WAITING_MAX]

    def offer(self, snapshot: Snapshot, *, ready: Callable[[str], bool]) -> None:
        """Let `ask` ask for what waits, unless it is asking already.

        Args:
            ready: whether the record of an incident is on the server.
        """
        asked = tuple(
            one for one in self._waiting if one.found is None and ready(one.decision.incident_id)
        )
        if asked and self._offered is None:
            self._offered = (snapshot, asked)

    def ask(self) -> None:
        """Ask the server; what it does not answer, and what is behind that, is left for later."""
        if self._offered is None:
            return
        snapshot, asked = self._offered
        deadline = Deadline.after(ASK_S)
        try:
            for one in asked:
                if one not in self._waiting:
                    continue  # forbidden meanwhile
                if deadline.left_s() == 0.0 or not self._answered(one, snapshot):
                    return
        finally:
            self._offered = None

    def _answered(self, one: _Waiting, snapshot: Snapshot) -> bool:
        action = one.decision.action
        assert action is not None
        one.tries += 1
        try:
            one.found = recommended(self._api, action, snapshot, namespace=self._namespace)
        except Exception as error:  # the top of one question
            expected = isinstance(error, OpsError)
            logger.warning(
                "no dry run action=%s target=%s: %s", action.kind, action.target, error,
                exc_info=None if expected else error,
            )  # fmt: skip
            if one.tries >= TRIES_MAX:  # the words of a fault may be those of a secret
                why = str(error) if expected else f"{type(error).__name__}, a fault of the operator"
                one.found = Recommended(dry_run=f"no answer: {why}"[:ANSWER_CHARS_MAX])
            return False
        return True

    def take(self) -> list[Decision]:
        """The decisions that were answered, with the answer in their details."""
        answered, left = [], []
        for one in self._waiting:
            found = one.found
            if found is None:
                left.append(one)
            else:
                details = {**one.decision.details, **found.details()}
                answered.append(replace(one.decision, details=details))
        self._waiting = left
        return answered


def recommended(api: KubeApi, action: Action, snapshot: Snapshot, *, namespace: str) -> Recommended:
    """The request of an action with the server's answer to its dry run.

    Raises:
        KubeError: no answer came at all.
    """
    try:
        request = _request(api, action, snapshot, namespace)
    except KubeError as error:
        if _no_answer(error):
            raise
        return Recommended(dry_run=f"no request: {error}"[:ANSWER_CHARS_MAX])
    if isinstance(request, str):
        return Recommended(dry_run=f"no request: {request}"[:ANSWER_CHARS_MAX])
    answer, text = dry_run(api, request), request.text
    if len(text.encode()) > BODY_BYTES_MAX:  # exact or absent, never cut
        answer += f"; its body of {len(text.encode())} bytes is too long to be shown"
        text = ""
    answer += f"; {request.hint}" if request.hint else ""
    return Recommended(request=str(request), patch=text, dry_run=answer[:ANSWER_CHARS_MAX])


def _request(api: KubeApi, action: Action, snapshot: Snapshot, namespace: str) -> ApiRequest | str:
    if action.kind is not ActionKind.ROLLBACK:
        return request_of(action, snapshot, namespace=namespace)
    revision = str(action.params.get("to_revision", ""))
    return read_rollback(api, namespace=namespace, name=action.target.name, to_revision=revision)


def dry_run(api: KubeApi, request: ApiRequest) -> str:
    """What the server says; a refusal is an answer, too.

    Raises:
        KubeError: no answer came at all.
    """
    try:
        _send(api, request)
    except KubeError as error:
        told = _discreet(error, request)
        if _no_answer(error):
            raise told from None  # what was sent stands in no traceback either
        return f"refused: {told}"
    return f"accepted: the server would {request.would}"


def _send(api: KubeApi, request: ApiRequest) -> None:
    path, body = request.path, request.body
    if request.verb is Verb.PATCH:
        api.patch(path, body, kind=PatchKind.JSON, params=ALL_DRY, timeout_s=DRY_RUN_S)
    else:
        api.create(path, body, params=ALL_DRY, timeout_s=DRY_RUN_S)


def _no_answer(error: KubeError) -> bool:
    """Whether the server said nothing of the action itself: silence, or trouble of its own.

    Source: the eviction API answers 429 where a disruption budget forbids it, and names the cause;
    a server that is busy answers 429 to anything, without one.
    """
    throttled = error.status == THROTTLED and BUDGET not in error.causes
    return error.status == 0 or error.status >= 500 or throttled


def _discreet(error: KubeError, request: ApiRequest) -> KubeError:
    """The error without the server's words, where these may repeat what is withheld.

    Filtering them would not do: they come cut, escaped, or in the words of somebody's webhook,
    which may choose the reason, too.
    """
    if request.shown is None:
        return error
    said = [str(error.status)] * (error.status > 0)
    said += [error.reason] * (not error.status or error.reason in REASONS)  # ours where none came
    return KubeError(
        f"{' '.join(said)} (the server's words may repeat a secret; to read them: {request.words})",
        status=error.status,
        retry_after_s=error.retry_after_s,
        causes=error.causes,
    )
