"""GPUs of scenarios: what stands beside figures whose times no table gave."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.replay.experiment import make_plan
from ops.replay.hardware import engine_text, unfitted_notes
from ops.replay.scenario import EngineSpec
from serving.sim.profile_files import find_gpu, gpu_keys

UNFITTED = "llama-3.1-8b on H200 (unfitted: efficiencies of H100@vllm-0.24.0)"
LINKS = "llama-3.1-8b on 2 × RTX-4090@vllm-0.19.0 (all-reduce unfitted)"


def engine(gpu: str, num_gpus: int = 1) -> EngineSpec:
    return EngineSpec(name="llm", gpu=gpu, model="llama-3.1-8b", tp_degree=num_gpus)


def test_fitted_times_need_no_note():
    for gpu in ("A100", "H100@vllm-0.24.0", "RTX-4090"):
        assert unfitted_notes(engine(gpu)) == ()
    assert engine_text(engine("A100", 4)) == "llama-3.1-8b on 4 × A100"


@pytest.mark.parametrize(
    ("of", "text"), [(engine("H200"), UNFITTED), (engine("RTX-4090", 2), LINKS)]
)
def test_borrowed_times_are_told_in_text_and_note(of, text):
    assert engine_text(of) == text
    (note,) = unfitted_notes(of)
    assert text in note


@pytest.mark.parametrize("gpu", gpu_keys())
def test_the_label_says_unfitted_exactly_where_a_note_does(gpu):
    for num_gpus in (1, 4):
        of = engine(gpu, num_gpus)
        assert ("unfitted" in engine_text(of)) == bool(unfitted_notes(of))


def test_a_plan_on_borrowed_times_notes_it(sim):
    scenario = sim.scenario(duration_s=20.0)
    scenario = replace(
        scenario,
        engine=replace(scenario.engine, gpu="H200"),
        traffic=replace(scenario.traffic, load=0.0),
    )
    (note,) = [n for n in make_plan(scenario, seed=1).notes if "unfitted" in n]
    assert "H200" in note


def test_gpu_memory_is_that_of_the_profile(sim):
    scenario = sim.scenario(duration_s=20.0)
    card = replace(scenario.engine, gpu="RTX-4090", model="llama-3.1-8b", tp_degree=1)
    fleet = sim.start(replace(scenario, engine=card), rate_rps=1.0)
    pod = sim.pods(fleet, "llm")[0]
    fleet.run_until(12.0)
    (gpu,) = pod.gpus
    total_mib = find_gpu("RTX-4090").memory_gib * 1024.0
    assert gpu.fb_used_mib == pytest.approx(card.kv_memory_ratio * total_mib)
    assert gpu.fb_used_mib + gpu.fb_free_mib == pytest.approx(total_mib)
