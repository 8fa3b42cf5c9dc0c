"""Scenario files: good ones load, bad ones name every problem, the documentation is complete."""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from ops.errors import ScenarioError
from ops.replay import scenario as types
from ops.replay import scenario_limits as limits
from ops.replay.faults import CATALOGUE
from ops.replay.meters import TPOT_BOUNDS_S, TTFT_BOUNDS_S
from ops.replay.scenario import Scenario
from ops.replay.scenario_file import BYTES_MAX, RegionRtt, load_scenario, parse_scenario, toml_key
from ops.replay.scenarios import embedded_names, load_embedded
from ops.replay.visits import compile_visits
from ops.state import SloTarget

ROOT = Path(__file__).resolve().parents[3]
BASE = """
[scenario]
name = "base"
duration_s = 900
warmup_s = 300.0

[[region]]
name = "north"
traffic_share = 0.6
[[region]]
name = "south"
traffic_share = 0.4

[[region_rtt]]
a = "north"
b = "south"
rtt_s = 0.05

[[service]]
name = "edge"
entry = true
[[service.call]]
to = "store"
retries = 1
[[service.call]]
to = "llm"
timeout_s = 60.0

[[service]]
name = "store"
[[service.call]]
to = "disk"

[[service]]
name = "disk"
regions = ["north", "south"]

[engine]
name = "llm"

[client]
class_shares = { fast = 0.75, slow = 0.25 }

[traffic]
load = 0.5

[telemetry]
not_collected = ["gpu_sm_clock"]

[[slo]]
name = "fast"
ttft_s = 2.0
tpot_s = 0.1
[[slo]]
name = "slow"
ttft_s = 5.0
tpot_s = 0.2

[[fault]]
kind = "cpu-hog"
start_s = 400
length_s = 200
target = "service:north/store"

[[change]]
kind = "deploy"
at_s = 350
region = "south"
service = "disk"

[steady_state]
good_ratio = 0.97
"""


def swap(old: str, new: str, count: int = 1) -> str:
    """BASE with its first `count` occurrences of `old` replaced."""
    assert old in BASE
    return BASE.replace(old, new, count)


def after(anchor: str, line: str) -> str:
    """BASE with one more line after the line `anchor`."""
    return swap(f"{anchor}\n", f"{anchor}\n{line}\n")


REGION, EDGE, STORE, DISK = 'name = "north"', "entry = true", 'name = "store"', 'name = "disk"'
ENGINE, CALL, FAULT = 'name = "llm"', 'to = "store"', 'kind = "cpu-hog"'
CIRCLE = swap('to = "disk"', 'to = "edge"')
WIDE = "".join(
    f'[[service]]\nname = "s{i}"\n' + f'[[service.call]]\nto = "s{i + 1}"\n' * 2 for i in range(40)
)

