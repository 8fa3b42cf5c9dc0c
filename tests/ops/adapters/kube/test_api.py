from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from ops.adapters.kube.api import KubeApi, PatchKind
from ops.adapters.kube.connect import ACCOUNT_DIR
from ops.adapters.kube.rights import Right
from ops.errors import KubeError, NotLeadingError
from tests.ops.adapters.kube.scripted_server import hangs_up, refuses, says, silent, streams

PODS = "/api/v1/namespaces/a/pods"


def query(request):
    return {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}


def test_a_call_carries_its_token_and_parameters(server, connect) -> None:
    server.answer(says(200, {"items": []}))
    assert connect().get(PODS, params={"limit": 3, "allowWatchBookmarks": True}) == {"items": []}
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer of-the-file"
    assert query(request) == {"limit": "3", "allowWatchBookmarks": "true"}


def test_pages_follow_the_mark_of_the_server(server, connect) -> None:
    server.answer(
        says(200, {"metadata": {"continue": "more"}, "items": [1]}),
        says(200, {"metadata": {}, "items": [2]}),
    )
    pages = list(connect().pages(PODS, params={"labelSelector": "a=b"}, limit=1))
    assert [json.loads(page)["items"] for page in pages] == [[1], [2]]
    assert [query(request) for request in server.requests] == [
        {"labelSelector": "a=b", "limit": "1"},
        {"labelSelector": "a=b", "limit": "1", "continue": "more"},
    ]


def test_pages_have_a_deadline_together(server, connect) -> None:
    server.answer(says(200, {"metadata": {"continue": "more"}, "items": [1]}))
    left = iter([1.0, 0.0])
    pages = connect().pages(PODS, deadline=SimpleNamespace(left_s=lambda: next(left)))
    assert json.loads(next(pages))["items"] == [1]
    with pytest.raises(KubeError, match="had not ended when the time was over") as caught:
        next(pages)
    assert caught.value.status == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PatchKind.MERGE, {"spec": {"frozen": True}}),
        (PatchKind.JSON, [{"op": "test", "path": "/a", "value": 1}]),
        (PatchKind.APPLY, {"kind": "Pod"}),
    ],
)
def test_a_patch_says_of_which_sort_it_is_and_who_makes_it(server, connect, kind, body) -> None:
    server.answer(says(200, {}))
    connect().patch(f"{PODS}/b", body, kind=kind)
    (request,) = server.requests
    assert (request.method, request.headers["content-type"]) == ("PATCH", kind.value)
    assert json.loads(request.body) == body
    assert query(request) == {"fieldManager": "midwatch"}


def test_what_is_written_comes_back_as_the_server_stored_it(server, connect) -> None:
    server.answer(says(201, {"a": 1}), says(200, {"a": 2}), says(200, {"a": 3}))
    api = connect()
    assert api.create(PODS, {"kind": "Pod"}, params={"dryRun": "All"}) == {"a": 1}
    assert api.replace(f"{PODS}/b", {"kind": "Pod"}) == {"a": 2}
    assert api.delete(f"{PODS}/b") == {"a": 3}
    assert [request.method for request in server.requests] == ["POST", "PUT", "DELETE"]
    assert query(server.requests[0]) == {"fieldManager": "midwatch", "dryRun": "All"}


@pytest.mark.parametrize(
    ("status", "reason", "step"),
    [
        (401, "Unauthorized", "the token is not accepted"),
        (403, "Forbidden", "grant: list pods in namespace a"),
        (404, "NotFound", "check that the object exists"),
        (409, "Conflict", "read it again and repeat"),
        (410, "Expired", "list again"),
        (422, "Invalid", "correct the fields named"),
        (429, "TooManyRequests", "wait and repeat"),
        (500, "InternalError", "wait and repeat"),
        (503, "ServiceUnavailable", "wait and repeat"),
    ],
)
def test_a_refusal_names_what_was_asked_what_was_said_and_the_next_step(
    server, connect, status, reason, step
) -> None:
    server.answer(refuses(status, reason, "because of the test"))
    with pytest.raises(KubeError) as caught:
        connect().get(PODS)
    assert (caught.value.status, caught.value.reason) == (status, reason)
    for part in ("GET", PODS, str(status), "because of the test", step):
        assert part in str(caught.value)


