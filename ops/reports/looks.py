"""Commands that show more of a cause and change nothing: entity kind x resource class."""

from __future__ import annotations

from ops.reports import words
from ops.reports.parts import Command
from ops.reports.place import Place
from ops.reports.queries import Period
from ops.reports.reach import ByName, Reach
from ops.staleness import EVERY_REGION
from rca.state import Entity, EntityKind, RankedCause, ResourceClass

_USED_UP = frozenset({ResourceClass.CPU, ResourceClass.MEMORY})
_CHANGED = frozenset({ResourceClass.CONFIG_CHANGE, ResourceClass.POOL, ResourceClass.UNKNOWN})
_BY_NAME = ByName()


def look(
    cause: RankedCause, *, entity: Entity | None = None, reach: Reach = _BY_NAME
) -> tuple[Command, ...]:
    """Where a person looks first.

    Args:
        entity: looked at in place of the cause's entity.
        reach: how what runs a service is found.
    """
    entity = cause.entity if entity is None else entity
    texts = _texts(entity, cause, reach)
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


def _texts(entity: Entity, cause: RankedCause, reach: Reach) -> tuple[str, ...]:
    match entity.kind:
        case EntityKind.POD:
            service = _service_on(cause.path)
            if service is None:
                return (f"get events --field-selector involvedObject.name={entity.name}",)
            return _of_service(service, cause.resource_class, reach)
        case EntityKind.SERVICE:
            if cause.resource_class in _CHANGED:
                return _history(entity, reach)
            return _of_service(entity, cause.resource_class, reach)
        case EntityKind.NODE:
            top = (f"top node {entity.name}",) if cause.resource_class in _USED_UP else ()
            return (*top, f"describe node {entity.name}")
        case EntityKind.LINK:
            caller, callee = _ends(entity)
            shell = reach.shell(caller)
            timed = "curl -s -o /dev/null -w %{time_total}"
            timing = (f"exec {shell} -- {timed} http://{callee.name}",) if shell else ()
            return (*timing, "get events -A --field-selector type=Warning")
        case EntityKind.WORKLOAD:
            entry = _entry_on(cause.path)
            return (*(_logs(entry, "--since=30m --prefix", reach) if entry else ()), "get hpa")
        case EntityKind.REGISTRY:
            return ("get events --field-selector reason=Pulling",)
        case _:
            return (f"get pods -A -l app={entity.name}",)


def _of_service(service: Entity, resource: ResourceClass, reach: Reach) -> tuple[str, ...]:
    if resource in _USED_UP:
        deployment = reach.deployment(service)
        top = tuple(f"top pod {one}" for one in reach.pods(service))
        return (*top, f"describe {deployment}" if deployment else _described(service, reach))
    if resource is ResourceClass.CODE:
        return _logs(service, "--since=30m --prefix", reach)
    return (_described(service, reach),)


def _described(service: Entity, reach: Reach) -> str:
    """Of all at once where they are named, by the first selector else; all pods where none is."""
    found = reach.pods(service)
    if not found:
        return "get pods -o wide"
    named = [one for one in found if not one.startswith("-")]
    return f"describe pods {' '.join(named) or found[0]}"


def _history(service: Entity, reach: Reach) -> tuple[str, ...]:
    """What was rolled out; where nothing keeps a history, what runs now."""
    deployment = reach.deployment(service)
    return (f"rollout history {deployment}" if deployment else _described(service, reach),)


def _logs(service: Entity, options: str, reach: Reach) -> tuple[str, ...]:
    return tuple(f"logs {one} {options}" for one in reach.pods(service))


def _ends(link: Entity) -> tuple[Entity, Entity]:
    caller, _, callee = link.name.partition("->")
    return (
        Entity(EntityKind.SERVICE, link.region, caller),
        Entity(EntityKind.SERVICE, link.region, callee),
    )


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
    reach: Reach = _BY_NAME,
) -> tuple[Command, ...]:
    """Where a person looks when it is over: every command tells the same hours later.

    Args:
        query: shows the cause over the period; empty = nothing of it is measured.
        gone: the accused pod was removed, so that only its place can be looked at.
        changed: a change of the accused service was rolled back.
        restarted: a container of the accused pod was: what it said before lies in another log.
        reach: how what runs a service is found.
    """
    service = _service_on(cause.path) if cause.entity.kind is EntityKind.POD else cause.entity
    if changed and service is not None:
        texts = _history(service, reach)
    elif cause.entity.kind is EntityKind.POD:
        texts = _back_at_pod(cause.entity, place, period, gone=gone, restarted=restarted)
    else:
        texts = _back_at(cause, period, reach)
    context = f"kubectl --context {cause.entity.region}"
    looks = tuple(Command(label="Look", text=f"{context} {text}") for text in texts)
    return (*((Command(label="Query", text=query),) if query else ()), *looks)


def _back_at_pod(
    pod: Entity, place: Place, period: Period, *, gone: bool, restarted: bool
) -> tuple[str, ...]:
    node = (f"describe node {place.node}",) if place.node else ()
    lines = "--previous" if restarted else f"--since-time={_since(period)} --tail=-1"
    return node if gone else (f"logs {pod.name} {lines}", *node)


def _back_at(cause: RankedCause, period: Period, reach: Reach) -> tuple[str, ...]:
    entity, lines = cause.entity, f"--since-time={_since(period)} --tail=-1 --prefix"
    match entity.kind:
        case EntityKind.SERVICE:
            if cause.resource_class in _CHANGED:
                return _history(entity, reach)
            return _logs(entity, lines, reach)
        case EntityKind.NODE:
            return (f"describe node {entity.name}",)
        case EntityKind.LINK:
            return _both_ends(entity, reach)
        case EntityKind.WORKLOAD:
            entry = _entry_on(cause.path)
            return _logs(entry, lines, reach) if entry else ()
        case EntityKind.REGISTRY:
            return ()
        case _:
            return (f"describe pods -A -l app={entity.name}",)


def _both_ends(link: Entity, reach: Reach) -> tuple[str, ...]:
    """Pods of both ends of a call, in one list where one label tells both."""
    found = [one for end in _ends(link) for one in reach.pods(end)]
    pairs = [one.removeprefix("-l ").partition("=") for one in found if one.startswith("-l ")]
    keys = {key for key, _, _ in pairs}
    if len(pairs) == len(found) and len(keys) == 1:
        return (f"get pods -l '{keys.pop()} in ({', '.join(v for _, _, v in pairs)})' -o wide",)
    named = [one for one in found if not one.startswith("-")]
    lists = [one for one in found if one.startswith("-")] + ([" ".join(named)] if named else [])
    return tuple(f"get pods {one} -o wide" for one in lists)


def _since(period: Period) -> str:
    return words.iso(period.from_s, period.clock)
