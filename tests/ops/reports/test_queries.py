"""Queries that tell the same whenever they are typed, and the place of a pod."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.catalogue import Catalogue
from ops.reports.parts import ClockBase
from ops.reports.place import Place, place_of
from ops.reports.queries import Period, query_of, ranged
from ops.reports.undo import no_undo, undo_command
from ops.state import Action, ActionKind
from rca.state import Entity, Evidence, MetricFrame, RankedCause, ResourceClass, Series

PERIOD = Period(from_s=900.0, to_s=1200.0, clock=ClockBase(epoch_s=1000.0))


def series(name, **labels):
    return Series(name, tuple(sorted(labels.items())))


def clock(gpu, pod="llm-0"):
    return series("DCGM_FI_DEV_SM_CLOCK", gpu=gpu, pod=pod, node="n1", region="west", service="llm")


def call(name, code=None, to="auth", end="source"):
    more = {"response_code": code} if code else {}
    return series(
        name, source_workload="door", destination_workload=to, reporter=end, region="west",
        service="door" if end == "source" else to, **more,
    )  # fmt: skip


CALLS = (
    *(call("istio_requests_total", code, to) for code in ("200", "503") for to in ("auth", "db")),
    *(call(f"istio_request_duration_milliseconds_{part}", to=to, end=end)
      for part in ("sum", "count") for to in ("auth", "db") for end in ("source", "destination")),
)  # fmt: skip


def frame(*known):
    catalogue = Catalogue.load()
    return MetricFrame(
        times_s=np.array([5.0]), values=np.zeros((1, len(known))), series=known,
        roles=tuple(catalogue.resolve(s) for s in known), step_s=5.0,
    )  # fmt: skip


def cause(entity, resource, *evidence, path=()):
    return RankedCause(
        rank=1, entity=Entity.parse(entity), resource_class=resource, score=1.0, confidence=0.9,
        evidence=evidence, path=path,
    )  # fmt: skip


def found(text, of=None, unit=""):
    return Evidence(channel="x", text=text, strength=0.5, series=of, before=0.0, after=1.0,
                    unit=unit)  # fmt: skip


def test_a_range_ends_at_a_fixed_moment_with_what_lay_around_it():
    assert ranged("up", PERIOD) == "up[20m] @ 2500"
    assert ranged("rate(up[1m])", PERIOD, computed=True) == "rate(up[1m])[20m:15s] @ 2500"


def test_the_cited_series_is_asked_for_by_the_labels_that_tell_it():
    known = frame(clock("0"), clock("1"), clock("0", pod="llm-1"))
    accused = cause("pod:west/llm-0", ResourceClass.GPU_CLOCK, found("clock", clock("1")))
    assert query_of(accused, known, PERIOD) == (
        'DCGM_FI_DEV_SM_CLOCK{gpu="1", pod="llm-0", region="west"}[20m] @ 2500'
    )
    assert query_of(accused, None, PERIOD) == ""


def test_a_link_is_shown_by_the_mean_time_that_its_caller_sees():
    text = query_of(cause("link:west/door->db", ResourceClass.NETWORK), frame(*CALLS), PERIOD)
    chosen = '{destination_workload="db", region="west", service="door"}[1m]))'
    assert text == (
        f"(sum(rate(istio_request_duration_milliseconds_sum{chosen} / "
        f"sum(rate(istio_request_duration_milliseconds_count{chosen})[20m:15s] @ 2500"
    )


def test_errors_of_a_service_are_shown_by_the_calls_to_it_that_fail():
    accused = cause("service:west/auth", ResourceClass.CODE, found("own errors", unit="ratio"))
    text = query_of(accused, frame(*CALLS), PERIOD)
    assert 'destination_workload="auth"' in text
    assert 'response_code="503"' in text
    assert "200" not in text


@pytest.mark.parametrize(
    ("resource", "place", "text"),
    [
        (ResourceClass.GPU_CLOCK, Place(node="n1", gpu="1"), "node n1, GPU 1"),
        (ResourceClass.CPU, Place(node="n1"), "node n1"),
    ],
)
def test_a_pod_has_a_node_and_where_a_gpu_is_accused_its_gpu(resource, place, text):
    accused = cause("pod:west/llm-0", resource, found("clock", clock("1")))
    assert place_of(accused, frame(clock("0"), clock("1"))) == place
    assert str(place) == text
    service = replace(accused, entity=Entity.parse("service:west/llm"))
    assert place_of(service, frame(clock("0"))) == Place()


def action(kind, command, undo="words", **params):
    return Action(
        action_id="a", kind=kind, target=Entity.parse("service:west/db"), params=params,
        command=command, undo=undo,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("done", "command"),
    [
        (action(ActionKind.SCALE_OUT, "kubectl scale x --replicas=5", add=2.0),
         "kubectl scale x --replicas=3"),
        (action(ActionKind.LIMIT_ADMISSION, "kubectl annotate x a.b/admission-ratio=0.50 "
                "--overwrite"), "kubectl annotate x a.b/admission-ratio-"),
        (action(ActionKind.SHIFT_TRAFFIC, "kubectl patch x  # weight of y: 0.3",
                to_region="east"), "kubectl patch x  # weight of the backends of east: 0"),
        (action(ActionKind.ROLLBACK, "", undo="deploy revision 8 again"),
         "kubectl --context west rollout undo deployment/db  # deploy revision 8"),
        (action(ActionKind.CORDON_DRAIN_NODE, "", undo="kubectl uncordon n"),
         "kubectl uncordon n"),
        (action(ActionKind.REPLACE_POD, "kubectl delete pod x"), ""),
    ],
)  # fmt: skip
def test_an_undo_is_a_command_where_there_is_one(done, command):
    assert undo_command(done) == command
    assert bool(no_undo(done)) is (not command)


def test_a_lost_pod_is_shown_by_the_errors_of_those_who_called_it():
    """What is still measured at the pod itself tells nothing of its loss."""
    dropped = series("container_network_receive_packets_dropped_total", pod="auth-0",
                     region="west", service="auth")  # fmt: skip
    lost = cause("pod:west/auth-0", ResourceClass.LOSS, found("own errors 0 % -> 71 %"),
                 path=("pod:west/auth-0", "service:west/auth", "service:west/door"))  # fmt: skip
    text = query_of(lost, frame(dropped, *CALLS), PERIOD)
    assert text.startswith("sum(rate(istio_requests_total{")
    assert 'destination_workload="auth"' in text
    assert 'response_code="503"' in text


def test_of_several_errors_the_one_that_rose_is_asked_for():
    flat = series("envoy_cluster_upstream_cx_connect_fail", envoy_cluster_name="auth",
                  region="west", service="door")  # fmt: skip
    counted = call("istio_requests_total", "503")
    lost = cause("pod:west/auth-0", ResourceClass.LOSS,
                 path=("pod:west/auth-0", "service:west/auth"))  # fmt: skip
    known = replace(frame(flat, counted), times_s=np.array([950.0, 1000.0, 1050.0]))
    still = np.array([[1.0, 4.0], [1.0, np.nan], [1.0, 4.0]])
    rising = np.array([[1.0, 4.0], [1.0, 5.0], [1.0, 9.0]])
    asked = [query_of(lost, replace(known, values=v), PERIOD) for v in (still, rising)]
    assert ["connect_fail" in text for text in asked] == [True, False]
    assert "istio_requests_total" in asked[1]
