"""Neural Granger causality: one forecaster of all series, with one gate per source and target.

    x_i(t) = own_i(h_i) + s_i sum_{j != i} a_i G[i, j] <e_ij, h_j> + u_i(t)
    e_ij   = Q_j v_i / |Q_j v_i|        bilinear of rank r: v_i in R^r, Q_j in R^{d x r}
    G[i,:] = softmax over the sources j != i and an empty source

h_j is the embedding (`rca.encoder`) of series j up to t - 1, whitened over the normal rows, and
s_i the spread of what i's own history leaves. So <e_ij, h_j> has variance 1, and a_i G[i, j] is
the sd of what j does to i: gates compare, whatever the units or the decoder. Parameters grow with
the number of series, but for the gates.

Fitted on normal rows, stopped early on the last of them. An arc is no threshold on a gate: what j
tells of i beyond i's own past and all other gated causes is compared with what it tells when it is
shifted in time.

Source: RUN (AAAI 2024), stage 2; AERCA (ICLR 2025) for the exogenous term and its normal law.
Differs: one model instead of one per target; an empty source and no self-arcs; Q is one per
source (one for all makes the causes of a target act at one lag); the gates start from marginal
statistics, not at 1; a permutation null decides; moments are matched with the right sign.

Beside ridge (tests/bench/bench_granger.py): AUROC of planted arcs .98 against .82 where effects
are curved, a tie at 1.00 where they are linear, precision of arcs .92 against .71 and .87 against
.60; the origin comes first after the walk at least as often in 8 of 8 settings. Worse: up to
200 normal rows and linear effects, `exogenous` alone for strong curved effects (.63 against .73)
and on recorded rcd_sockshop (0 against 19 of 30). AERCA's residual (`aerca`) is worse than that of
the arcs in 5 of 8 settings, better in 2. No gain from pre-training or moments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from rca.encoder import Adam, Encoder, EncoderConfig, one_thread, pretrain
from rca.forecasters import (
    ROWS_MIN,
    STEP_S_MAX,
    STILL,
    GrangerResult,
    against_law,
    among_still,
    moving,
    skip,
    standardised,
    unfit,
)
from rca.granger_model import Model, effect_size, started
from rca.readout import explain
from rca.state import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuralConfig:
    """Sizes, training and null of the model."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    rank: int = 8
    num_series_max: int = 128
    rows_min: int = ROWS_MIN
    step_s_max: float = STEP_S_MAX
    clip_z: float = 5.0
    steps: int = 40
    learning_rate: float = 0.03
    sparsity: float = 1.0  # on the summed sd of all effects, in units of sqrt(dim / rows)
    moment_weight: float = 0.0  # > 0: pull the residuals towards a standard normal (AERCA)
    aerca: bool = False  # exogenous term = residual of the whole model, not of its arcs refitted
    valid_ratio: float = 0.2  # last normal rows, for the early stop
    patience: int = 10
    num_shifts: int = 16
    null_quantile: float = 1.0  # over all sources and shifts of a target: 1 is the largest


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuralForecaster:
    """The neural model as a `Forecaster`."""

    config: NeuralConfig = field(default_factory=NeuralConfig)

    @property
    def num_series_max(self) -> int:
        """Most series that one fit may take; the caller screens."""
        return self.config.num_series_max

    def fit(
        self,
        levels: FloatArray,
        *,
        normal_end: int,
        fault_start: int,
        step_s: float,
        rng: np.random.Generator,
    ) -> GrangerResult:
        """See `rca.forecasters.Forecaster`; the same arguments give the same bytes."""
        config, num_series = self.config, levels.shape[1]
        reason = unfit(
            num_series,
            normal_end=normal_end,
            step_s=step_s,
            rows_min=max(config.rows_min, 3 * config.encoder.window_rows),
            step_s_max=config.step_s_max,
        )
        if reason:
            return skip(num_series, reason)
        x = standardised(levels, normal_end=normal_end, clip_z=config.clip_z)
        moved = moving(x, normal_end=normal_end)
        if moved.sum() < 2:
            return skip(num_series, STILL)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        with one_thread():
            rows = torch.from_numpy(x[:, moved].astype(np.float32))
            result = _fit(rows, normal_end, fault_start, config, generator)
        return among_still(result, x, moved, normal_end=normal_end, fault_start=fault_start)


def _fit(
    x: Tensor, normal_end: int, fault_start: int, config: NeuralConfig, generator: torch.Generator
) -> GrangerResult:
    window = config.encoder.window_rows
    encoder = Encoder(x.shape[1], config.encoder, generator)
    pretrain(encoder, x[:normal_end], generator)
    h = encoder.embed(x)[:-1]  # [time, series, dim]: entry t forecasts row t + window
    target = x[window:]  # [time, series]
    normal = slice(0, normal_end - window)
    features = h.double().numpy()
    h = whitened(h, normal)
    own = own_history(h, target, normal)
    rest = target - own
    scale = rest[normal].std(dim=0).clamp(min=0.05)
    model = trained(h[normal], rest[normal] / scale, config, generator)
    weights = model.weights()
    ratio = beyond_chance(h[normal], rest[normal] / scale, weights, config, generator)
    granger = (ratio - 1.0).clamp(min=0.0).double().numpy()
    levels = target.double().numpy()
    if config.aerca:
        left = (rest - scale * (h.flatten(1) @ weights.flatten(0, 1))).double().numpy()
    else:
        left = levels - explain(features, levels, granger, normal=normal)
    start = max(fault_start - window, 0)

    return GrangerResult(
        granger=granger,
        ratio=ratio.double().numpy(),
        innovation=against_law(rest.double().numpy(), normal=normal, fault_start=start),
        exogenous=against_law(left, normal=normal, fault_start=start),
        model="neural",
    )


