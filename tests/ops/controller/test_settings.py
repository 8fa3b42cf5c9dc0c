"""The configuration file: every fault at once, nothing unknown, nothing secret."""

from __future__ import annotations

import pytest
import yaml

from ops.controller.process import Operator
from ops.controller.settings import LeaseSettings, Settings, load_settings, parse_settings
from ops.controller.worker.start import worker_settings
from ops.errors import SettingsError


def test_an_empty_file_gives_defaults(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("")
    assert load_settings(path) == Settings()


def test_every_fault_is_told_at_once_with_its_place():
    raw = {
        "metricsEndpoints": {"default": {"url": "prometheus:9090"}, "B!": {"url": "http://b"}},
        "scrapeSeconds": 0,
        "lease": {"durationSeconds": 3, "renewSeconds": 5},
        "webhok": {},
    }
    with pytest.raises(SettingsError) as told:
        parse_settings(raw, path="config.yaml")
    text = str(told.value)
    for place in ("metricsEndpoints.default.url", "scrapeSeconds", "lease", "webhok: not a key"):
        assert place in text, place
    assert text.startswith("config.yaml has")


def test_a_password_in_an_address_is_refused():
    raw = {"metricsEndpoints": {"default": {"url": "http://me:secret@p:9090"}}}
    with pytest.raises(SettingsError, match="without user and password") as told:
        parse_settings(raw, path="c")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "x: \x00", "- !!python/object:os.system {}"])
def test_what_is_no_mapping_of_yaml_is_named(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"config\.yaml"):
        load_settings(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="--config"):
        load_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "name", ["Authorization", "authorization", "Proxy-Authorization", "Cookie"]
)
def test_a_credential_among_headers_is_refused_and_not_shown(name):
    headers = {"X-Scope-OrgID": "shop", name: "Bearer abcdef"}
    raw = {"metricsEndpoints": {"default": {"url": "http://p:9090", "headers": headers}}}
    with pytest.raises(SettingsError, match="tokenFile") as told:
        parse_settings(raw, path="c")
    assert f"metricsEndpoints.default.headers: {name} is a credential" in str(told.value)
    assert "abcdef" not in str(told.value)
    del headers[name]
    assert parse_settings(raw, path="c").metrics_endpoints["default"].headers == headers


def test_the_worker_waits_for_a_wide_window_as_long_as_an_endpoint_may_take():
    raw = {
        "metricsEndpoints": {
            "quick": {"url": "http://p:9090"},
            "slow": {"url": "http://q:9090", "timeoutSeconds": 45},
        },
        "worker": {"listen": ":8080", "metricsListen": "[::1]:8081"},
    }
    told = worker_settings(parse_settings(raw, path="c"))
    assert {name: one.timeout_s for name, one in told.endpoints.items()} == {
        "quick": 30.0,
        "slow": 45.0,
    }
    assert (told.host, told.port, told.metrics_address) == ("0.0.0.0", 8080, ("::1", 8081))


def test_a_write_waits_less_for_its_connection_than_another_process_for_the_lease(tmp_path):
    """Else one that was allowed at the end of the renew deadline arrives under another leader."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    for lease in (LeaseSettings(), LeaseSettings(duration_seconds=4, renew_seconds=3.5)):
        operator = Operator(Settings(lease=lease), kubeconfig=kubeconfig)
        allowed_s = lease.duration_seconds - lease.renew_seconds
        assert 0.0 < operator.api.connect_s_max < allowed_s
