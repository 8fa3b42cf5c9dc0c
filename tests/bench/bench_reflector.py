"""What watching pods costs: 200 fleets of 50 pods of 3.4 KiB. Run: make bench ONLY=reflector.

Writes tests/bench/results/reflector.json. Objects are as an API server 1.36 writes them. Told: heap
bytes a pod, microseconds of a watch event from its line to the stored row, milliseconds of a view
of a fleet, and the share of a core that 50 changes and a view of every fleet each second take.
Then once more with sockets: a process that imports what the operator imports lists the same pods
by pages from a small server and watches 50 changes a second; told are its own memory and CPU.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson
import yaml
from circumstances import circumstances

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.cluster_watch import ClusterWatch
from ops.adapters.kube.deployments import deployment_row
from ops.adapters.kube.events import event_row
from ops.adapters.kube.fields import Pool
from ops.adapters.kube.records import node_row, pod_row
from ops.adapters.kube.view import cluster_view

SEED = 7
FLEETS, PODS, NODES, CHANGES_S, ROUNDS = 200, 50, 300, 50, 7
PAGE, WATCHED_S = 250, 20
WANTED = {"bytes_per_pod": 2048, "cores": 1.0}  # cores: of the whole operator at this load
RESULT = Path(__file__).parent / "results" / "reflector.json"
T0 = "2026-11-30T12:00:00Z"
NOW_S = 1796040060.0
SELECTOR = {"app.kubernetes.io/part-of": "chat"}


def raw_pod(fleet: int, number: int, *, ready: bool = True, restarts: int = 0) -> dict:
    """A serving pod with everything that a server adds to it."""
    name, namespace = f"llm-9d95f77fb-{fleet:03d}{number:02d}", f"fleet-{fleet:03d}"
    return {
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": namespace, "generateName": "llm-9d95f77fb-",
            "uid": f"c005936f-f087-4460-ac4f-{fleet:06d}{number:06d}", "generation": 1,
            "resourceVersion": str(1000 + fleet * PODS + number), "creationTimestamp": T0,
            "labels": {
                "app.kubernetes.io/name": "llm", "midwatch.dev/engine": "vllm", **SELECTOR,
                "pod-template-hash": "9d95f77fb", "topology.kubernetes.io/region": "north",
                "topology.kubernetes.io/zone": "north-a",
            },
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8000"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "blockOwnerDeletion": True, "controller": True,
                "kind": "ReplicaSet", "name": "llm-9d95f77fb",
                "uid": "4c2c893b-3bf2-4ec3-b55f-61fd5a70edcc",
            }],
        },
        "spec": _raw_spec(f"node-{(fleet * PODS + number) % NODES:03d}"),
        "status": _raw_status(ready, restarts),
    }  # fmt: skip


def _raw_spec(node_name: str) -> dict:
    env = [{"name": f"SETTING_{k}", "value": f"value of setting {k}"} for k in range(4)]
    mounts = [("models", "/models"), ("shm", "/dev/shm"), ("kube-api-access", "/var/run/secrets")]
    taints = [f"node.kubernetes.io/{kind}" for kind in ("not-ready", "unreachable")]
    return {
        "containers": [{
            "name": "engine", "image": "registry.example/vllm/vllm-openai:v0.33.0",
            "args": ["--model", "/models/llama", "--max-model-len", "32768"],
            "env": env, "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 8000, "name": "http", "protocol": "TCP"}],
            "readinessProbe": {
                "failureThreshold": 3, "periodSeconds": 5, "timeoutSeconds": 1,
                "httpGet": {"path": "/health", "port": 8000, "scheme": "HTTP"},
            },
            "resources": {
                "limits": {"nvidia.com/gpu": "1"},
                "requests": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"},
            },
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "volumeMounts": [{"mountPath": path, "name": name} for name, path in mounts],
        }],
        "dnsPolicy": "ClusterFirst", "enableServiceLinks": True,
        "nodeName": node_name, "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority", "restartPolicy": "Always",
        "schedulerName": "default-scheduler", "securityContext": {},
        "serviceAccount": "default", "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [
            {"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300}
            for key in taints
        ],
        "volumes": [
            {"emptyDir": {}, "name": "models"},
            {"emptyDir": {"medium": "Memory"}, "name": "shm"},
            {"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}],
                               "name": "kube-root-ca.crt"}},
            ]}},
        ],
    }  # fmt: skip


def _raw_status(ready: bool, restarts: int) -> dict:
    conditions = [
        {"lastProbeTime": None, "lastTransitionTime": T0, "status": str(ready), "type": kind}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    return {
        "phase": "Running", "qosClass": "Burstable", "startTime": T0, "hostIP": "10.0.0.1",
        "podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.2"}], "conditions": conditions,
        "containerStatuses": [{
            "image": "registry.example/vllm/vllm-openai:v0.33.0", "name": "engine",
            "imageID": "registry.example/vllm/vllm-openai@sha256:" + "0" * 64,
            "lastState": {}, "ready": ready, "restartCount": restarts, "started": True,
            "state": {"running": {"startedAt": T0}},
        }],
    }  # fmt: skip


def raw_node(number: int) -> dict:
    labels = {"topology.kubernetes.io/region": "north"}
    return {
        "metadata": {"name": f"node-{number:03d}", "creationTimestamp": T0, "labels": labels},
        "status": {
            "allocatable": {"nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def raw_deployment(fleet: int) -> dict:
    template = {
        "metadata": {"labels": {"app.kubernetes.io/name": "llm", **SELECTOR}},
        "spec": {"containers": [{"name": "engine", "image": "vllm:1"}]},
    }
    meta = {"name": "llm", "namespace": f"fleet-{fleet:03d}", "creationTimestamp": T0}
    meta["annotations"] = {"deployment.kubernetes.io/revision": "3"}
    return {"metadata": meta, "spec": {"replicas": PODS, "template": template}, "status": {}}


def raw_event(fleet: int, number: int) -> dict:
    namespace = f"fleet-{fleet:03d}"
    about = f"llm-9d95f77fb-{fleet:03d}{number:02d}"
    return {
        "metadata": {"name": f"e{number}", "namespace": namespace, "creationTimestamp": T0},
        "involvedObject": {"kind": "Pod", "name": about, "namespace": namespace},
        "reason": "Unhealthy", "type": "Warning", "count": 1, "firstTimestamp": T0,
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
    }  # fmt: skip


def pages(pool: Pool):
    """Rows of all pods, page by page from JSON, as a reflector reads a list."""
    everybody = [(fleet, number) for fleet in range(FLEETS) for number in range(PODS)]
    for start in range(0, len(everybody), PAGE):
        items = [raw_pod(*who) for who in everybody[start : start + PAGE]]
        body = orjson.dumps({"items": items})
        del items
        yield [pod_row(raw, pool) for raw in orjson.loads(body)["items"]]


def fill(cache: ClusterCache, pool: Pool) -> dict[str, float]:
    """List everything; heap bytes per row of each sort."""
    sizes = {}
    for kind, rows in (
        (Resource.NODES, lambda: [node_row(raw_node(k), pool) for k in range(NODES)]),
        (Resource.PODS, lambda: [row for page in pages(pool) for row in page]),
        (Resource.DEPLOYMENTS, lambda: [
            deployment_row(raw_deployment(k), pool) for k in range(FLEETS)]),
        (Resource.EVENTS, lambda: [
            event_row(orjson.loads(orjson.dumps(raw_event(k, n))), pool)
            for k in range(FLEETS) for n in range(10)]),
    ):  # fmt: skip
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        cache.replace(kind, rows())
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        sizes[kind.value] = grown / cache.counts()[kind.value]
    return sizes


def line(rng: random.Random) -> bytes:
    """A watch event of any pod that has something to say."""
    pod = raw_pod(
        rng.randrange(FLEETS),
        rng.randrange(PODS),
        ready=rng.random() < 0.5,
        restarts=rng.randrange(1_000_000),
    )
    return orjson.dumps({"type": "MODIFIED", "object": pod})


def take(cache: ClusterCache, pool: Pool, lines: list[bytes]) -> float:
    """Microseconds of CPU an event."""
    began = time.process_time()
    for text in lines:
        cache.put(Resource.PODS, pod_row(orjson.loads(text)["object"], pool))
    return 1e6 * (time.process_time() - began) / len(lines)


def look(cache: ClusterCache, fleets: list[int]) -> float:
    """Milliseconds of CPU a view."""
    began = time.process_time()
    for fleet in fleets:
        view = cluster_view(
            cache, namespace=f"fleet-{fleet:03d}", match_labels=SELECTOR, now_s=NOW_S
        )
        assert len(view.pods or ()) == PODS
    return 1e3 * (time.process_time() - began) / len(fleets)


def second(cache: ClusterCache, pool: Pool, lines: list[bytes]) -> float:
    """CPU seconds of one second at the load: each change decoded and its fleet looked at again,
    then every fleet once.
    """
    began = time.process_time()
    for text in lines:
        row = pod_row(orjson.loads(text)["object"], pool)
        cache.put(Resource.PODS, row)
        cluster_view(cache, namespace=row.namespace, match_labels=SELECTOR, now_s=NOW_S)
    look(cache, list(range(FLEETS)))
    return time.process_time() - began


def measure() -> dict:
    rng = random.Random(SEED)
    pool, clock = Pool(), time.monotonic
    tracemalloc.start()
    cache = ClusterCache(clock=clock, wall=lambda: NOW_S)
    sizes = fill(cache, pool)
    tracemalloc.stop()
    every = list(range(FLEETS))
    built = [look(cache, every)]
    events, unchanged, seconds = [], [], []
    for _ in range(ROUNDS):
        events.append(take(cache, pool, [line(rng) for _ in range(2000)]))
        built.append(look(cache, every))
        unchanged.append(look(cache, every))
        lines = [line(rng) for _ in range(CHANGES_S)]
        seconds.append(second(cache, pool, lines))
    return {
        "pods": FLEETS * PODS,
        "pod_json_bytes": len(orjson.dumps(raw_pod(0, 0))),
        "heap_bytes_per_row": {name: round(size) for name, size in sizes.items()},
        "us_per_event": spread(events, 1),
        "ms_per_changed_view": spread(built, 3),
        "ms_per_unchanged_view": spread(unchanged, 4),
        "cores_at_50_changes_s": spread(seconds, 4),
        "max_resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


class Server(BaseHTTPRequestHandler):
    """Lists the fleets' pods by pages, the rest at once; a watch of pods tells of changes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        kind = parts.path.rpartition("/")[2]
        if "watch" in query:
            self.stream(kind, float(query["timeoutSeconds"]))
            return
        meta, items = {"resourceVersion": "1000000"}, []
        if kind == "pods":
            start, limit = int(query.get("continue", 0)), int(query["limit"])
            rest = FLEETS * PODS - start - limit
            items = [
                raw_pod(*divmod(k, PODS)) for k in range(start, start + min(limit, limit + rest))
            ]
            if rest > 0:
                meta["continue"] = str(start + limit)
        elif kind == "nodes":
            items = [raw_node(k) for k in range(NODES)]
        elif kind == "deployments":
            items = [raw_deployment(k) for k in range(FLEETS)]
        body = orjson.dumps({"metadata": meta, "items": items})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, kind: str, seconds: float) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        rng, until = random.Random(SEED), time.monotonic() + seconds
        while time.monotonic() < until:
            if kind == "pods":
                text = line(rng) + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            time.sleep(1.0 / CHANGES_S)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


def serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


def watch(port: int) -> None:
    """What the operator's own process would show; a JSON line of figures."""
    import ops.controller.process  # noqa: F401  for its imports

    kubeconfig = Path(f"/tmp/bench-reflector-{os.getpid()}.yaml")
    kubeconfig.write_text(yaml.safe_dump({
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}], "current-context": "x",
    }))  # fmt: skip
    try:
        api = KubeApi.connect(kubeconfig=kubeconfig)
    finally:
        kubeconfig.unlink()
    cache = ClusterCache()
    woken: set[str] = set()
    cache.subscribe(lambda resource, namespace: woken.add(namespace))
    whole = ClusterWatch(api, cache)
    before_mb, began_cpu, began = resident_mb(), time.process_time(), time.monotonic()
    whole.start()
    while not all(cache.listed(kind) for kind in Resource):
        time.sleep(0.01)
    listed_s, listed_cpu = time.monotonic() - began, time.process_time() - began_cpu
    woken.clear()
    fleets = [f"fleet-{k:03d}" for k in range(FLEETS)]
    for name in fleets:
        cluster_view(cache, namespace=name, match_labels=SELECTOR, now_s=NOW_S)
    full_mb, began_cpu, began = resident_mb(), time.process_time(), time.monotonic()
    events = whole.tallies()["pods"].events
    while time.monotonic() - began < WATCHED_S:
        time.sleep(0.1)
        names, woken_now = list(woken), woken.clear()
        assert woken_now is None
        for name in names:
            cluster_view(cache, namespace=name, match_labels=SELECTOR, now_s=NOW_S)
    seen = whole.tallies()["pods"].events - events
    figures = {
        "pods": cache.counts()["pods"],
        "list_s": round(listed_s, 2),
        "list_cpu_s": round(listed_cpu, 2),
        "resident_mb": {"imports": round(before_mb), "listed_and_looked_at": round(full_mb),
                        "after_watching": round(resident_mb())},
        "changes_per_s": round(seen / WATCHED_S, 1),
        "cores": round((time.process_time() - began_cpu) / WATCHED_S, 4),
    }  # fmt: skip
    print(orjson.dumps(figures).decode())
    os._exit(0)  # the watches are open for a while


