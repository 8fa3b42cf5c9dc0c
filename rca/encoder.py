"""Contrastive encoder of time series: windows -> embeddings of the row at their end.

Decomposition, views, the encoder and its training on normal rows. What is done with embeddings
lies in `rca.granger`. Axes are named in this order everywhere: [batch, series, time, dim].

Source: RUN (AAAI 2024), stage 1: two overlapping windows give one row two contexts, and the
embeddings of that row must agree; predictor on one view, stop-gradient on the other, no negatives.
Differs: the views are different crops, the decomposition runs along time only, positives are
pairs of the same row and nothing else, the loss is a cosine, the encoder starts from readable
features (lags and their size) instead of noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Sizes of the encoder and of its training."""

    window_rows: int = 16
    trend_rows: int = 9  # width of the moving average
    num_taps: int = 8  # newest rows of a window that a feature may weigh
    num_lags: int = 3  # rows that have a feature of their own at the start
    noise: float = 0.05  # of the weights at the start
    steps: int = 10
    batch_segments: int = 16
    batch_rows: int = 8  # rows of the overlap compared per segment
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        if not 1 <= self.num_lags < self.num_taps <= self.window_rows:
            raise ValueError(
                f"num_lags {self.num_lags}, num_taps {self.num_taps} and window_rows "
                f"{self.window_rows} must satisfy 1 <= lags < taps <= window"
            )

    @property
    def dim(self) -> int:
        """Length of an embedding: signed and unsigned size of each lag, and of the trend."""
        return 2 * (self.num_lags + 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, so that sums have one order and neighbours keep their cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Adam:
    """Adam (Kingma and Ba, 2015) with its usual constants, for a few hundred steps.

    torch's own loads its compiler with the first step: 1.3 s and more than 100 MB that a diagnosis
    has no use for.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self.parameters = [parameter.requires_grad_() for parameter in parameters]
        self.learning_rate = learning_rate
        self.mean = [torch.zeros_like(parameter) for parameter in parameters]
        self.square = [torch.zeros_like(parameter) for parameter in parameters]
        self.num_steps = 0

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`."""
        self.num_steps += 1
        gradients = torch.autograd.grad(loss, self.parameters)
        root = math.sqrt(1.0 - 0.999**self.num_steps)
        rate = self.learning_rate * root / (1.0 - 0.9**self.num_steps)
        with torch.no_grad():
            moments = zip(self.parameters, gradients, self.mean, self.square, strict=True)
            for parameter, gradient, mean, square in moments:
                mean.lerp_(gradient, 0.1)
                square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                parameter.addcdiv_(mean, square.sqrt().add_(1e-8 * root), value=-rate)


def moving_average(num_rows: int, width: int) -> Tensor:
    """Matrix [num_rows, num_rows] of a centred mean along time, edges repeated.

    trend = matrix @ window, season = window - trend. It never mixes series: it has no such axis.
    """
    half = width // 2
    rows = torch.arange(num_rows)
    near = (rows[:, None] + torch.arange(-half, half + 1)[None, :]).clamp(0, num_rows - 1)
    matrix = torch.zeros(num_rows, num_rows)
    return matrix.scatter_add_(1, near, torch.full(near.shape, 1.0 / (2 * half + 1)))


class Encoder:
    """Weights of all series at once, linear in their number, and the same for each at the start.

        p_n(s) = sum_k S_n[k] season_n(s - k) + R_n[k] trend_n(s - k)      k = 0 .. taps - 1
        h_n(s) = [p_n(s) of the first half, sqrt(1/10 + p_n(s)^2) of the second half]

    The signed half carries linear effects, the unsigned half those of size alone.
    """

    def __init__(self, num_series: int, config: EncoderConfig, generator: torch.Generator) -> None:
        self.config = config
        half, taps = config.dim // 2, config.num_taps
        first = torch.zeros(2, taps, half)  # [season or trend, tap, dim]
        for lag in range(config.num_lags):
            first[:, lag, lag] = 1.0  # season + trend = the value of that row
        first[1, :, half - 1] = 1.0 / taps
        first = torch.cat([first, first], dim=2)
        decay = 0.8 ** torch.arange(taps)[None, :, None]  # newer rows matter more
        first = first + config.noise * decay * torch.randn(first.shape, generator=generator)
        # One start for all series: a column's place must not matter.
        self.weights = first[:, None].repeat(1, num_series, 1, 1)  # [2, series, tap, dim]
        dim = config.dim
        self.predictor = [
            torch.randn(dim, 2 * dim, generator=generator) / math.sqrt(dim),
            torch.randn(2 * dim, dim, generator=generator) / math.sqrt(2 * dim),
        ]
        self.average = moving_average(config.window_rows, config.trend_rows)

    def embed_rows(self, crops: Tensor, rows: Tensor) -> Tensor:
        """Embeddings of some rows of each crop.

        Args:
            crops: [batch, series, window].
            rows: places within the crop, [batch, picked]; rows before the crop repeat its first.

        Returns:
            [batch, series, picked, dim].
        """
        taps = self.config.num_taps
        places = (rows[:, :, None] - torch.arange(taps)).clamp(min=0)  # [batch, picked, tap]
        trend = crops @ self.average.T  # [batch, series, window]
        parts = torch.stack([crops - trend, trend])  # [2, batch, series, window]
        batch, series, picked = len(crops), crops.shape[1], rows.shape[1]
        index = places.reshape(1, batch, 1, picked * taps).expand(2, -1, series, -1)
        taken = parts.gather(3, index).reshape(2, batch, series, picked, taps)
        return _curved(torch.einsum("cbnpk,cnkd->bnpd", taken, self.weights))

    def embed(self, x: Tensor) -> Tensor:
        """Embedding of the last row of every window of `x` [time, series].

        Returns:
            [time - window + 1, series, dim]; entry t sees rows t .. t + window - 1 and no later.
        """
        taps, window = self.config.num_taps, self.config.window_rows
        # Decomposition and taps are linear: one kernel per series and dimension does both.
        newest = torch.eye(window).flip(0)[:taps]  # [tap, window]: tap k reads row window - 1 - k
        trend = newest @ self.average
        kernel = torch.einsum("nkd,kw->nwd", self.weights[0], newest - trend)
        kernel = kernel + torch.einsum("nkd,kw->nwd", self.weights[1], trend)
        windows = x.unfold(0, window, 1)  # [time', series, window]
        return _curved(torch.einsum("tnw,nwd->tnd", windows, kernel))

    def predict(self, h: Tensor) -> Tensor:
        """The predictor of the contrast, one for all series; [..., dim] to the same."""
        return torch.relu(h @ self.predictor[0]) @ self.predictor[1]


def _curved(p: Tensor) -> Tensor:
    """Unsigned second half; the size is smooth at 0 and has a mean near 0 for unit variance."""
    half = p.shape[-1] // 2
    return torch.cat([p[..., :half], torch.sqrt(0.1 + p[..., half:] ** 2) - 0.85], dim=-1)


@dataclass(slots=True, kw_only=True)
class Views:
    """Two crops of the same segments, and where the same rows lie in each.

    Attributes:
        first, second: [batch, series, window].
        rows_first, rows_second: places of the compared rows, [batch, picked].
        overlap_rows: rows that both crops hold, [batch].
    """

    first: Tensor
    second: Tensor
    rows_first: Tensor
    rows_second: Tensor
    overlap_rows: Tensor


def draw_views(x: Tensor, config: EncoderConfig, generator: torch.Generator) -> Views:
    """Segments of twice the window from `x` [time, series], two different crops of each.

    The second crop starts 1 .. window / 2 rows after the first, so they share window / 2 rows or
    more, and are never the same window.
    """
    window = config.window_rows
    batch = config.batch_segments
    start = torch.randint(0, len(x) - 2 * window + 1, (batch,), generator=generator)
    late = torch.randint(1, window // 2 + 1, (batch,), generator=generator)
    begin = (torch.rand(batch, generator=generator) * (window - late + 1)).long()
    overlap = window - late
    picked = torch.rand(batch, config.batch_rows, generator=generator)
    rows_second = (picked * overlap[:, None]).long()  # [batch, picked], within the overlap
    rows = torch.arange(window)[None, :]
    first = x[(start + begin)[:, None] + rows].transpose(1, 2)  # [batch, series, window]
    second = x[(start + begin + late)[:, None] + rows].transpose(1, 2)
    return Views(
        first=first,
        second=second,
        rows_first=rows_second + late[:, None],
        rows_second=rows_second,
        overlap_rows=overlap,
    )


def contrast(encoder: Encoder, views: Views) -> Tensor:
    """Mean of 1 - cosine between the prediction from one view and the other view, both ways.

        L = 1 - (cos(q(h1), stop(h2)) + cos(q(h2), stop(h1))) / 2

    0 when the rows agree, about 1 for rows that have nothing in common. No negatives.
    """
    h1 = encoder.embed_rows(views.first, views.rows_first)  # [batch, series, picked, dim]
    h2 = encoder.embed_rows(views.second, views.rows_second)
    cosine = torch.nn.functional.cosine_similarity
    there = cosine(encoder.predict(h1), h2.detach(), dim=-1)
    back = cosine(encoder.predict(h2), h1.detach(), dim=-1)
    return 1.0 - 0.5 * (there + back).mean()


def pretrain(encoder: Encoder, x: Tensor, generator: torch.Generator) -> float:
    """Train on `x` [time, series], normal rows only, at least 2 windows.

    Returns:
        The contrast of the last step.
    """
    config = encoder.config
    trained = [encoder.weights, *encoder.predictor]
    adam = Adam(trained, config.learning_rate)
    loss = torch.ones(())
    for _ in range(config.steps):
        loss = contrast(encoder, draw_views(x, config, generator))
        adam.step(loss)
    for weights in trained:
        weights.requires_grad_(False)
    return float(loss.detach())