# (id, text, what the message must hold)
BAD: list[tuple[str, bytes | str, str]] = [
    # not a scenario at all
    ("empty", "", "scenario.name: missing"),
    ("empty bytes", b"", "region: missing"),
    ("blank", " \n\n", "engine: missing"),
    ("binary", bytes(range(256)) * 8, "is not UTF-8"),
    ("gzip", b"\x1f\x8b\x08\x00\x00", "is not UTF-8"),
    ("utf-16", BASE.encode("utf-16"), "is not UTF-8"),
    ("zero bytes", b"\0" * 100, "not valid TOML"),
    ("truncated in a string", BASE[: BASE.index("south") + 2], "not valid TOML"),
    ("truncated in a header", BASE[: BASE.index("[engine]") + 4], "not valid TOML"),
    ("truncated after a header", BASE[: BASE.index("[engine]")], "engine: missing"),
    ("json", '{"scenario": {}}', "not valid TOML"),
    ("yaml", "scenario:\n  name: x\n", "not valid TOML"),
    ("csv", "a,b,c\n1,2,3\n", "not valid TOML"),
    ("huge", b"#" * (BYTES_MAX + 1), "larger than"),
    ("a key twice", after("[scenario]", 'name = "again"'), "not valid TOML"),
    ("a table twice", BASE + "[engine]\n", "not valid TOML"),
    ("deep brackets", "a = " + "[" * 100_000, "nested too deeply"),
    ("deep keys", "a." * 50_000 + "a = 1", "dots"),
    ("deep header", "[" + "a." * 40 + "a]\n" + "b = 1\n" * 3, "dots"),
    ("a number of 5000 digits", after("[traffic]", "diurnal = " + "9" * 5000), "not valid TOML"),
    ("a number of 5000 hex digits", after("[traffic]", "diurnal = 0x" + "f" * 5000), "20000 bits"),
    ("lone surrogate", "a = '\ud800'", "known key"),
    # keys
    ("unknown table", BASE + "[weather]\n", "weather: 'weather' is no known key"),
    ("unknown root key", "speed = 1\n" + BASE, "speed: 'speed' is no known key"),
    ("plural table", BASE + "[[services]]\n", "did you mean 'service'"),
    ("key of scenario", after("[scenario]", "length_s = 5"), "scenario.length_s"),
    ("key of region", after(REGION, "nodes = 5"), "region[0].nodes"),
    ("key of service", after(STORE, "replica = 5"), "did you mean 'replicas'"),
    ("key of call", after(CALL, "retry = 5"), "service[0].call[0].retry"),
    ("key of engine", after(ENGINE, "tp = 5"), "engine.tp"),
    ("key of slo", after('name = "slow"', "p99 = 5"), "slo[1].p99"),
    ("key of fault", after(FAULT, "lenght_s = 5"), "did you mean 'length_s'"),
    ("key of change", after("at_s = 350", "x = 5"), "change[0].x"),
    ("odd key", after("[traffic]", '"a\\nb" = 5'), r"traffic.'a\nb'"),
    ("missing name", swap('name = "base"\n', ""), "scenario.name: missing"),
    ("missing share", swap("traffic_share = 0.6\n", ""), "region[0].traffic_share: missing"),
    ("missing callee", swap('to = "disk"\n', ""), "service[1].call[0].to: missing"),
    ("missing start", swap("start_s = 400\n", ""), "fault[0].start_s: missing"),
    ("missing limit", swap("tpot_s = 0.2\n", ""), "slo[1].tpot_s: missing"),
    # types
    ("scenario is a number", "scenario = 5\n" + BASE.replace("[scenario]", "[x]"), "scenario: 5"),
    ("table for an array", "region = {}\n[scenario]\nname='a'", "region: a table where an array"),
    ("array for a table", swap("[engine]", "[[engine]]"), "engine: an array of 1 where a table"),
    ("entries are no tables", "fault = [1, 2]\n" + BASE.split("[[fault]]")[0], "fault[1]: 2"),
    ("number for a string", swap('name = "base"', "name = 5"), "scenario.name: 5 where a string"),
    ("string for a number", swap("load = 0.5", 'load = "0.5"'), "traffic.load: '0.5' where a num"),
    ("string for a whole number", swap("retries = 1", "retries = 'x'"), "service[0].call[0].ret"),
    ("float for a whole number", swap("retries = 1", "retries = 1.0"), "1.0 where a whole number"),
    ("boolean for a number", swap("load = 0.5", "load = true"), "traffic.load: True where a num"),
    ("number for a boolean", swap("entry = true", "entry = 1"), "service[0].entry: 1 where true"),
    ("date for a number", swap("load = 0.5", "load = 2026-01-01"), "traffic.load"),
    ("date for a string", swap('to = "disk"', "to = 2026-01-01"), "service[1].call[0].to"),
    ("string for strings", swap('["gpu_sm_clock"]', '"x"'), "telemetry.not_collected: 'x' where"),
    ("number in strings", swap('["gpu_sm_clock"]', "[1]"), "telemetry.not_collected[0]: 1 where"),
    ("array for shares", swap("{ fast = 0.75, slow = 0.25 }", "[1.0]"), "client.class_shares: an"),
    ("string in shares", swap("fast = 0.75", "fast = 'x'"), "client.class_shares.fast: 'x' where"),
    # values
    ("nan", swap("load = 0.5", "load = nan"), "traffic.load: nan is no finite number"),
    ("infinite", swap("load = 0.5", "load = inf"), "traffic.load: inf is no finite number"),
    ("minus infinite", swap("at_s = 350", "at_s = -inf"), "change[0].at_s: -inf"),
    ("nan share", swap("fast = 0.75", "fast = nan"), "client.class_shares.fast: nan"),
    ("nan limit", swap("ttft_s = 2.0", "ttft_s = nan"), "slo[0].ttft_s: nan"),
    ("negative", swap("load = 0.5", "load = -0.5"), "traffic.load: -0.5 is out of range"),
    ("negative start", swap("start_s = 400", "start_s = -1"), "fault[0].start_s: -1 is out of"),
    ("negative count", after(STORE, "replicas = -2"), "service[1].replicas: -2 is out of range"),
    ("no replica", after(STORE, "replicas = 0"), "service[1].replicas: 0"),
    ("huge number", after(STORE, "workers = 99999999999"), "service[1].workers: 99999999999"),
    ("huge float", swap("duration_s = 900", "duration_s = 1e300"), "scenario.duration_s: 1e+300"),
    ("zero duration", swap("duration_s = 900", "duration_s = 0"), "scenario.duration_s: 0"),
    ("ratio above one", after("[telemetry]", "gap_ratio = 1.5"), "telemetry.gap_ratio: 1.5"),
    ("target ratio of one", after("ttft_s = 2.0", "target_ratio = 1.0"), "slo[0].target_ratio"),
    ("bad choice", after(ENGINE, 'dispatch = "least-load"'), "did you mean 'least-loaded'"),
    ("bad batch policy", after(ENGINE, 'batch_policy = "x"'), "engine.batch_policy: 'x'"),
    ("bad sort of change", swap('kind = "deploy"', 'kind = "party"'), "change[0].kind: 'party'"),
    ("empty kind", swap(FAULT, 'kind = ""'), "fault[0].kind: '' is no valid name"),
    ("empty model", after(ENGINE, 'model = " "'), "engine.model: empty"),
    ("control characters", after("[traffic]", 'trace = "a\\u0007"'), "traffic.trace"),
    ("long string", after("[traffic]", f'trace = "{"a" * 5000}"'), "traffic.trace"),
    ("upper case name", swap('name = "disk"', 'name = "Disk"'), "service[2].name: 'Disk' is no"),
    ("slash in a name", swap('name = "disk"', 'name = "a/b"'), "service[2].name: 'a/b'"),
    ("arrow in a name", swap('name = "disk"', 'name = "a->b"'), "service[2].name: 'a->b'"),
    ("newline in a name", swap('name = "disk"', 'name = "a\\n"'), r"service[2].name: 'a\n'"),
    ("long name", swap('name = "disk"', f'name = "{"d" * 41}"'), "service[2].name"),
    ("empty name", swap('name = "south"', 'name = ""'), "region[1].name: '' is no valid name"),
    ("too many regions", BASE + "[[region]]\n" * 15, "region: 17 entries, at most 16"),
    # references
    ("dangling call", swap('to = "store"', 'to = "stroe"'), "did you mean 'store'"),
    ("unknown region", swap('["north", ', '["nort", '), "service[2].regions[0]: 'nort' is no"),
    ("region listed twice", swap('["north", "south"', '["north", "north"'), "regions[1]: 'north'"),
    ("callee is elsewhere", swap('["north", "south"]', '["north"]'), "does not run in south"),
    ("entry is elsewhere", after(EDGE, 'regions = ["north"]'), "does not run in south"),
    ("same region twice", swap('name = "south"', 'name = "north"'), "region[1].name: 'north' is t"),
    ("same service twice", swap('name = "disk"', 'name = "store"'), "service[2].name: 'store' is"),
    ("same slo twice", swap('name = "slow"', 'name = "fast"'), "slo[1].name: 'fast' is taken"),
    ("engine named as a service", swap('name = "llm"', 'name = "disk"'), "engine.name: 'disk' is"),
    ("rtt to nowhere", swap('b = "south"', 'b = "west"'), "region_rtt[0].b: 'west' is no region"),
    ("rtt to itself", swap('b = "south"', 'b = "north"'), "region_rtt[0]: joins 'north'"),
    ("rtt twice", BASE + '[[region_rtt]]\na="south"\nb="north"\nrtt_s=0.1', "region_rtt[1]: north"),
    ("change of nothing", swap('service = "disk"', 'service = "disc"'), "change[0].service"),
    ("change nowhere", swap('region = "south"', 'region = "west"'), "change[0].region: 'west'"),
    ("target without a kind", swap("service:north", "north"), "fault[0].target: "),
    ("target of unknown kind", swap("service:north", "disk:north"), "fault[0].target: "),
    ("target in no region", swap("service:north", "service:west"), "fault[0].target: 'west'"),
    ("target is no service", swap("north/store", "north/shop"), "fault[0].target: 'shop'"),
    ("target is no link", swap("service:north/store", "link:north/edge->disk"), "fault[0].target"),
    # graph
    ("circle", CIRCLE, "edge -> store -> edge"),
    ("calls itself", swap('to = "disk"', 'to = "store"'), "store -> store"),
    ("no entry", swap("entry = true\n", ""), "service: none has entry = true"),
    ("engine never reached", swap('to = "llm"', 'to = "disk"'), "entry 'edge' never reaches the"),
    ("engine in the background", after('to = "llm"', "background = true"), "never reaches"),
    ("calls multiply", BASE.replace('to = "disk"', 'to = "s0"') + WIDE
     + '[[service]]\nname = "s40"\n', "visits, at most 512"),
    # sums, capacity, times
    ("shares of regions", swap("traffic_share = 0.6", "traffic_share = 0.5"), "sums to 0.9"),
    ("shares of classes", swap("fast = 0.75", "fast = 0.5"), "class_shares: shares sum to 0.75"),
    ("class without a limit", swap("fast = 0.75", "fats = 0.75"), "client.class_shares.fats"),
    ("class without a share", swap(", slow = 0.25", ""), "no share for the class 'slow'"),
    ("too few replicas at most", after(STORE, "replicas = 9"), "service[1].replicas: 9 is above"),
    ("memory of an idle pod", after(STORE, "memory_base_mib = 2000"), "service[1].memory_limit"),
    ("pod larger than a node", after(STORE, "cpu_limit_cores = 20"), "region[0].cores_per_node"),
    ("pods larger than all nodes", after(REGION, "cpu_nodes = 1\ncores_per_node = 4"),
     "region[0].cpu_nodes: the pods need 6 cores of CPU, 1 nodes have 4"),
    ("memory of all pods", after(REGION, "cpu_nodes = 1\nmemory_per_node_mib = 4096"), "6144 MiB"),
    ("instance larger than a node", after(REGION, "gpus_per_node = 2"), "engine.tp_degree: 4 GPUs"),
    ("too few GPUs", after(REGION, "gpu_nodes = 1\ngpus_per_node = 7"), "its GPU nodes hold 1"),
    ("too many instances", after(ENGINE, "instances = 5"), "is above engine.instances_max 4"),
    ("region with too many", after(REGION, "instances = 5"), "region[0].instances: 5 is above"),
    ("no instance at all", after(ENGINE, "instances = 0"), "no region has an instance"),
    ("GPU too small", after(ENGINE, 'gpu = "RTX-4090"'), "engine: llama-2-70b leaves"),
    ("unknown GPU", after(ENGINE, 'gpu = "A1000"'), "engine.gpu: 'A1000' is no gpu with coeff"),
    ("unknown model", after(ENGINE, 'model = "llama-2-7"'), "did you mean 'llama-2-7b'"),
    ("weights larger than memory", after(ENGINE, "tp_degree = 1"), "engine: llama-2-70b leaves"),
    ("heads not divided", after(ENGINE, "tp_degree = 3"), "engine: tp_degree is 3"),
    ("timeouts crossed", after("[client]", "total_timeout_s = 5"), "client.total_timeout_s: 5 s"),
    ("all warm-up", swap("warmup_s = 300.0", "warmup_s = 900.0"), "scenario.warmup_s: 900 s is"),
    ("late fault", swap("start_s = 400", "start_s = 900"), "fault[0].start_s: 900 s is not before"),
    ("long fault", swap("length_s = 200", "length_s = 600"), "the fault ends at 1000 s"),
    ("long ramp", after(FAULT, "ramp_s = 201"), "fault[0].ramp_s: 201 s is above"),
    ("late change", swap("at_s = 350", "at_s = 5000"), "change[0].at_s: 5000 s is not before"),
    ("late step", after("[traffic]", "step_at_s = 1000"), "traffic.step_at_s: 1000 s is not"),
    (
        "cache of API calls",
        after("[engine]", "prefix_cache = true").replace(
            "[traffic]", "[traffic]\nconversation_ratio = 0.0", 1
        ),
        "engine.prefix_cache: nothing to reuse in API calls alone",
    ),
    ("wild jitter", after("[telemetry]", "jitter_s = 5.0"), "telemetry.jitter_s: 5 s is not"),
]  # fmt: skip


