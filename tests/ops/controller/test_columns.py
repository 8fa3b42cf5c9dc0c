"""`kubectl get` of our kinds fits a terminal of 80 columns."""

from __future__ import annotations

import pytest

from ops.controller.resources.kinds import FLEET, INCIDENT, REPLAY

# The widest usual value of each column, by the last part of its path.
USUAL = {
    "mode": "Recommend",
    "pods": "1200",
    "openIncidents": "12",
    "creationTimestamp": "3d20h",
    "phase": "Diagnosed",
    "began": "59m59s",
    "cause": "service:eu-west/session-store",
    "status": "Unknown",  # of a condition
}
GAP = 3  # spaces between two columns of kubectl


def width(kind, name):
    cells = [(column.name, USUAL[column.path.rpartition(".")[2]]) for column in shown(kind)]
    return len(name) + sum(GAP + max(map(len, cell)) for cell in cells)


def shown(kind):
    return [column for column in kind.columns if column.priority == 0]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(FLEET, "checkout"), (INCIDENT, "chat-20261130-020645-a1b2c"), (REPLAY, "again")],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_shows_always_fits_80_columns(kind, name):
    assert width(kind, name) <= 80


@pytest.mark.parametrize(("kind", "name"), [(FLEET, "chat"), (REPLAY, "again")])
def test_it_does_so_with_the_kind_before_the_name_too(kind, name):
    """As kubectl writes it when several kinds are asked for at once."""
    assert width(kind, f"{kind.kind.lower()}.midwatch.dev/{name}") <= 80


def test_of_an_incident_only_the_cause_may_be_wider_and_it_stands_last():
    prefixed = "incident.midwatch.dev/chat-20261130-020645-a1b2c"
    assert shown(INCIDENT)[-1].name == "Cause"
    assert width(INCIDENT, prefixed) - len(USUAL["cause"]) <= 80
