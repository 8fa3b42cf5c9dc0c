"""Commands for the cluster at hand."""

from __future__ import annotations

import pytest

from ops.controller.live_commands import here


@pytest.mark.parametrize(
    ("command", "typed"),
    [
        ("kubectl --context eu delete pod a", "kubectl --namespace shop delete pod a"),
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