def with_sockets() -> dict:
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        port = server.stdout.readline().decode().strip()
        done = subprocess.run(
            [sys.executable, __file__, "watch", port], capture_output=True, check=True
        )
    finally:
        server.terminate()
        server.wait()
    return orjson.loads(done.stdout.splitlines()[-1])


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def spread(found: list[float], digits: int) -> dict[str, float]:
    return {
        "min": round(min(found), digits),
        "median": round(statistics.median(found), digits),
        "max": round(max(found), digits),
    }


def main() -> int:
    figures = {
        **circumstances(seed=SEED),
        "wanted": WANTED,
        **measure(),
        "with_sockets": with_sockets(),
    }
    rows = figures["heap_bytes_per_row"]
    print(f"{figures['pods']:,} pods of {figures['pod_json_bytes']} B of JSON: {rows['pods']} B of "
          f"heap each (wanted {WANTED['bytes_per_pod']}); an Event {rows['events']} B, a node "
          f"{rows['nodes']} B, a Deployment {rows['deployments']} B")  # fmt: skip
    print(f"a watch event: {figures['us_per_event']['median']} us from line to row; a view of "
          f"{PODS} pods: {figures['ms_per_changed_view']['median']} ms after a change, "
          f"{figures['ms_per_unchanged_view']['median']} ms without")  # fmt: skip
    print(f"{FLEETS} fleets, {CHANGES_S} changes/s, all looked at once a second: "
          f"{figures['cores_at_50_changes_s']['median']} cores")  # fmt: skip
    live = figures["with_sockets"]
    memory = live["resident_mb"]
    print(f"with sockets: {live['pods']:,} pods listed in {live['list_s']} s ({live['list_cpu_s']} "
          f"CPU s); {memory['imports']} MB with the operator's imports, "
          f"{memory['listed_and_looked_at']} MB with the pods, {memory['after_watching']} MB after "
          f"{WATCHED_S} s of {live['changes_per_s']} changes/s: {live['cores']} cores")  # fmt: skip
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    missed = rows["pods"] > WANTED["bytes_per_pod"]
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["watch"]:
        watch(int(sys.argv[2]))
    else:
        sys.exit(main())
