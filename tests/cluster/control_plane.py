"""A Kubernetes control plane of plain processes on the loopback interface, RBAC and audit log on.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok, which plays nodes and the
phases of pods. Nothing in it runs a container: what a test wants to run, it starts as a process,
with the token of the ServiceAccount that the manifests ship.

Source: `kwokctl` and envtest for the flags; ready about 3 s after the start, about 520 MiB.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import ssl
import subprocess
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.api import Api, ApiError
from tests.cluster.audit import POLICY, AuditLog
from tests.cluster.binaries import Binaries
from tests.cluster.certificates import make_certificates
from tests.cluster.processes import WAIT_S, Program, free_ports

TRIES = 3
START_S = 240.0  # 3 s on an idle machine of two cores
COLD_START_STAGES = Path(__file__).parent / "controlplane" / "cold_start.yaml"
PEOPLE = {  # user: group, "" for none; the rights of the last are none at all
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "nobody": "",
}
STOP_ORDER = ("kwok", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
PODS = "10.244.0.0/16"


@dataclass(kw_only=True)
class ControlPlane:
    """One cluster; `start` returns once the service account default/default exists."""

    binaries: Binaries
    folder: Path
    programs: dict[str, Program] = field(default_factory=dict, init=False)
    server: str = field(default="", init=False)
    tokens: dict[str, str] = field(default_factory=dict, init=False)
    _admin: Api | None = field(default=None, init=False)

    def start(self) -> ControlPlane:
        """Start it; with other ports where somebody else took one of ours in between."""
        for tries_left in reversed(range(TRIES)):
            try:
                self._start()
            except BaseException as error:
                taken = any(
                    "address already in use" in p.log_text() for p in self.programs.values()
                )
                self.stop()
                if not (taken and tries_left and isinstance(error, AssertionError)):
                    raise
            else:
                return self
        raise AssertionError("not reached")

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        make_certificates(self.folder)
        self.tokens = {user: secrets.token_hex(16) for user in PEOPLE}
        lines = [
            f"{token},{user},uid-{number}" + (f',"{PEOPLE[user]}"' if PEOPLE[user] else "")
            for number, (user, token) in enumerate(self.tokens.items())
        ]
        write_private(self.folder / "tokens.csv", "\n".join(lines) + "\n")
        (self.folder / "audit-policy.json").write_text(json.dumps(POLICY))
        etcd, peer, api, manager, scheduler, kwok = free_ports(6)
        self.server = f"https://127.0.0.1:{api}"
        self._admin = Api(self.server, ca=self.ca, token=self.tokens["admin"])
        self._add("etcd", self._etcd(etcd, peer)).start()
        self._add("kube-apiserver", self._apiserver(api, etcd)).start()
        self._wait_for_api()
        manager_config = self.kubeconfig(
            "system:kube-controller-manager", self.tokens["system:kube-controller-manager"]
        )
        scheduler_config = self.kubeconfig(
            "system:kube-scheduler", self.tokens["system:kube-scheduler"]
        )
        self._add("kube-controller-manager", self._manager(manager, manager_config)).start()
        self._add("kube-scheduler", self._scheduler(scheduler, scheduler_config)).start()
        self._add("kwok", self._kwok(kwok)).start()
        for name, url in (
            ("kube-controller-manager", f"https://127.0.0.1:{manager}/healthz"),
            ("kube-scheduler", f"https://127.0.0.1:{scheduler}/healthz"),
            ("kwok", f"http://127.0.0.1:{kwok}/healthz"),
        ):
            self.programs[name].ready(lambda url=url: answers(url), timeout_s=START_S)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.programs["kube-controller-manager"].ready(
            lambda: self.admin.exists(account), timeout_s=START_S
        )

    def stop(self) -> None:
        """End it in the order that lets each part end; drop etcd's data, keep the logs."""
        if self._admin is not None:
            self._admin.close()
        for name in STOP_ORDER:
            if name in self.programs:
                self.programs[name].stop()
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    # What tests ask for.

    @property
    def admin(self) -> Api:
        """All rights; its requests are not in the audit log."""
        assert self._admin is not None, "the control plane was not started"
        return self._admin

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def audit(self) -> AuditLog:
        return AuditLog(self.folder / "audit.log")

    def api(self, token: str) -> Api:
        """A client with this token."""
        return Api(self.server, ca=self.ca, token=token)

    def token(self, namespace: str, account: str, *, seconds: int = 3600) -> str:
        """A token of a ServiceAccount by TokenRequest, as a pod's kubelet would ask for it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        spec = {"expirationSeconds": max(seconds, 600)}  # the server takes no less
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.admin.create(path, body)["status"]["token"])

    def kubeconfig(self, user: str, token: str | Path, *, server: str = "") -> Path:
        """Write a kubeconfig with this token, or with the file that holds it; returns its path.

        Args:
            server: another address of the same API server, e.g. a proxy's.
        """
        credentials = {"tokenFile": str(token)} if isinstance(token, Path) else {"token": token}
        ca = base64.b64encode(self.ca.read_bytes()).decode()
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": server or self.server,
                        "certificate-authority-data": ca,
                    },
                }
            ],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }
        path = self.folder / f"{user.replace(':', '-')}-{secrets.token_hex(3)}.kubeconfig"
        write_private(path, json.dumps(content))
        return path

    def kubectl(
        self, *argv: str | Path, kubeconfig: Path | None = None, text: str | None = None,
        check: bool = True, timeout_s: float = WAIT_S, env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run the kubectl of this version, as the admin if nothing else is said.

        Args:
            text: its standard input.

        Raises:
            AssertionError: it fails and `check` is set; with its words.
        """
        if kubeconfig is None:
            kubeconfig = self.folder / "admin.kubeconfig"
            if not kubeconfig.exists():
                self.kubeconfig("admin", self.tokens["admin"]).rename(kubeconfig)
        done = subprocess.run(
            [self.binaries.kubectl, f"--kubeconfig={kubeconfig}", *argv], input=text,
            capture_output=True, text=True, timeout=timeout_s,
            env={"HOME": str(self.folder), "PATH": os.defpath, **(env or {})},
        )  # fmt: skip
        said = f"kubectl {' '.join(map(str, argv))}: {done.stderr}"
        assert done.returncode == 0 or not check, said
        return done

    def restart_api_server(self, *, down_s: float = 0.0) -> None:
        """Stop the API server and start it again at the same address; returns when it is ready."""
        server = self.programs["kube-apiserver"]
        server.stop()
        time.sleep(down_s)
        server.start()
        self._wait_for_api()

    # The programs and their flags.

    def _add(self, name: str, argv: list[str | Path]) -> Program:
        program = Program(name=name, argv=argv, log=self.folder / f"{name}.log")
        self.programs[name] = program
        return program

    def _wait_for_api(self) -> None:
        def ready() -> bool:
            with suppress(ApiError):
                return self.admin.get("/readyz") == "ok"
            return False

        self.programs["kube-apiserver"].ready(ready, timeout_s=START_S)

    def _etcd(self, port: int, peer: int) -> list[str | Path]:
        own, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        return [
            self.binaries.etcd, f"--data-dir={self.folder}/etcd", f"--listen-client-urls={own}",
            f"--advertise-client-urls={own}", f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync", "--log-level=warn",
        ]  # fmt: skip

    def _apiserver(self, port: int, etcd: int) -> list[str | Path]:
        d = self.folder
        return [
            self.binaries.kube_apiserver, f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1", f"--secure-port={port}", "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/16",
            "--authorization-mode=RBAC", "--anonymous-auth=false",
            f"--token-auth-file={d}/tokens.csv", f"--tls-cert-file={d}/server.crt",
            f"--tls-private-key-file={d}/server.key", f"--client-ca-file={d}/ca.crt",
            f"--requestheader-client-ca-file={d}/ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={d}/sa.pub",
            f"--service-account-signing-key-file={d}/sa.key",
            f"--audit-policy-file={d}/audit-policy.json", f"--audit-log-path={d}/audit.log",
            "--audit-log-maxsize=4096", "--audit-log-mode=blocking",
            "--allow-privileged=true", "--profiling=false", "--v=1",
        ]  # fmt: skip

    def _manager(self, port: int, kubeconfig: Path) -> list[str | Path]:
        return [
            self.binaries.kube_controller_manager, *self._client(port, kubeconfig, "manager"),
            f"--service-account-private-key-file={self.folder}/sa.key",
            f"--root-ca-file={self.ca}", "--use-service-account-credentials=true",
            # Without ranges of their own, pods of two nodes get the same address from kwok.
            "--allocate-node-cidrs=true", f"--cluster-cidr={PODS}", "--node-cidr-mask-size=24",
            "--controllers=*,-cloud-node-lifecycle-controller",
        ]  # fmt: skip

    def _scheduler(self, port: int, kubeconfig: Path) -> list[str | Path]:
        return [self.binaries.kube_scheduler, *self._client(port, kubeconfig, "scheduler")]

    def _client(self, port: int, kubeconfig: Path, name: str) -> list[str]:
        return [
            f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}", "--bind-address=127.0.0.1",
            f"--secure-port={port}", f"--cert-dir={self.folder}/{name}", "--leader-elect=false",
            "--kube-api-qps=500", "--kube-api-burst=1000", "--v=1",
        ]  # fmt: skip

    def _kwok(self, port: int) -> list[str | Path]:
        return [
            self.binaries.kwok, f"--kubeconfig={self.kubeconfig('admin', self.tokens['admin'])}",
            f"--config={self.binaries.stages}", f"--config={COLD_START_STAGES}",
            "--manage-all-nodes", "--node-lease-duration-seconds=40", f"--cidr={PODS}",
            "--node-ip=127.0.0.1", f"--server-address=127.0.0.1:{port}",
        ]  # fmt: skip


def answers(url: str) -> bool:
    """Whether a health endpoint says yes; its certificate is its own and not looked at."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(url, timeout=2.0, context=context) as answer:
        return answer.status == 200


def write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
