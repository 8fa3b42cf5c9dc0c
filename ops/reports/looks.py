"""Commands that show more of a cause and change nothing: entity kind x resource class."""

from __future__ import annotations

from ops.reports import words
from ops.reports.parts import Command
from ops.reports.place import Place
from ops.reports.queries import Period
from ops.staleness import EVERY_REGION
from rca.state import Entity, EntityKind, RankedCause, ResourceClass

_USED_UP = frozenset({ResourceClass.CPU, ResourceClass.MEMORY})
_CHANGED = frozenset({ResourceClass.CONFIG_CHANGE, ResourceClass.POOL, ResourceClass.UNKNOWN})


def look(cause: RankedCause, *, entity: Entity | None = None) -> tuple[Command, ...]:
    """Where a person looks first.

    Pods are asked for by the label of their service, because a pod that was named may be gone.

    Args:
        entity: looked at in place of the cause's entity.
    """
    entity = cause.entity if entity is None else entity
    texts = _texts(entity, cause)
    context = f"kubectl --context {entity.region}"
    return tuple(Command(label="Look", text=f"{context} {text}") for text in texts)


def look_at_job(job: Entity, query: str) -> tuple[Command, ...]:
    """Where a person looks at a scrape job that is or was silent: pods keep their last restart.

    Args:
        query: of the reading that tells whether its targets answer.
    """
    context = "" if job.region == EVERY_REGION else f" --context {job.region}"
    pods = f"kubectl{context} describe pods -A -l app={job.name}"
    return (Command(label="Query", text=query), Command(label="Look", text=pods))


def _texts(entity: Entity, cause: RankedCause) -> tuple[str, ...]:
    match entity.kind:
        case EntityKind.POD:
            service = _service_on(cause.path)
            if service is None:
                return (f"get events --field-selector involvedObject.name={entity.name}",)
            return _of_service(service.name, cause.resource_class)
        case EntityKind.SERVICE:
            if cause.resource_class in _CHANGED:
                return (f"rollout history deployment/{entity.name}",)
            return _of_service(entity.name, cause.resource_class)
        case EntityKind.NODE:
            top = (f"top node {entity.name}",) if cause.resource_class in _USED_UP else ()
            return (*top, f"describe node {entity.name}")
        case EntityKind.LINK:
            caller, _, callee = entity.name.partition("->")
            timed = "curl -s -o /dev/null -w %{time_total}"
            return (
                f"exec deployment/{caller} -- {timed} http://{callee}",
                "get events -A --field-selector type=Warning",
            )
        case EntityKind.WORKLOAD:
            entry = _entry_on(cause.path)
            logs = (f"logs -l app={entry.name} --since=30m --prefix",) if entry else ()
            return (*logs, "get hpa")
        case EntityKind.REGISTRY:
            return ("get events --field-selector reason=Pulling",)
        case _:
            return (f"get pods -A -l app={entity.name}",)


def _of_service(name: str, resource: ResourceClass) -> tuple[str, ...]:
    if resource in _USED_UP:
        return (
            f"top pod -l app={name}",
            f"describe deployment/{name}",
        )
    if resource is ResourceClass.CODE:
        return (f"logs -l app={name} --since=30m --prefix",)
    return (f"describe pods -l app={name}",)


def _service_on(path: tuple[str, ...]) -> Entity | None:
    """The service that is first on the way from the cause to the users."""
    return next((e for e in map(Entity.parse, path) if e.kind is EntityKind.SERVICE), None)


def _entry_on(path: tuple[str, ...]) -> Entity | None:
    """The service that is last on the way: the users' door."""
    return _service_on(tuple(reversed(path)))


def look_back(
    cause: RankedCause,
    *,
    place: Place,
    period: Period,
    query: str,
    gone: bool,
    changed: bool,
    restarted: bool = False,
) -> tuple[Command, ...]:
    """Where a person looks when it is over: every command tells the same hours later.

    Args:
        query: shows the cause over the period; empty = nothing of it is measured.
        gone: the accused pod was removed, so that only its place can be looked at.
        changed: a change of the accused service was rolled back.
        restarted: a container of the accused pod was: what it said before lies in another log.
    """
    texts = _texts_back(cause, place, period, gone=gone, changed=changed, restarted=restarted)
    context = f"kubectl --context {cause.entity.region}"
    looks = tuple(Command(label="Look", text=f"{context} {text}") for text in texts)
    return (*((Command(label="Query", text=query),) if query else ()), *looks)


def _texts_back(
    cause: RankedCause,
    place: Place,
    period: Period,
    *,
    gone: bool,
    changed: bool,
    restarted: bool,
) -> tuple[str, ...]:
    entity = cause.entity
    service = _service_on(cause.path) if entity.kind is EntityKind.POD else entity
    since = words.iso(period.from_s, period.clock)
    if changed and service is not None:
        return (f"rollout history deployment/{service.name}",)
    match entity.kind:
        case EntityKind.POD:
            node = (f"describe node {place.node}",) if place.node else ()
            lines = "--previous" if restarted else f"--since-time={since} --tail=-1"
            return node if gone else (f"logs {entity.name} {lines}", *node)
        case EntityKind.SERVICE:
            if cause.resource_class in _CHANGED:
                return (f"rollout history deployment/{entity.name}",)
            return (_logs(entity.name, since),)
        case EntityKind.NODE:
            return (f"describe node {entity.name}",)
        case EntityKind.LINK:
            caller, _, callee = entity.name.partition("->")
            return (f"get pods -l 'app in ({caller}, {callee})' -o wide",)
        case EntityKind.WORKLOAD:
            entry = _entry_on(cause.path)
            return (_logs(entry.name, since),) if entry else ()
        case EntityKind.REGISTRY:
            return ()
        case _:
            return (f"describe pods -A -l app={entity.name}",)


def _logs(name: str, since: str) -> str:
    return f"logs -l app={name} --since-time={since} --tail=-1 --prefix"
