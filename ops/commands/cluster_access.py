"""What the commands of `kubectl midwatch` share: the user's cluster, its objects, plain errors."""

from __future__ import annotations

import difflib
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
import typer
from rich.console import Console
from rich.text import Text

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.paths import path_of
from ops.adapters.kube.user_config import UserCluster, connect_user
from ops.clock import wall_s
from ops.commands.cluster_asked import Asked
from ops.controller.resources.fields import GROUP, VERSION
from ops.controller.screens.stored import (
    StoredIncident,
    stored_incident,
)
from ops.errors import KubeError, OpsError
from ops.reports.rca_terminal import CAUSE, QUIET, STRONG, Line

WIDTH, WIDTH_MAX, NO_WRAP = 80, 120, 100_000
FIELD_MANAGER = "kubectl-midwatch"
_STYLES = {STRONG: "bold", CAUSE: "bold red", QUIET: "dim"}
_NEAR_MAX = 3
T = TypeVar("T")
Object = dict[str, Any]


class Cluster:
    """The user's cluster, seen through our kinds."""

    def __init__(self, user: UserCluster, asked: Asked) -> None:
        self.api: KubeApi = user.api
        self.namespace = "" if asked.everywhere else (asked.namespace or user.namespace)
        self.asked = asked
        self.now_s = wall_s()

    @property
    def where(self) -> str:
        """What is looked at, in words."""
        return f"namespace {self.namespace}" if self.namespace else "this cluster"

    @property
    def options(self) -> str:
        """What the user gave to find this cluster, behind commands that are proposed."""
        given = (("--context", self.asked.context), ("--kubeconfig", self.asked.kubeconfig))
        return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given if value)

    def raw(self, resource: str, *, everywhere: bool = False) -> list[Object]:
        """All objects of a kind where the user looks."""
        place = "" if everywhere else self.namespace
        with told_errors(resource, place):
            found: list[Object] = []
            for page in self.api.pages(path_of(GROUP, VERSION, resource, place)):
                found += orjson.loads(page).get("items") or []
            return found

    def incident(self, name: str) -> tuple[Object, StoredIncident]:
        """One incident by its name, the beginning of it, or its Fleet's name.

        Of several that fit the only open one is taken; without a name, of all.

        Raises:
            typer.Exit: none, or several; the message lists near ones.
        """
        raws = self.raw("incidents")
        found = [(raw, item) for raw in raws for item in readable(stored_incident, [raw])]
        exact = [pair for pair in found if pair[1].name == name]
        of_fleet = [pair for pair in found if pair[1].spec.fleet == name]
        begins = [pair for pair in found if pair[1].name.startswith(name)]
        chosen = exact or of_fleet or begins
        is_open = [pair for pair in chosen if pair[1].open]
        if len(is_open) == 1 or (name and len(chosen) == 1):
            return (is_open or chosen)[0]
        if name and not chosen:
            self._unknown(name, [item.name for _, item in found])
        whose = f" of {name!r}" if name else ""
        if not is_open:
            before = _few(_newest(chosen))
            raise fail(f"no incident{whose} is open in {self.where}; name a resolved one: {before}")
        raise fail(
            f"{len(is_open)} incidents{whose} are open in {self.where}; name one: "
            f"{_few(_newest(is_open))}"
        )

    def _unknown(self, name: str, names: Sequence[str]) -> None:
        if self.namespace:
            try:
                others = [raw["metadata"] for raw in self.raw("incidents", everywhere=True)]
            except typer.Exit:
                others = []  # the user may not look there
            places = sorted(meta["namespace"] for meta in others if meta["name"] == name)
            if places:
                raise fail(
                    f"no incident {name!r} in {self.where}; there is one in {_few(places)}: "
                    f"add -n {places[0]}"
                )
        near = difflib.get_close_matches(name, names, n=_NEAR_MAX, cutoff=0.3)
        hint = _few(near) if near else _few(sorted(names, reverse=True))
        raise fail(f"no incident {name!r} in {self.where}; there is {hint}")


def connect(asked: Asked) -> Cluster:
    """The cluster that kubectl would speak to.

    Raises:
        typer.Exit: no configuration; the message says what to do.
    """
    if asked.everywhere and asked.namespace:
        raise fail("-n and -A exclude each other; give one")
    try:
        user = connect_user(
            kubeconfig=asked.kubeconfig, context=asked.context, timeout_s=asked.timeout_s
        )
    except KubeError as error:
        raise fail(str(error)) from error
    return Cluster(user, asked)


@contextmanager
def told_errors(resource: str, namespace: str) -> Iterator[None]:
    """An error of the server as one line and exit code 2, with the step that helps here."""
    place = f"namespace {namespace}" if namespace else "all namespaces"
    try:
        yield
    except KubeError as error:
        if error.status == 404:  # of a list
            raise fail(
                f"this cluster does not know {resource}.{GROUP}: midwatch is not installed here; "
                "install it (midwatch operator manifests | kubectl apply -f -), or choose another "
                "cluster with --context"
            ) from error
        if error.status == 403:
            raise fail(
                f"you may not read {resource}.{GROUP} in {place}: {error}; ask for that "
                "right, or name a namespace of yours with -n"
            ) from error
        raise fail(str(error)) from error


def readable(read: Callable[[Object], T], raws: Sequence[Object]) -> list[T]:
    """What can be read; what cannot is told on stderr, and the rest is shown."""
    found = []
    for raw in raws:
        try:
            found.append(read(raw))
        except OpsError as error:
            typer.echo(f"warning: left out: {error}", err=True)
    return found


def fail(message: str) -> typer.Exit:
    """Say it on stderr; the caller raises what is returned: exit code 2."""
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2)


def width() -> int:
    """Columns of a line: the terminal's; on a pipe a fact is a line, so that grep finds it."""
    if not sys.stdout.isatty():
        return NO_WRAP
    return max(40, min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH_MAX))


def show(lines: Sequence[Line]) -> None:
    """Print lines; styled on a terminal that wants it (NO_COLOR is honoured)."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    for line in lines:
        console.print(Text(line.text, style=_STYLES.get(line.style, "")))


def show_json(value: Any) -> None:
    """Print data for machines."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode())


def _newest(found: Sequence[tuple[Object, StoredIncident]]) -> list[str]:
    return [item.name for _, item in sorted(found, key=lambda pair: -pair[1].began_s)]


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more
