"""Which changes of a Deployment are told, as what, and of when."""

from __future__ import annotations

import pytest

from ops.adapters.kube.deployments import (
    RESTARTED,
    ChangeLog,
    deployment_row,
    previous_revision,
)
from ops.adapters.kube.fields import Pool
from rca.state import ChangeKind
from tests.ops.adapters.kube.raw_objects import T0_S, raw_deployment

NOW_S = T0_S + 900.0


def row(**changes):
    return deployment_row(raw_deployment(**changes), Pool())


def told(*rows):
    """Changes after the first row, as (kind, from, to, summary)."""
    log, old = ChangeLog(), rows[0]
    log.first(old)
    found = []
    for new in rows[1:]:
        found += log.seen(old, new, now_s=NOW_S)
        old = new
    return [(c.kind, c.revision_from, c.revision_to, c.summary) for c in found]


def test_a_new_image_is_a_deploy_told_once_its_revision_is_known() -> None:
    new = {"container": {"image": "shop/web:2"}}
    changes = told(row(revision="4"), row(revision="4", **new), row(revision="5", **new))
    assert changes == [(ChangeKind.DEPLOY, "4", "5", "image of main: shop/web:1 -> shop/web:2")]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"container": {"args": ["--slow"]}}, "arguments of main"),
        ({"container": {"env": [{"name": "TOKEN", "value": "s3cret"}]}}, "environment of main"),
        ({"container": {"envFrom": [{"configMapRef": {"name": "b"}}]}}, "environment of main"),
        ({"container": {"resources": {"limits": {"cpu": "1"}}}}, "resources of main"),
        ({"annotations": {"checksum/config": "77"}}, "annotations"),
    ],
)
def test_changed_settings_are_named_and_their_values_are_not(changes, part) -> None:
    assert told(row(), row(revision="2", **changes)) == [(ChangeKind.CONFIG, "1", "2", part)]


def test_an_image_among_settings_makes_it_a_deploy() -> None:
    new = {"container": {"image": "shop/web:2", "args": ["--fast"]}}
    ((kind, *_, summary),) = told(row(), row(revision="2", **new))
    assert kind is ChangeKind.DEPLOY
    assert summary == "arguments of main; image of main: shop/web:1 -> shop/web:2"


def test_a_restart_by_hand_is_called_one() -> None:
    ((kind, *_, summary),) = told(row(), row(revision="2", annotations={RESTARTED: "now"}))
    assert (kind, summary) == (ChangeKind.DEPLOY, "restarted, template as before")


def test_other_replicas_are_a_scale_and_a_heartbeat_is_nothing() -> None:
    assert told(row(), row(), row(replicas=5)) == [(ChangeKind.SCALE, "3", "5", "replicas 3 -> 5")]


def test_a_rollback_is_the_next_revision() -> None:
    new = {"container": {"image": "shop/web:2"}}
    changes = told(row(), row(revision="2", **new), row(revision="3"))
    assert [(before, after) for _, before, after, _ in changes] == [("1", "2"), ("2", "3")]


def test_a_new_deployment_is_told_when_the_controller_has_taken_it() -> None:
    log = ChangeLog()
    assert log.seen(None, row(revision=""), now_s=NOW_S) == []
    (change,) = log.seen(row(revision=""), row(revision="1"), now_s=NOW_S)
    assert (change.at_s, change.revision_from, change.summary) == (T0_S, "", "created")


def test_a_deleted_deployment_is_a_change() -> None:
    (change,) = ChangeLog().gone(row(revision="3"), now_s=NOW_S)
    assert (change.revision_from, change.revision_to, change.summary) == ("3", "", "deleted")


def written(time, manager="kubectl", **more):
    return {"manager": manager, "time": time, **more}


def test_a_change_heard_of_late_keeps_the_time_when_it_was_written() -> None:
    log, old = ChangeLog(), row(fields=[written("2026-11-30T12:00:00Z")])
    log.first(old)
    late = row(
        revision="2",
        fields=[
            written("2026-11-30T12:05:00Z"),
            written("2026-11-30T12:09:00Z", "kube-controller-manager"),
            written("2026-11-30T12:09:00Z", "kubelet", subresource="status"),
        ],
    )
    (change,) = log.seen(old, late, now_s=NOW_S)
    assert change.at_s == T0_S + 300.0
    (change,) = log.seen(late, row(revision="3", fields=[]), now_s=NOW_S)
    assert change.at_s == NOW_S


@pytest.mark.parametrize(
    ("replicas", "told"), [(1, ["replicas 3 -> 1 by the autoscaler"]), (9, [])]
)
def test_an_autoscaler_is_told_of_where_it_may_be_a_cause(replicas, told) -> None:
    scaled = written("2026-11-30T12:07:00Z", "kube-controller-manager", subresource="scale")
    new = row(revision="", replicas=replicas, fields=[written("2026-11-30T12:00:00Z"), scaled])
    changes = ChangeLog().seen(row(), new, now_s=NOW_S)
    assert [change.summary for change in changes] == told
    assert all(change.at_s == T0_S + 420.0 for change in changes)


def test_the_last_roll_out_before_we_looked_is_still_known() -> None:
    progressing = {"type": "Progressing", "lastUpdateTime": "2026-11-30T12:08:00Z"}
    (change,) = ChangeLog().first(row(revision="7", conditions=[progressing]))
    assert (change.at_s, change.revision_from, change.revision_to) == (T0_S + 480.0, "6", "7")
    assert ChangeLog().first(row(revision="1", conditions=[progressing])) == []


def test_the_revision_before_is_one_less() -> None:
    assert [previous_revision(text) for text in ("5", "1", "", "x")] == ["4", "", "", ""]
