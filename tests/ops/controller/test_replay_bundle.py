"""A Replay of an incident whose bundle is not there: what is missing, and what could be named."""

from __future__ import annotations

import pytest

from ops.bundle import MANIFEST
from ops.controller.worker.replay_bundle import replay_bundle
from ops.controller.worker_link.wire import ReplayRequest
from ops.errors import BundleError

ASKED = ReplayRequest(namespace="shop", name="again", incident="chat-9")


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ((), "bundles of no incident of this namespace"),
        (("shop/chat-7", "shop/chat-8", "pay/other-1"), "bundles of chat-7, chat-8"),
    ],
)
def test_a_bundle_that_is_not_there_is_named_with_those_that_are(tmp_path, kept, says):
    for name in (*kept, "shop/.half-written"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / MANIFEST).touch()
    with pytest.raises(BundleError) as caught:
        replay_bundle(ASKED, tmp_path)
    told = str(caught.value)
    assert told.startswith("no bundle of Incident shop/chat-9 is on the worker's volume")
    assert "condition Recorded" in told
    assert told.endswith(says)