def whitened(h: Tensor, normal: slice) -> Tensor:
    """Embeddings [time, series, dim] with unit covariance per series over the normal rows."""
    h = h - h[normal].mean(dim=0)
    by_series = h[normal].transpose(0, 1)  # [series, time, dim]
    dim = h.shape[-1]
    covariance = by_series.transpose(1, 2) @ by_series / by_series.shape[1]
    # Dimensions that hardly move get no say: the floor is a share of the largest variance.
    floor = 0.01 * covariance.diagonal(dim1=1, dim2=2).amax(dim=1) + 1e-6
    root = torch.linalg.cholesky(covariance + floor[:, None, None] * torch.eye(dim))
    white: Tensor = torch.linalg.solve_triangular(root, h.permute(1, 2, 0), upper=False)
    return white.permute(2, 0, 1).contiguous()


def own_history(h: Tensor, target: Tensor, normal: slice) -> Tensor:
    """Forecast of each series from its own embedding alone, by least squares, [time, series]."""
    past = h[normal].transpose(0, 1)  # [series, time, dim]
    gram = past.transpose(1, 2) @ past + torch.eye(h.shape[-1])
    moment = past.transpose(1, 2) @ target[normal].T[:, :, None]
    coefficients: Tensor = torch.linalg.solve(gram, moment)[:, :, 0]  # [series, dim]
    level = target[normal].mean(dim=0)
    return level + (h * coefficients).sum(dim=-1)


def forecast_loss(forecast: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, element by element, [time, series] against [time, series]."""
    assert forecast.shape == target.shape, (forecast.shape, target.shape)
    return ((forecast - target) ** 2).mean()


def moment_loss(u: Tensor) -> Tensor:
    """KL(N(mean, cov) || N(0, I)) per series of residuals u [time, series].

        (trace(C) + |m|^2 - N - log det C) / 2 N

    Source: AERCA, loss of the exogenous term. Differs: log det C is subtracted, so a residual
    that collapses costs without bound; its code adds it, which rewards the collapse.
    """
    mean = u.mean(dim=0)
    centred = u - mean
    num_series = u.shape[1]
    covariance = centred.T @ centred / len(u) + 1e-3 * torch.eye(num_series)
    distance = covariance.trace() + mean @ mean - num_series - torch.logdet(covariance)
    return 0.5 * distance / num_series


def trained(h: Tensor, rest: Tensor, config: NeuralConfig, generator: torch.Generator) -> Model:
    """Adam on the first normal rows; the parameters of the step that forecast the last ones best.

    Args:
        h: embeddings of the normal rows, [time, series, dim].
        rest: what own history leaves, in sd, [time, series].
    """
    num_train = int(len(h) * (1.0 - config.valid_ratio))
    model = started(h[:num_train], rest[:num_train], config.rank, generator)
    regressors = h.flatten(1)  # [time, source * dim]
    sparsity = config.sparsity * math.sqrt(h.shape[-1] / num_train) / rest.shape[1]
    adam = Adam(model.parameters(), config.learning_rate)
    best, best_at, kept = math.inf, 0, model
    for step in range(config.steps):
        forecast = regressors @ model.weights().flatten(0, 1)
        valid = float(forecast_loss(forecast[num_train:].detach(), rest[num_train:]))
        if valid < best:
            best, best_at = valid, step
            kept = Model(*(parameter.detach().clone() for parameter in model.parameters()))
        elif step - best_at >= config.patience:
            break
        loss = forecast_loss(forecast[:num_train], rest[:num_train])
        effects = model.log_size.exp() * (1.0 - model.gates()[:, -1])  # summed sd per target
        loss = loss + sparsity * effects.sum()
        if config.moment_weight > 0.0:
            u = rest[:num_train] - forecast[:num_train]
            loss = loss + config.moment_weight * moment_loss(u)
        adam.step(loss)
    return kept


def beyond_chance(
    h: Tensor, rest: Tensor, weights: Tensor, config: NeuralConfig, generator: torch.Generator
) -> Tensor:
    """What j tells of i beyond all other gated causes, over what it tells shifted in time.

        r_i = rest_i - sum_j <w_ij, h_j>           residual of the whole model
        S_ij = |cov(r_i + <w_ij, h_j>, h_j)|       j's own part put back; h_j is white
        S0_ij = root mean square of |cov(shift(r_i), h_j)| over shifts

    Returns:
        S / S0 over the `null_quantile` of the shifted ones of that target, [target, source].
    """
    rows, num_series, dim = h.shape
    regressors = h.flatten(1)
    residual = rest - regressors @ weights.flatten(0, 1)
    residual = residual / residual.std(dim=0).clamp(min=1e-6)

    def told(of: Tensor) -> Tensor:
        return (regressors.T @ of / rows).view(num_series, dim, num_series)  # [source, dim, target]

    low, high = rows // 8, rows - rows // 8
    shifts = torch.randint(low, high, (config.num_shifts,), generator=generator)
    null = torch.stack([effect_size(told(residual.roll(int(s), 0))).T for s in shifts])
    usual = null.square().mean(dim=0).sqrt().clamp(min=1e-6)  # [target, source]
    # Each shift is measured by the others, as S is: with itself in S0 its tail would look light.
    without = (null.square().sum(dim=0) - null.square()) / (config.num_shifts - 1)
    others = ~torch.eye(num_series, dtype=torch.bool)
    against = null / without.sqrt().clamp(min=1e-6)
    pooled = against[:, others].view(config.num_shifts, num_series, num_series - 1)
    limit = pooled.transpose(0, 1).flatten(1).quantile(config.null_quantile, dim=1)  # [target]
    strength = effect_size(told(residual) + weights).T
    return (strength / usual / limit[:, None]).fill_diagonal_(0.0)
