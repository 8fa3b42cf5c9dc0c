"""What the commands of `kubectl midwatch` share: the user's cluster, its objects, plain errors."""

from __future__ import annotations

import difflib
import shlex
import shutil
import sys
from collections import Counter
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
from ops.controller.resources.incident import Phase
from ops.controller.screens import told
from ops.controller.screens.stored import StoredIncident, stored_incident
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

    def raw(self, resource: str) -> list[Object]:
        """All objects of a kind where the user looks."""
        with told_errors(resource, self.namespace):
            return self._list(resource, self.namespace)

    def _list(self, resource: str, namespace: str) -> list[Object]:
        found: list[Object] = []
        for page in self.api.pages(path_of(GROUP, VERSION, resource, namespace)):
            found += orjson.loads(page).get("items") or []
        return found

    def incident(self, name: str) -> tuple[Object, StoredIncident]:
        """One incident by its name, the beginning of it, or its Fleet's name.

        Of several that fit the only open one is taken, or the only one that users still suffer
        from; without a name, of all.

        Raises:
            typer.Exit: none, or several; the message lists near ones.
        """
        raws = self.raw("incidents")
        found = [(raw, item) for raw in raws for item in readable(stored_incident, [raw])]
        chosen = _fitting(found, name, lambda pair: pair[0])
        is_open = [pair for pair in chosen if pair[1].open]
        if len(is_open) == 1 or (name and len(chosen) == 1):
            return (is_open or chosen)[0]
        if name and not chosen:
            self._unknown(name, [item.name for _, item in found])
        whose = f" of {name!r}" if name else ""
        if not is_open:
            raise fail(f"no incident{whose} is open in {self.where}; {self._instead(name, chosen)}")
        suffering = [pair for pair in is_open if not told.is_over(pair[1])]
        if len(suffering) == 1:
            others = [pair for pair in is_open if pair is not suffering[0]]
            also = _few(_newest(others))
            typer.echo(f"note: also open, but mitigated: {also}; name one to see it", err=True)
            return suffering[0]
        raise fail(
            f"{len(is_open)} incidents{whose} are open in {self.where}; name one: "
            f"{_few(_newest(is_open))}"
        )

    def _instead(self, name: str, resolved: Sequence[tuple[Object, StoredIncident]]) -> str:
        """What to ask for where none is open here."""
        steps = []
        if elsewhere := [raw for raw in self._elsewhere(name) if _burns(raw)]:
            text, first = _places(elsewhere)
            steps.append(f"open elsewhere: {text}, add -n {first} or -A")
        if resolved or not steps:
            steps.append(f"name a resolved one: {_few(_newest(resolved))}" if resolved else
                         "nor is a resolved one kept")  # fmt: skip
        return "; ".join(steps)

    def _elsewhere(self, name: str) -> list[Object]:
        """Incidents of other namespaces that fit a name; none where the user may not look there."""
        if not self.namespace:
            return []
        try:
            found = self._list("incidents", "")
        except KubeError:
            return []
        others = [raw for raw in found if raw["metadata"].get("namespace") != self.namespace]
        return _fitting(others, name, lambda raw: raw)

    def _unknown(self, name: str, names: Sequence[str]) -> None:
        found = self._elsewhere(name)
        if found:
            shown = [raw for raw in found if _burns(raw)] or found
            text, first = _places(shown)
            verb = "is" if len(shown) == 1 else "are"
            raise fail(f"no incident {name!r} in {self.where}; there {verb} {text}: add -n {first}")
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
        if not error.status:  # nobody answered: is it the server, or the way there?
            raise fail(
                f"{error}. Nothing is known of the cluster now. --timeout-s allows more time, "
                "kubectl get --raw /readyz asks the server itself"
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


def _fitting(found: Sequence[T], name: str, raw_of: Callable[[T], Object]) -> list[T]:
    """Those of this very name, else of the Fleet of that name, else whose name begins so."""
    raws = [raw_of(item) for item in found]
    exact = [raw["metadata"]["name"] == name for raw in raws]
    of_fleet = [(raw.get("spec") or {}).get("fleet") == name for raw in raws]
    begins = [raw["metadata"]["name"].startswith(name) for raw in raws]
    fits = next((those for those in (exact, of_fleet, begins) if any(those)), begins)
    return [item for item, fit in zip(found, fits, strict=True) if fit]


def _burns(raw: Object) -> bool:
    return (raw.get("status") or {}).get("phase") != Phase.RESOLVED


def _places(raws: Sequence[Object]) -> tuple[str, str]:
    """ "2 in shop, one in pay", and the namespace that has most of them."""
    counted = Counter(str(raw["metadata"].get("namespace", "")) for raw in raws).most_common()
    text = [f"{'one' if number == 1 else number} in {place}" for place, number in counted]
    return _few(text), counted[0][0]


def _newest(found: Sequence[tuple[Object, StoredIncident]]) -> list[str]:
    return [item.name for _, item in sorted(found, key=lambda pair: -pair[1].began_s)]


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more