def problems_of(raw: bytes | str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(raw, source="bad.toml")
    message = str(caught.value)
    assert message.startswith("bad.toml: ")
    assert len(message) < 40_000
    return message.splitlines()


@pytest.mark.parametrize(("raw", "expected"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
def test_a_bad_file_is_an_error_that_names_the_place(raw: bytes | str, expected: str) -> None:
    assert expected in "\n".join(problems_of(raw))


@pytest.mark.parametrize("cut", range(1, len(BASE), 97))
def test_a_file_cut_anywhere_is_read_or_refused_in_our_own_words(cut: int) -> None:
    try:
        parse_scenario(BASE[:cut].encode(), source="cut.toml")
    except ScenarioError as error:
        assert str(error).startswith("cut.toml: ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("load = 0.5", "load = nan"),
        ("traffic_share = 0.6", "traffic_share = -1"),
        ("traffic_share = 0.6", "traffic_share = 'x'"),
        ("fast = 0.75", "fast = 7"),
        ("duration_s = 900", "duration_s = -1"),
        ("start_s = 400", "start_s = inf"),
        ("entry = true", "entry = 'yes'"),
        ('to = "disk"', "to = 5"),
        ('to = "llm"', "to = 5"),
        ("[[region]]", '[[region]]\ncores_per_node = nan\ngpus_per_node = "eight"'),
        ('name = "store"', 'name = "store"\nreplicas = 1.5\nmemory_limit_mib = -5'),
        ('name = "llm"', 'name = "llm"\ntp_degree = 0\ninstances = -1'),
        ("ttft_s = 2.0", "ttft_s = 0"),
    ],
)
def test_a_value_at_fault_draws_no_follow_up_problems(old: str, new: str) -> None:
    lines = problems_of(swap(old, new))
    assert len(lines) - 2 == max(1, new.count("\n")), lines


def test_a_bad_name_does_not_break_what_refers_to_it() -> None:
    lines = problems_of(BASE.replace('"disk"', '"Disk"'))
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == ["service[2].name"]


def test_every_problem_is_reported_at_once() -> None:
    text = swap('to = "store"', 'to = "stroe"').replace("load = 0.5", "load = nan")
    text = text.replace('name = "disk"', 'name = "Disk"').replace("at_s = 350", "when = 350")
    lines = problems_of(text.replace("traffic_share = 0.6", "traffic_share = 0.5"))
    paths = {line.split(":")[0].strip() for line in lines[1:-1]}
    assert paths >= {
        "service[0].call[0].to",
        "traffic.load",
        "service[2].name",
        "change[0].when",
        "change[0].at_s",
        "region",
    }
    assert "docs/scenarios.md" in lines[-1]


def test_a_list_of_problems_without_end_is_cut_and_counted() -> None:
    assert len(problems_of(BASE + "".join(f"k{i} = 1\n" for i in range(2_000)))) < 110
    lines = problems_of(BASE + "[[fault]]\n" * 300)
    assert lines[0] == "bad.toml: 600 problems"  # kind and start_s of each
    assert lines[-2] == "  ... and 500 more"
    assert len(lines) == 103


LARGEST = {
    "faults": "[[fault]]\n" * 10_000,
    "services": "[[service]]\n[[service.call]]\n" * 4_500,
    "keys": "x = 1\n" + "".join(f"k{i} = '{'y' * 20}'\n" for i in range(4_000)),
    "deep header": "[" + "a." * 31 + "a]\n" + "".join(f"k{i}=1\n" for i in range(12_000)),
    "array": "a = [" + "1," * 65_000 + "]",
    "string": "a = '''" + "z" * 130_000 + "'''",
}


@pytest.mark.parametrize("raw", LARGEST.values(), ids=LARGEST)
@pytest.mark.slow
def test_a_file_of_the_largest_size_is_refused(raw: str) -> None:
    assert problems_of(raw)[0].startswith("bad.toml: ")


def test_a_good_file_gives_the_values_written_and_the_defaults() -> None:
    scenario = parse_scenario(BASE, source="base.toml")
    assert scenario == parse_scenario(b"\xef\xbb\xbf" + BASE.encode(), source="base.toml")
    assert scenario.duration_s == 900.0
    assert isinstance(scenario.duration_s, float)
    assert [region.name for region in scenario.regions] == ["north", "south"]
    assert scenario.regions[0].instances is None
    assert scenario.region_rtt_s == (("north", "south", 0.05),)
    assert scenario.services[0].calls[0] == types.CallSpec(to="store", retries=1)
    assert scenario.services[2].regions == ("north", "south")
    assert scenario.client.class_shares == (("fast", 0.75), ("slow", 0.25))
    assert scenario.telemetry.not_collected == ("gpu_sm_clock",)
    assert scenario.faults[0].target == "service:north/store"
    assert scenario.engine == types.EngineSpec(name="llm")
    assert scenario.steady_state.good_ratio == 0.97


def test_a_region_may_be_scaled_to_zero() -> None:
    scenario = parse_scenario(after('name = "south"', "instances = 0"), source="base.toml")
    assert scenario.regions[1].instances == 0


def test_files_that_cannot_be_read_are_our_own_error(tmp_path: Path) -> None:
    binary = tmp_path / "noise.toml"
    binary.write_bytes(bytes(range(256)))
    large = tmp_path / "large.toml"
    large.write_bytes(b" " * (BYTES_MAX + 1))
    for path, expected in (
        (tmp_path / "absent.toml", "does not exist"),
        (tmp_path, "is no regular file"),
        (Path("/dev/zero"), "is no regular file"),
        (Path("a\0b"), "a"),
        (binary, "is not UTF-8"),
        (large, "larger than"),
    ):
        with pytest.raises(ScenarioError, match=expected):
            load_scenario(path)


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "base.toml"
    path.write_text(BASE, encoding="utf-8")
    assert load_scenario(path) == parse_scenario(BASE, source="base.toml")


@pytest.mark.parametrize("name", embedded_names())
def test_embedded_scenarios_load_and_unfold(name: str) -> None:
    scenario = load_embedded(name)
    assert scenario.name == name
    compile_visits(scenario)
    for slo in scenario.slos:
        assert slo.ttft_s in TTFT_BOUNDS_S
        assert slo.tpot_s in TPOT_BOUNDS_S


def test_an_unknown_embedded_scenario_names_those_that_exist() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'chat'"):
        load_embedded("chatt")


def test_the_default_scenario_is_a_whole_product() -> None:
    scenario = load_embedded()
    assert len(scenario.regions) >= 2
    assert len(scenario.services) >= 10
    assert len({region.utc_offset_s for region in scenario.regions}) == len(scenario.regions)
    assert scenario.faults
    assert scenario.changes
    calls = [call for service in scenario.services for call in service.calls]
    assert any(call.background for call in calls)
    assert any(call.pool for call in calls)
    assert any(call.optional for call in calls)


def tables() -> dict[str, type]:
    """Heading in the documentation -> the dataclass whose keys it lists."""
    return {
        "[scenario]": Scenario,
        "[[region]]": types.RegionSpec,
        "[[region_rtt]]": RegionRtt,
        "[[service]]": types.ServiceSpec,
        "[[service.call]]": types.CallSpec,
        "[engine]": types.EngineSpec,
        "[client]": types.ClientSpec,
        "[traffic]": types.TrafficSpec,
        "[telemetry]": types.TelemetrySpec,
        "[[slo]]": SloTarget,
        "[[fault]]": types.FaultSpec,
        "[[change]]": types.ChangeSpec,
        "[steady_state]": types.SteadyState,
    }


def documented() -> dict[str, dict[str, list[str]]]:
    """Heading -> key -> cells of its row."""
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[str]]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
        heading = section.splitlines()[0].strip("` ")
        found[heading] = {row[0].strip("` "): [cell.strip() for cell in row[1:]] for row in rows}
    return found


def written(value: Any) -> str:
    """A default as the documentation writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        pairs = ", ".join(f"{name} = {share}" for name, share in value)
        return f"`{{ {pairs} }}`" if pairs else "`[]`"
    return f"{value:.12g}"


@pytest.mark.parametrize("heading", tables())
def test_every_key_is_documented_with_its_default_and_range(heading: str) -> None:
    cls = tables()[heading]
    rows, hints = documented()[heading], get_type_hints(cls)
    own = [f for f in fields(cls) if cls is not Scenario or hints[f.name] in (str, float)]
    assert [toml_key(f.name, hints[f.name]) for f in own] == list(rows)
    for field in own:
        _, _, default, range_, meaning = rows[toml_key(field.name, hints[field.name])]
        required = field.default is MISSING and field.default_factory is MISSING
        assert default == ("required" if required else written(field.default)), field.name
        name = f"{cls.__name__}.{field.name}"
        if name in limits.RANGES:
            low, high = limits.RANGES[name]
            assert range_ == f"{low:.12g} to {high:.12g}", field.name
        elif name in limits.CHOICES:
            assert range_ == ", ".join(f"`{choice}`" for choice in limits.CHOICES[name])
        assert meaning, field.name


def test_every_table_of_a_scenario_is_documented() -> None:
    hints = get_type_hints(Scenario)
    keys = {toml_key(name, hint) for name, hint in hints.items() if hint not in (str, float)}
    assert keys == {heading.strip("[]") for heading in tables()} - {"scenario", "service.call"}


def test_every_number_has_a_range_that_holds_its_default_and_no_range_is_left_over() -> None:
    seen = set()
    for cls in tables().values():
        for field in fields(cls):
            name, hint = f"{cls.__name__}.{field.name}", get_type_hints(cls)[field.name]
            if hint not in (int, float, int | None, tuple[tuple[str, float], ...]):
                continue
            seen.add(name)
            low, high = limits.RANGES[name]
            if isinstance(field.default, int | float):
                assert low <= field.default <= high, name
    assert seen == set(limits.RANGES)


def test_every_kind_of_fault_is_documented() -> None:
    assert list(documented()["Kinds of faults"]) == list(CATALOGUE)


def test_the_example_of_the_documentation_is_a_valid_file() -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    assert tomllib.loads(example)
    assert parse_scenario(example, source="example").name == "shop-assistant"
