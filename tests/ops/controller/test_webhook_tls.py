"""The receiver with TLS: the mounted certificate, a renewed one, a standby's trust in it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess

import pytest

from ops.controller.alerts import server as webhook_server
from ops.errors import SettingsError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def certificate(folder, name, *, host="midwatch-operator"):
    """A self-signed certificate and its key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", "-days", "1",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{host}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return {"cert_file": folder / f"{name}.crt", "key_file": folder / f"{name}.key"}


def trusting(path):
    return ssl.create_default_context(cafile=str(path))


def test_a_sender_that_trusts_the_certificate_is_served(door, tmp_path):
    files = certificate(tmp_path, "one")

    async def check():
        async with door.receiver(tmp_path, **files) as r:
            context = trusting(files["cert_file"])
            answer = await r.post(ssl=context, server_hostname="midwatch-operator")
            assert (answer.status, answer.said["written"]) == (200, 1)

    asyncio.run(check())


def test_a_standby_takes_the_leader_by_the_certificate_they_share(door, tmp_path):
    files, other = certificate(tmp_path, "one"), certificate(tmp_path, "other")

    async def check():
        async with door.receiver(tmp_path, **files) as leader:
            address = f"https://127.0.0.1:{leader.port}"
            context = trusting(files["cert_file"])
            async with door.receiver(tmp_path, leader=lambda: address, **files) as standby:
                answer = await standby.post(ssl=context, server_hostname="midwatch-operator")
                assert answer.status == 200
                assert len(leader.fleet.alerts) == 1
            async with door.receiver(tmp_path, leader=lambda: address, **other) as standby:
                context = trusting(other["cert_file"])
                answer = await standby.post(ssl=context, server_hostname="midwatch-operator")
                assert (answer.status, answer.said["reason"]) == (503, "LeaderSilent")

    asyncio.run(check())


def test_a_renewed_certificate_is_taken_without_a_restart(door, tmp_path, monkeypatch):
    monkeypatch.setattr(webhook_server, "RELOAD_S", 0.02)
    files, later = certificate(tmp_path, "one"), certificate(tmp_path, "later")

    async def shown(port):
        context = trusting(later["cert_file"])
        return await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="midwatch-operator"
        )

    async def is_taken(port):
        try:
            _, writer = await shown(port)
        except ssl.SSLError:
            return False
        writer.close()
        return True

    async def check():
        async with door.receiver(tmp_path, **files) as r:
            with pytest.raises(ssl.SSLError):
                await shown(r.port)
            (tmp_path / "one.key").write_text("torn")
            (tmp_path / "one.crt").write_bytes(later["cert_file"].read_bytes())
            await asyncio.sleep(0.06)  # a pair that does not fit is not taken
            with pytest.raises(ssl.SSLError):
                await shown(r.port)
            (tmp_path / "one.key").write_bytes(later["key_file"].read_bytes())
            async with asyncio.timeout(30.0):
                while not await is_taken(r.port):
                    await asyncio.sleep(0.02)

    asyncio.run(check())


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:http", "256.0.0.1:0"])
def test_an_address_that_cannot_be_used_is_told(door, listen):
    from aiohttp import web

    with pytest.raises(SettingsError, match="listen"):
        asyncio.run(webhook_server.serve(web.Application(), listen=listen))


def test_a_certificate_that_cannot_be_used_is_told(tmp_path):
    from aiohttp import web

    (tmp_path / "bad").write_text("no certificate")
    with pytest.raises(SettingsError, match="certFile"):
        asyncio.run(
            webhook_server.serve(
                web.Application(), listen="127.0.0.1:0", cert_file=tmp_path / "bad"
            )
        )
