"""Keys and certificates of one control plane, made by the program openssl in 0.1 s."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NAMES = "IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
DAYS = "30"


def make_certificates(folder: Path) -> None:
    """Write ca.crt, server.crt, server.key (for loopback), and sa.key, sa.pub for tokens."""
    if shutil.which("openssl") is None:
        raise AssertionError("the program openssl makes the certificates: install openssl")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extensions = folder / "server.ext"
    extensions.write_text(f"subjectAltName={NAMES}\nextendedKeyUsage=serverAuth\n")
    # fmt: off
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", DAYS,
            "-subj", "/CN=test-ca", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,digitalSignature")
    openssl(folder, "req", *curve, "-keyout", "server.key", "-out", "server.csr",
            "-subj", "/CN=127.0.0.1")
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "server.crt", "-days", DAYS, "-extfile", extensions.name)
    # fmt: on
    openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")
    openssl(folder, "ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    for key in folder.glob("*.key"):
        key.chmod(0o600)


def openssl(folder: Path, *argv: str) -> None:
    # A configuration of the machine could add extensions of its own.
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = none\n[none]\n")
    env = {**os.environ, "OPENSSL_CONF": str(folder / "openssl.cnf")}
    done = subprocess.run(["openssl", *argv], cwd=folder, capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"openssl {' '.join(argv)}: {done.stderr}"
