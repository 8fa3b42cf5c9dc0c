"""Who we are to a Prometheus: two kinds of files, read anew, never told."""

from __future__ import annotations

import pytest

from ops.adapters.prometheus import PrometheusReader
from ops.adapters.prometheus_login import Login
from ops.clock import Deadline
from ops.errors import PrometheusError


def test_user_and_password_are_read_anew_and_never_told(fake_prometheus, tmp_path):
    path, fake_prometheus.clock_s = tmp_path / "login", 1_700_000_000.0
    with PrometheusReader(fake_prometheus.url, basic_auth_file=path) as reader:
        for pair, header in (("kim:s@cret", "a2ltOnNAY3JldA=="), ("kim:a b", "a2ltOmEgYg==")):
            path.write_text(f"{pair}\n")
            reader.now_s(deadline=Deadline.after(5.0))
            assert fake_prometheus.asked[-1].headers["Authorization"] == f"Basic {header}"
        fake_prometheus.script = [(401, {}, b"Unauthorized")]
        with pytest.raises(PrometheusError, match="are not accepted; renew them") as caught:
            reader.now_s(deadline=Deadline.after(5.0))
    assert str(path) in str(caught.value) and "a b" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "kim", "kim:", "kim:one\ntwo"])
def test_a_file_of_another_form_is_named_and_not_shown(tmp_path, content):
    path = tmp_path / "login"
    path.write_text(content)
    with pytest.raises(PrometheusError, match=str(path)) as caught:
        Login(basic_auth_file=path).headers()
    assert "kim" not in str(caught.value)
