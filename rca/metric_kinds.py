"""What a metric's name tells: its kind, which way is bad, and how far it names its own owner.

A catalogue of kinds of measurements, read from the words of a name. It knows no service, no data
set and no system. An unknown name is `OTHER`: it counts, in both directions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Measured(StrEnum):
    """What a metric measures."""

    CPU = "cpu"
    MEMORY = "memory"
    GPU = "gpu"
    DISK = "disk"
    NETWORK = "network"
    LATENCY = "latency"  # of requests that the owner serves
    CLIENT_LATENCY = "client-latency"  # of requests that the owner sends
    ERRORS = "errors"
    SUCCESS = "success"
    AVAILABILITY = "availability"
    TRAFFIC = "traffic"
    QUEUE = "queue"
    NODE = "node"  # of the machine below
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Sense:
    """How a metric is read.

    Attributes:
        bad: 1 where a rise is suspicious, -1 where a fall is, 0 where both are.
        weight: 0..1, how specific a change is for the metric's own owner. A resource names its
            owner; a latency also moves when somebody called is at fault, traffic when somebody
            calling is, a client's latency and a machine's load belong to others by definition.
        naming: 0..1, which metric of one owner is named once several are far off. Memory comes
            before CPU: a leak burns CPU, a CPU hog leaves memory alone.
    """

    kind: Measured
    bad: int
    weight: float
    naming: float


_SENSES = {
    Measured.CPU: (0, 1.0, 0.9),
    Measured.MEMORY: (0, 1.0, 1.0),
    Measured.GPU: (0, 1.0, 1.0),
    Measured.AVAILABILITY: (-1, 1.0, 0.9),
    Measured.OTHER: (0, 0.8, 0.7),
    Measured.ERRORS: (1, 0.8, 0.8),
    Measured.SUCCESS: (-1, 0.8, 0.8),
    Measured.LATENCY: (1, 0.8, 0.8),
    Measured.DISK: (0, 0.6, 0.7),
    Measured.NETWORK: (0, 0.6, 0.7),
    Measured.TRAFFIC: (0, 0.6, 0.6),
    Measured.QUEUE: (1, 0.6, 0.7),
    Measured.CLIENT_LATENCY: (1, 0.5, 0.5),
    Measured.NODE: (0, 0.3, 0.3),
}
# The first row that has one of a name's words, or the beginning of one, decides. What names a
# resource comes before what it does: a disk's latency is about the disk.
_ROWS: tuple[tuple[Measured, frozenset[str], tuple[str, ...]], ...] = (
    (Measured.NODE, frozenset({"node", "host", "machine"}), ()),
    (Measured.GPU, frozenset({"gpu", "dcgm", "hbm", "nvlink", "xid", "kv"}), ("gpu", "cuda")),
    # The page cache grows with files that are read, faults count accesses: neither is memory held.
    (Measured.DISK, frozenset({"cache", "cached"}), ("pagefault", "pgfault", "pgmajfault")),
    (
        Measured.MEMORY,
        frozenset({"mem", "rss", "heap", "oom", "swap", "gc", "wss"}),
        ("memory",),
    ),
    (Measured.CPU, frozenset({"load1", "load5", "load15"}), ("cpu", "throttl")),
    (
        Measured.DISK,
        frozenset({"disk", "fs", "iops", "io", "blkio", "sys", "inode", "inodes", "volume"}),
        ("disk", "filesystem"),
    ),
    (
        Measured.LATENCY,
        frozenset({"rt", "mrt", "ttft", "tpot", "itl", "elapsed", "delay", "p50", "p90", "p95",
                   "p99"}),
        ("latenc", "duration", "response"),
    ),
    (
        Measured.ERRORS,
        frozenset({"err", "errs", "5xx", "4xx", "500", "503", "dropped", "drops", "aborted"}),
        ("error", "fail", "exception", "timeout", "retr", "reject", "loss"),
    ),
    (Measured.SUCCESS, frozenset({"sr", "2xx", "200"}), ("success",)),
    (
        Measured.AVAILABILITY,
        frozenset({"up", "ready", "replicas", "alive"}),
        ("availab", "health", "restart"),
    ),
    (
        Measured.QUEUE,
        frozenset({"pending", "waiting", "backlog", "inflight", "pool", "lag"}),
        ("queue", "saturat", "preempt"),
    ),
    (
        Measured.TRAFFIC,
        frozenset({"load", "workload", "qps", "rps", "tps", "req", "reqs", "ops", "calls", "count",
                   "throughput", "traffic", "running", "tokens"}),
        ("request",),
    ),
    (
        Measured.NETWORK,
        frozenset({"net", "rx", "tx", "tcp", "udp", "receive", "transmit", "bandwidth", "conns"}),
        ("network", "socket", "packet", "connection", "netstat"),
    ),
)  # fmt: skip
_SENDING = frozenset({"client", "outbound", "upstream", "egress", "outgoing"})
_RESTARTS = ("restart",)
_FAILING = ("fail",)


@lru_cache(maxsize=65536)
def sense(metric: str) -> Sense:
    """Kind, bad direction and weight of a metric, from the words of its name."""
    words = [w for w in re.split(r"[^a-z0-9]+", _spaced(metric).lower()) if w]
    kind = _kind(words)
    if kind is Measured.MEMORY and any(w.startswith(_FAILING) for w in words):
        kind = Measured.DISK  # cAdvisor's memory failures are page faults
    if kind is Measured.LATENCY and _SENDING & set(words):
        kind = Measured.CLIENT_LATENCY
    bad, weight, naming = _SENSES[kind]
    if kind is Measured.AVAILABILITY and any(w.startswith(_RESTARTS) for w in words):
        bad = 1
    return Sense(kind, bad, weight, naming)


def _kind(words: list[str]) -> Measured:
    for kind, exact, stems in _ROWS:
        if any(word in exact or (bool(stems) and word.startswith(stems)) for word in words):
            return kind
    return Measured.OTHER


def _spaced(name: str) -> str:
    """Break camel case: `responseTime` has two words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name)
