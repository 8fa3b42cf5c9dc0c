"""The configuration file: every fault at once, nothing unknown, nothing secret."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from ops.cli import app
from ops.controller.checks import operator_checks
from ops.controller.process import Operator
from ops.controller.settings import LeaseSettings, Settings, load_settings, parse_settings
from ops.controller.settings_files import file_faults, named_files
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


def test_two_ways_to_log_in_are_one_too_many():
    both = {"url": "http://p:9090", "tokenFile": "a", "basicAuthFile": "b"}
    with pytest.raises(SettingsError, match="tokenFile or basicAuthFile, not both"):
        parse_settings({"metricsEndpoints": {"default": both}}, path="c")


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


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:notaport", "http://p:0", "http://p:70000", "http://p:", "http://[::1",
     "http://p q:9090", "http://p:9090/a b", "http://p:9090/\n", "ftp://p:9090", "http://:9090"],
)  # fmt: skip
def test_an_address_that_nobody_can_ask_is_refused(url):
    raw = {"metricsEndpoints": {"default": {"url": url}}}
    with pytest.raises(SettingsError, match=r"c has 1 fault: metricsEndpoints\.default\.url: "):
        parse_settings(raw, path="c")


@pytest.mark.parametrize("url", ["http://p", "https://p:9090/prom", "http://[::1]:9090"])
def test_an_address_with_or_without_port_is_taken(url):
    raw = {"metricsEndpoints": {"default": {"url": url}}}
    assert parse_settings(raw, path="c").metrics_endpoints["default"].url == url


@pytest.mark.parametrize("process", ["run", "worker"])
def test_check_tells_wrong_values_and_wrong_files_all_at_once(tmp_path, process):
    (tmp_path / "empty").write_text("")
    config = tmp_path / "config.yaml"
    raw = {
        "metricsEndpoints": {
            "default": {"url": "http://127.0.0.1:notaport", "caFile": str(tmp_path / "empty")}
        },
        "worker": {"tokenFile": str(tmp_path / "none.token")},
    }
    config.write_text(yaml.safe_dump(raw))
    done = CliRunner().invoke(app, ["operator", process, "--config", str(config), "--check"])
    assert done.exit_code == 2
    for place in (
        "3 faults", "metricsEndpoints.default.url: expected a port",
        f"metricsEndpoints.default.caFile: {tmp_path}/empty is empty",
        f"worker.tokenFile: token file {tmp_path}/none.token cannot be read: No such file",
    ):  # fmt: skip
        assert place in done.stderr, place
    (tmp_path / "none.token").write_text("t" * 32)
    raw["metricsEndpoints"] = {"default": {"url": "http://127.0.0.1:9090"}}
    config.write_text(yaml.safe_dump(raw))
    done = CliRunner().invoke(app, ["operator", process, "--config", str(config), "--check"])
    assert (done.exit_code, done.stdout) == (0, f"{config}: no fault found\n")


def test_a_secret_that_comes_later_is_a_condition_until_it_is_there(tmp_path):
    path = tmp_path / "webhook.token"
    files = named_files(parse_settings({"webhook": {"tokenFile": str(path)}}, path="c"))

    def files_readable():
        checks = operator_checks(
            SimpleNamespace(leader_address=None, holder="me", last_error=""), listed=True,
            num_fleets=0, forbidden=(), watch_trouble="", file_faults=file_faults(files),
        )  # fmt: skip
        (one,) = [check for check in checks if check.type == "FilesReadable"]
        return one

    assert not files_readable().ok and not files_readable().needed
    assert f"webhook.tokenFile: token file {path} cannot be read" in files_readable().message
    path.write_text("secret-of-ours")
    assert files_readable().ok and "secret" not in files_readable().message
    path.write_text("")
    assert "0 bytes" in files_readable().message
