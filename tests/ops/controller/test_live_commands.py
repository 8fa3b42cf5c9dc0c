"""Commands for the cluster at hand."""

from __future__ import annotations

import pytest

from ops.controller.fleet.api_request import request_of
from ops.controller.live_commands import here
from ops.state import Action, ActionKind
from rca.state import Entity

EVICTION = (
    """echo '{"apiVersion":"policy/v1","kind":"Eviction","""
    """"metadata":{"name":"a","namespace":"shop"}}'"""
    " | kubectl --namespace shop create --raw /api/v1/namespaces/shop/pods/a/eviction -f -"
)


@pytest.mark.parametrize(
    ("command", "typed"),
    [
        ("kubectl --context eu drain a --x", "kubectl --namespace shop drain a --x"),
        # What is typed is what the dry run asks: an eviction.
        ("kubectl --context eu delete pod a", EVICTION),
        ("kubectl --context eu exec a -- kill 1", EVICTION),
        # What only a played fleet understands is no command on a cluster.
        (
            "kubectl --context eu annotate deployment/llm midwatch.dev/admission-ratio=0.40 "
            "--overwrite",
            "# no API of Kubernetes does it: admit 40% of the requests where they are taken in "
            "(gateway, router)",
        ),
        (
            "kubectl --context eu annotate deployment/llm midwatch.dev/admission-ratio-",
            "# no API of Kubernetes does it: admit all requests where they are taken in "
            "(gateway, router)",
        ),
    ],
)
def test_a_command_can_be_typed_here(command, typed):
    assert here(command, namespace="shop") == typed


def test_the_command_for_a_pod_sends_what_the_dry_run_has_asked(fleet):
    action = Action(
        action_id="", kind=ActionKind.REPLACE_POD, target=Entity.parse("pod:eu/a")
    )  # fmt: skip
    request = request_of(action, fleet.snapshot(), namespace="shop")
    assert f"'{request.text}'" in EVICTION
    assert f" --raw {request.path} " in EVICTION
