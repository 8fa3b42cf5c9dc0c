"""Parameters of the neural Granger model of all targets, and what they start from.

The equations are in `rca.granger`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GATE_MIN = 1e-3  # of a source at the start; a softmax never quite closes a gate


@dataclass(slots=True)
class Model:
    """Parameters of all targets. `logits` has one column more than sources: the empty source."""

    logits: Tensor  # [target, source + 1]
    log_size: Tensor  # log a_i, [target]
    target: Tensor  # v_i, [target, rank]
    source: Tensor  # Q_j, [source, dim, rank]

    def parameters(self) -> list[Tensor]:
        """All that is trained."""
        return [self.logits, self.log_size, self.target, self.source]

    def gates(self) -> Tensor:
        """G, [target, source + 1]; rows sum to 1, no series is its own source."""
        own = torch.eye(len(self.logits), self.logits.shape[1], dtype=torch.bool)
        return torch.softmax(self.logits.masked_fill(own, -torch.inf), dim=1)

    def weights(self) -> Tensor:
        """Coefficients of the whitened embeddings, [source, dim, target]."""
        direction = torch.einsum("jdr,ir->jdi", self.source, self.target)
        direction = direction / effect_size(direction).clamp(min=1e-6)[:, None, :]
        effect = self.log_size.exp()[:, None] * self.gates()[:, :-1]  # sd, [target, source]
        return direction * effect.T[:, None, :]


def started(h: Tensor, rest: Tensor, rank: int, generator: torch.Generator) -> Model:
    """A model whose gates follow what each source tells of each target when taken alone.

    The square of the correlation of h_j with i, less twice what chance gives, is the gate at the
    start; Q_j is the least-squares fit of the directions of j's strongest targets.
    """
    rows, num_series, dim = h.shape
    alone = torch.einsum("tjd,ti->jdi", h, rest) / rows  # regression on white regressors
    size = effect_size(alone).T  # [target, source]
    share = (size**2 - 2.0 * dim / rows).clamp(min=0.0).sqrt().fill_diagonal_(0.0)
    gates = torch.cat([share, share.new_full((num_series, 1), 0.1)], dim=1) + GATE_MIN
    target = torch.randn(num_series, rank, generator=generator)
    direction = alone / size.T.clamp(min=1e-6)[:, None, :]
    weight = (share**2 + GATE_MIN).T  # [source, target]
    gram = torch.einsum("ji,ir,is->jrs", weight, target, target)
    moment = torch.einsum("ji,jdi,ir->jdr", weight, direction, target)
    gram = gram + 1e-3 * torch.eye(rank)
    return Model(
        logits=gates.log(),
        log_size=gates.sum(dim=1).log(),
        target=target,
        source=torch.linalg.solve(gram, moment.transpose(1, 2)).transpose(1, 2).contiguous(),
    )


def effect_size(vectors: Tensor) -> Tensor:
    """Length along dim 1 of [source, dim, target]; `norm` is ten times slower on this axis."""
    return torch.sqrt((vectors * vectors).sum(dim=1) + 1e-12)
