"""Which values a scenario may hold: range of every number, choices and forms of strings.

Keys, types and defaults are not here: they come from the dataclasses of `ops.replay.scenario`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from serving.policies import BATCH_POLICIES

# "Type.field" -> smallest and largest value allowed, both included, in the field's own unit.
RANGES: Mapping[str, tuple[float, float]] = {
    "Scenario.duration_s": (60.0, 2_678_400.0),
    "Scenario.warmup_s": (0.0, 86_400.0),
    "RegionSpec.traffic_share": (0.0, 1.0),
    "RegionSpec.cpu_nodes": (1, 64),
    "RegionSpec.cores_per_node": (0.5, 1024.0),
    "RegionSpec.memory_per_node_mib": (256.0, 16_777_216.0),
    "RegionSpec.gpu_nodes": (0, 64),
    "RegionSpec.gpus_per_node": (1, 16),
    "RegionSpec.utc_offset_s": (-43_200.0, 50_400.0),
    "RegionSpec.rtt_s": (0.0, 1.0),
    "RegionSpec.registry_mib_per_s": (0.1, 100_000.0),
    "RegionSpec.instances": (0, 64),
    "RegionRtt.rtt_s": (0.0, 10.0),
    "ServiceSpec.replicas": (1, 64),
    "ServiceSpec.replicas_max": (1, 128),
    "ServiceSpec.hpa_cpu_ratio": (0.0, 1.0),
    "ServiceSpec.cpu_ms": (0.01, 60_000.0),
    "ServiceSpec.cpu_cv": (0.0, 5.0),
    "ServiceSpec.cpu_limit_cores": (0.01, 256.0),
    "ServiceSpec.workers": (1, 100_000),
    "ServiceSpec.queue_max": (0, 1_000_000),
    "ServiceSpec.memory_base_mib": (1.0, 1_048_576.0),
    "ServiceSpec.memory_per_call_mib": (0.0, 65_536.0),
    "ServiceSpec.memory_limit_mib": (1.0, 1_048_576.0),
    "ServiceSpec.start_s": (0.0, 3600.0),
    "ServiceSpec.image_mib": (0.0, 100_000.0),
    "CallSpec.timeout_s": (0.001, 3600.0),
    "CallSpec.retries": (0, 10),
    "CallSpec.retry_backoff_s": (0.0, 60.0),
    "CallSpec.pool": (0, 100_000),
    "CallSpec.pool_timeout_s": (0.0, 3600.0),
    "CallSpec.probability": (0.0, 1.0),
    "EngineSpec.tp_degree": (1, 16),
    "EngineSpec.instances": (0, 64),
    "EngineSpec.instances_max": (1, 128),
    "EngineSpec.hpa_queue": (0.0, 10_000.0),
    "EngineSpec.token_budget": (16, 65_536),
    "EngineSpec.sequences_max": (1, 4096),
    "EngineSpec.block_tokens": (1, 1024),
    "EngineSpec.kv_memory_ratio": (0.1, 1.0),
    "EngineSpec.queue_max": (0, 1_000_000),
    "EngineSpec.image_mib": (0.0, 1_000_000.0),
    "EngineSpec.schedule_s": (0.0, 3600.0),
    "EngineSpec.load_weights_s": (0.0, 3600.0),
    "EngineSpec.boot_s": (0.0, 3600.0),
    "EngineSpec.warmup_s": (0.0, 3600.0),
    "ClientSpec.first_token_timeout_s": (0.1, 3600.0),
    "ClientSpec.total_timeout_s": (0.1, 86_400.0),
    "ClientSpec.retries": (0, 10),
    "ClientSpec.retry_backoff_s": (0.0, 600.0),
    "ClientSpec.cancel_ratio": (0.0, 1.0),
    "ClientSpec.class_shares": (0.0, 1.0),
    "TrafficSpec.load": (0.0, 5.0),
    "TrafficSpec.conversation_ratio": (0.0, 1.0),
    "TrafficSpec.diurnal": (0.0, 1.0),
    "TrafficSpec.step_at_s": (0.0, 2_678_400.0),
    "TrafficSpec.step_ratio": (0.01, 100.0),
    "TelemetrySpec.scrape_s": (1.0, 300.0),
    "TelemetrySpec.gpu_collect_s": (1.0, 600.0),
    "TelemetrySpec.delay_s": (0.0, 120.0),
    "TelemetrySpec.jitter_s": (0.0, 60.0),
    "TelemetrySpec.gap_ratio": (0.0, 1.0),
    "SloTarget.ttft_s": (0.001, 3600.0),
    "SloTarget.tpot_s": (0.0001, 60.0),
    "SloTarget.target_ratio": (0.5, 0.99999),
    "FaultSpec.start_s": (0.0, 2_678_400.0),
    "FaultSpec.length_s": (0.0, 2_678_400.0),
    "FaultSpec.severity": (0.0, 100.0),
    "FaultSpec.ramp_s": (0.0, 86_400.0),
    "ChangeSpec.at_s": (0.0, 2_678_400.0),
    "SteadyState.good_ratio": (0.0, 1.0),
}

# "Type.field" -> the values allowed.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "EngineSpec.batch_policy": tuple(BATCH_POLICIES),
    "EngineSpec.dispatch": ("least-loaded", "round-robin"),  # no router of prefixes yet
    "ChangeSpec.kind": ("deploy", "config", "flag", "scale", "reschedule"),
}

# Strings that become names of pods, files or entities: "/" , ":" and "->" separate there.
NAMED = frozenset(
    {
        "Scenario.name",
        "RegionSpec.name",
        "ServiceSpec.name",
        "EngineSpec.name",
        "SloTarget.name",
        "FaultSpec.kind",
    }
)
NAME_CHARS_MAX = 40  # leaves room for what pods append within the 63 of DNS
NAME = re.compile(rf"(?=.{{1,{NAME_CHARS_MAX}}}\Z)[a-z0-9]+(?:-+[a-z0-9]+)*")

MAY_BE_EMPTY = frozenset({"FaultSpec.target"})
STRING_CHARS_MAX = 1000

# Most entries of each array; a key that is not here may hold LENGTH_MAX.
LENGTHS_MAX: Mapping[str, int] = {
    "Scenario.regions": 16,
    "Scenario.services": 100,
    "Scenario.slos": 16,
    "ServiceSpec.calls": 50,
}
LENGTH_MAX = 500
