"""What the instances of a scenario run on, in words that say where times are unfitted."""

from __future__ import annotations

from ops.replay.scenario import EngineSpec
from serving.sim.profile_files import find_gpu


def engine_text(engine: EngineSpec) -> str:
    """Model and GPUs of one instance, as "llama-2-70b on 4 × A100"; stands beside its figures."""
    return f"{engine.model} on {find_gpu(engine.gpu).label_of(engine.tp_degree)}"


def unfitted_notes(engine: EngineSpec) -> tuple[str, ...]:
    """What to say of times that no table of this GPU gave; nothing where all are fitted."""
    if find_gpu(engine.gpu).is_fitted_for(engine.tp_degree):
        return ()
    return (f"times of {engine_text(engine)} are in part another GPU's: an ordering at best",)
