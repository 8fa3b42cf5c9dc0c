from __future__ import annotations

from serving.policies import batch_policy
from serving.sim.cost_model import CostModel
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel
from serving.state import FinishReason, InstanceConfig, Request


def test_a_lone_request_gets_its_first_token_then_its_end() -> None:
    kernel = Kernel()
    cost_model = CostModel.of(gpu="A100", model="llama-2-7b")
    instance = SimInstance(
        kernel,
        "a",
        config=InstanceConfig(num_blocks=cost_model.kv_blocks()),
        policy=batch_policy("chunked-prefill", token_budget=512),
        cost_model=cost_model,
    )
    seen: list[tuple[float, object]] = []
    request = Request(request_id=1, arrival_s=0.0, num_prompt_tokens=100, num_output_tokens=20)
    assert instance.submit(
        request, lambda t: seen.append((t, "first")), lambda t, why: seen.append((t, why))
    )
    kernel.run_until(60.0)
    assert [what for _, what in seen] == ["first", FinishReason.STOP]
    assert 0.0 < seen[0][0] < seen[1][0] < 1.0
    instance.instance.check_invariants()