def test_a_busy_server_says_when_to_come_back(server, connect) -> None:
    body = {"kind": "Status", "reason": "TooManyRequests", "details": {"retryAfterSeconds": 4}}
    server.answer(
        refuses(429, "TooManyRequests", Retry_After="7"),
        says(429, body),
        refuses(429, "TooManyRequests", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
        refuses(503, "ServiceUnavailable"),
    )
    api, waits = connect(), []
    for _ in range(4):
        with pytest.raises(KubeError) as caught:
            api.get(PODS)
        waits.append(caught.value.retry_after_s)
    assert waits == [7.0, 4.0, None, None]


@pytest.mark.parametrize(
    ("details", "causes"),
    [
        ({"causes": [{"reason": "DisruptionBudget", "message": "no"}]}, {"DisruptionBudget"}),
        ({"retryAfterSeconds": 1}, set()),
        ({"causes": "odd"}, set()),
        ("odd", set()),
    ],
)
def test_a_refusal_keeps_the_causes_that_the_server_names(server, connect, details, causes):
    server.answer(says(429, {"kind": "Status", "code": 429, "details": details}))
    with pytest.raises(KubeError) as refused:
        connect().create(f"{PODS}/b/eviction", {})
    assert refused.value.causes == causes


def test_a_refused_right_is_remembered_until_it_is_granted(server, connect) -> None:
    server.answer(refuses(403, "Forbidden"), refuses(403, "Forbidden"), says(200, {}))
    api, right = connect(), Right("list", "", "pods", "", "a")
    for _ in range(2):
        with pytest.raises(KubeError):
            api.get(PODS)
        assert api.forbidden == {right}
    api.get(PODS)
    assert not api.forbidden


@pytest.mark.parametrize(
    ("status", "message", "granted"),
    [
        (404, "pods x not found", True),
        (409, "the object has been modified", True),
        (422, "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no", True),
        (403, 'admission webhook "w.example" denied the request: no', True),
        (429, "too many requests", False),
        (500, "etcdserver: request timed out", False),
    ],
)
def test_a_right_is_granted_where_the_server_refuses_for_what_it_looks_at_later(
    server, connect, status, message, granted
) -> None:
    server.answer(refuses(403, "Forbidden"), refuses(status, "Odd", message))
    api = connect()
    for _ in range(2):
        with pytest.raises(KubeError):
            api.create(PODS, {"kind": "Pod"})
    assert (not api.forbidden) is granted


@pytest.mark.parametrize(
    "message",
    [
        "a is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no",
        'admission webhook "w.example" denied the request: no',
        "forbidden: unable to create new content in namespace a because it is being terminated",
        "a is forbidden: exceeded quota: q, requested: pods=1, used: pods=9, limited: pods=9",
    ],
)
def test_a_rule_of_the_cluster_is_no_missing_right(server, connect, message) -> None:
    server.answer(refuses(403, "Forbidden", message))
    api = connect()
    with pytest.raises(KubeError, match="no right is missing") as caught:
        api.create(PODS, {"kind": "Pod"})
    assert "grant" not in str(caught.value)
    assert not api.forbidden


@pytest.mark.parametrize("where", ["option", "kubeconfig"])
def test_a_rotated_token_is_used_from_the_next_call_on(server, connect, tmp_path, where) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    server.answer(says(200, {}))
    api = connect(
        **{"option": {"token_file": token}, "kubeconfig": {"user": {"tokenFile": "token"}}}[where]
    )
    api.get(PODS)
    token.write_text("second-token\n")
    api.get(PODS)
    used = [request.headers["authorization"] for request in server.requests]
    assert used == ["Bearer first", "Bearer second-token"]


def test_a_token_refused_is_read_again_and_tried_once_more(server, connect, tmp_path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    server.answer(refuses(401, "Unauthorized"), says(200, {"ok": 1}), refuses(401, "Unauthorized"))
    api = connect(token_file=token)
    assert api.get(PODS) == {"ok": 1}
    with pytest.raises(KubeError, match="token is not accepted"):
        api.get(PODS)
    assert len(server.requests) == 4  # the second call was tried twice, no more


def test_a_second_try_of_a_write_asks_once_more_whether_it_may(server, connect, tmp_path) -> None:
    """Between the two a leader may have lost its Lease."""
    token = tmp_path / "token"
    token.write_text("old")
    server.answer(refuses(401, "Unauthorized"), says(200, {}))
    asked = []

    def held_once() -> None:
        asked.append(True)
        if len(asked) > 1:
            raise NotLeadingError("lost meanwhile")

    api = connect(token_file=token, before_write=held_once)
    with pytest.raises(NotLeadingError):
        api.create(PODS, {"metadata": {"name": "b"}})
    assert (len(asked), len(server.requests)) == (2, 1)
    api.get(PODS)
    assert len(asked) == 2  # a read needs no leave


def test_a_connection_may_not_take_longer_than_it_is_told_to(server, connect, monkeypatch) -> None:
    """A write that was allowed must not leave when another may lead already."""
    server.answer(says(200, {}))
    api = connect(connect_s_max=0.75)
    client = api._transport._client
    seen, call = [], client.call_api
    monkeypatch.setattr(
        client,
        "call_api",
        lambda *args, **kwargs: (seen.append(kwargs["_request_timeout"]), call(*args, **kwargs))[1],
    )
    api.create(PODS, {})
    api.get(PODS, timeout_s=0.5)
    assert seen == [(0.75, 10.0), (0.5, 0.5)]


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_a_missing_or_empty_token_file_is_named(connect, tmp_path, content) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    with pytest.raises(KubeError, match=r"token file .*token"):
        connect(token_file=token).get(PODS)


@pytest.mark.parametrize(
    ("answer", "reason", "timeout_s"),
    [
        (silent, "Timeout", 0.1),  # the server gives up later, and that would be Dropped
        # Dribbles beyond the time, and is Garbage in the end.
        (streams(*[b"x"] * 40, pause_s=0.02, end="whole"), "Timeout", 0.1),
        (hangs_up, "Dropped", 30.0),
        (streams(b'{"it', end="cut"), "Dropped", 30.0),
        (says(200, b"<html>login</html>"), "Garbage", 30.0),
        (says(200, b"[1]"), "Garbage", 30.0),
    ],
)
def test_a_call_without_a_whole_answer_ends_in_time_and_says_why(
    server, connect, answer, reason, timeout_s
) -> None:
    server.answer(answer)
    with pytest.raises(KubeError) as caught:
        connect(timeout_s=timeout_s).get(PODS)
    assert (caught.value.status, caught.value.reason) == (0, reason)


def test_a_server_that_is_not_there_is_named_with_its_address(connect) -> None:
    with pytest.raises(KubeError, match=r"http://127\.0\.0\.1:1: .*check the address") as caught:
        connect(url="http://127.0.0.1:1").get(PODS)
    assert caught.value.reason == "Unreachable"


def test_a_watch_gives_whole_lines_however_they_are_cut(server, connect) -> None:
    server.answer(streams(b'{"a":', b"1}\n\n{", b'"b":2}\n{"c":3}', b"\n"))
    with connect().watch(PODS, params={"resourceVersion": "5"}, read_timeout_s=30.0) as watch:
        assert list(watch) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    assert query(server.requests[0]) == {"resourceVersion": "5", "watch": "true"}


@pytest.mark.parametrize(
    ("answer", "reason", "read_timeout_s"),
    [
        (streams(b'{"a":1}\n', end="open"), "Timeout", 1.0),  # half open: nothing more ever comes
        (streams(b'{"a":1}\n', end="cut"), "Dropped", 30.0),
        (streams(b'{"a":1}\n', end="reset"), "Dropped", 30.0),
    ],
)
def test_a_dead_watch_is_noticed_and_its_lines_were_not_lost(
    server, connect, answer, reason, read_timeout_s
) -> None:
    server.answer(answer)
    with connect().watch(PODS, read_timeout_s=read_timeout_s) as watch:
        assert next(watch) == b'{"a":1}'
        with pytest.raises(KubeError) as caught:
            next(watch)
    assert caught.value.reason == reason


def test_a_watch_that_ended_leaves_its_connection_to_the_next_call(server, connect) -> None:
    server.answer(streams(b'{"a":1}\n'), says(200, {}))
    api = connect()
    with api.watch(PODS, read_timeout_s=30.0) as watch:
        assert len(list(watch)) == 1
    api.get(PODS)
    assert server.connections == 1


def test_a_watch_left_in_the_middle_closes_its_connection(server, connect) -> None:
    server.answer(streams(b'{"a":1}\n', end="open"), says(200, {}))
    api = connect()
    with api.watch(PODS, read_timeout_s=30.0) as watch:
        next(watch)
    api.get(PODS)
    assert server.connections == 2


def test_a_watch_may_be_silent_for_longer_than_a_call(server, connect) -> None:
    server.answer(streams(b'{"a":1}\n', b'{"b":2}\n', pause_s=0.08))
    with connect(timeout_s=0.05).watch(PODS, read_timeout_s=30.0) as watch:
        assert list(watch) == [b'{"a":1}', b'{"b":2}']


def test_a_waiting_watch_ends_at_once_when_another_thread_closes_it(server, connect) -> None:
    server.answer(streams(b'{"a":1}\n', end="open"))
    watch, lines = connect().watch(PODS, read_timeout_s=30.0), []

    def read():
        with watch:
            lines.extend(watch)

    reader = threading.Thread(target=read)
    reader.start()
    while not lines:
        time.sleep(0.001)
    watch.close()
    reader.join(30.0)
    assert not reader.is_alive()
    assert lines == [b'{"a":1}']


@pytest.mark.parametrize("content", ["{", "clusters: 3", "", "apiVersion: v1\nkind: Config\n"])
def test_an_unusable_kubeconfig_is_named(tmp_path, content) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(KubeError, match=r"kubeconfig .*kubeconfig.*; try it with kubectl"):
        KubeApi.connect(kubeconfig=path)


def test_outside_a_cluster_a_kubeconfig_is_asked_for(monkeypatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubeError, match="--kubeconfig"):
        KubeApi.connect()


def test_inside_a_cluster_the_account_of_the_pod_is_used(monkeypatch) -> None:
    if ACCOUNT_DIR.exists():
        pytest.skip("this test runs in a pod")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    with pytest.raises(KubeError, match=r"ca\.crt is missing"):
        KubeApi.connect()
