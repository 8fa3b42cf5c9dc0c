"""Clients of a scripted server, closed when the test ends."""

from __future__ import annotations

import pytest
import yaml

from ops.adapters.kube.api import KubeApi
from tests.ops.adapters.kube.scripted_server import ScriptedServer


@pytest.fixture
def server():
    found = ScriptedServer()
    yield found
    found.close()


@pytest.fixture
def connect(server, tmp_path):
    """Make clients of the scripted server, with a kubeconfig as people write them."""
    opened = []

    def client(*, url: str = server.url, user: dict | None = None, **options) -> KubeApi:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "clusters": [{"name": "c", "cluster": {"server": url}}],
                    "users": [{"name": "u", "user": user or {"token": "of-the-file"}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        opened.append(KubeApi.connect(kubeconfig=kubeconfig, **options))
        return opened[-1]

    yield client
    for api in opened:
        api.close()
