"""Faults of RUN's published code (AAAI 2024), one test or two for each.

1 broadcast loss, 2 one view, 3 no positives, 4 sliced by dimension, 5 trend over columns,
6 pruning and self-arcs, 7 restart on the wrong side, 8 ties with a trigger, 9 ties that count as
hits, 10 quadratic parameters, 11 loops and anomaly mode, 12 short runs crash, 13 no seed,
14 fault rows fitted, 15 no strong gate, 16 gates without a unit, 17 epochs set by the caller's
wrapper.
"""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from rca.graph import without_cycles
from rca.rank import chance_in_top, rank_series

torch = pytest.importorskip("torch", reason="torch is absent; pip install 'midwatch[models]'")

from rca import encoder as encoder_module  # noqa: E402
from rca import granger as granger_module  # noqa: E402
from rca.encoder import (  # noqa: E402
    Adam,
    Encoder,
    EncoderConfig,
    contrast,
    draw_views,
    moving_average,
    pretrain,
)
from rca.granger import NeuralConfig, NeuralForecaster, forecast_loss  # noqa: E402
from rca.granger_model import Model, started  # noqa: E402

FAST = NeuralConfig(steps=15, encoder=EncoderConfig(steps=3))
NORMAL_END = 200


def series(seed=0, rows=240, num=6):
    """0 drives 1, 1 drives 2, the rest are alone."""
    rng = np.random.default_rng(seed)
    x = np.zeros((rows, num))
    noise = rng.normal(size=x.shape)
    for t in range(1, rows):
        x[t] = 0.3 * x[t - 1] + noise[t]
        x[t, 1] += 0.9 * x[t - 1, 0]
        x[t, 2] += 0.9 * x[t - 1, 1]
    return x


def fitted(x, *, normal_end=NORMAL_END, seed=0, config=FAST):
    return NeuralForecaster(config=config).fit(
        x, normal_end=normal_end, fault_start=normal_end + 5, step_s=5.0,
        rng=np.random.default_rng(seed),
    )  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(x):
    return torch.from_numpy((x / x.std(axis=0)).astype(np.float32))


def test_fault_01_a_perfect_forecast_has_loss_zero_and_shapes_must_agree():
    target = torch.randn(32, 6, generator=generator())
    assert float(forecast_loss(target.clone(), target)) == 0.0
    with pytest.raises(AssertionError):
        forecast_loss(target[:, None, :], target)


def test_fault_02_the_two_views_differ_and_share_half_a_window_or_more():
    config = EncoderConfig(batch_segments=64)
    views = draw_views(rows_of(series()), config, generator())
    assert int(views.overlap_rows.min()) >= config.window_rows // 2
    assert int(views.overlap_rows.max()) < config.window_rows
    different = (views.first != views.second).any(dim=2).all(dim=1)
    assert bool(different.all())
    same_row = views.first.gather(2, views.rows_first[:, None, :].expand(-1, 6, -1))
    there = views.second.gather(2, views.rows_second[:, None, :].expand(-1, 6, -1))
    assert torch.equal(same_row, there)  # what is compared is one row in two contexts


def test_fault_03_aligned_rows_have_a_lower_loss_than_shifted_ones():
    x = rows_of(series())
    model = Encoder(6, EncoderConfig(steps=60), generator())
    pretrain(model, x, generator())
    views = draw_views(x, model.config, generator(1))
    wrong = replace(views, rows_second=views.rows_second.roll(1, 0))
    assert float(contrast(model, views)) < 0.7 * float(contrast(model, wrong))


def test_fault_04_axes_are_batch_series_time_dim():
    config = EncoderConfig(num_lags=2)  # dim 6 in a batch of 5, 7 series, 3 rows
    model = Encoder(7, config, generator())
    crops = torch.randn(5, 7, config.window_rows, generator=generator())
    picked = torch.tensor([[3, 9, config.window_rows - 1]] * 5)
    rows = model.embed_rows(crops, picked)
    assert rows.shape == (5, 7, 3, 6)
    for place in range(5):  # the last row of a crop is the row that `embed` embeds
        alone = model.embed(crops[place].T)
        assert alone.shape == (1, 7, 6)
        assert torch.allclose(alone[0], rows[place, :, 2], atol=1e-5)


def test_fault_05_trends_run_along_time_so_permuted_columns_permute_the_embeddings():
    x = rows_of(series())
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    one, other = (Encoder(6, EncoderConfig(), generator()) for _ in range(2))
    pretrain(one, x, generator(1))
    pretrain(other, x[:, order], generator(1))
    assert torch.allclose(one.embed(x)[:, order], other.embed(x[:, order]), atol=1e-4)
    mean = moving_average(8, 3) @ torch.arange(8.0)
    assert torch.allclose(mean[1:-1], torch.arange(1.0, 7.0))
    assert float(mean[0]) == pytest.approx(1 / 3)  # the edge is repeated


def test_fault_06_no_self_arcs_and_an_arc_outside_all_cycles_is_never_cut():
    assert np.diag(fitted(series()).ratio).max() == 0.0
    open_gates = Model(torch.zeros(5, 6), torch.zeros(5), torch.ones(5, 3), torch.ones(5, 8, 3))
    assert torch.equal(open_gates.gates().diagonal(), torch.zeros(5))
    assert torch.allclose(open_gates.gates()[:, -1], torch.tensor(0.2))  # the empty source
    arcs = np.zeros((5, 5))
    arcs[0, 0] = 9.0  # self
    arcs[1, 0], arcs[2, 1], arcs[0, 2] = 5.0, -0.5, 4.0  # a cycle; its weakest is 2 <- 1
    arcs[4, 3] = 0.01  # weakest of all, on no cycle
    left = without_cycles(arcs, "abcde")
    assert left[4, 3] == 0.01 and left[2, 1] == 0.0 and left[0, 0] == 0.0
    assert left[1, 0] == 5.0 and left[0, 2] == 4.0


def test_fault_07_the_start_of_a_chain_comes_first():
    chain = np.zeros((3, 3))
    chain[1, 0] = chain[2, 1] = 1.0  # a -> b -> c
    for restart in (np.ones(3), np.array([0.0, 0.0, 1.0]), np.array([1.0, 2.0, 3.0])):
        for names in ("abc", "cba"):
            ranking = rank_series(chain, restart=restart, prior=np.zeros(3), names=names)
            assert ranking.order[0] == 0 and not ranking.reason


def test_fault_08_with_a_trigger_every_series_is_there_once_and_names_break_ties():
    arcs = np.zeros((6, 6))
    arcs[0, 3] = 1.0
    trigger = np.array([1.0, 0, 0, 0, 0, 0])
    ranking = rank_series(arcs, restart=trigger, prior=np.zeros(6), names="xfedcb")
    assert sorted(ranking.order) == list(range(6))
    assert ranking.order[0] == 3
    assert ranking.order[2:] == (5, 4, 2, 1)  # b, c, e, f: unreachable, all 0


def test_fault_09_uniform_scores_give_the_random_level_and_say_so():
    scores = np.full(10, 0.1)
    assert [chance_in_top(scores, truth=7, k=k) for k in (1, 3, 5)] == pytest.approx(
        [0.1, 0.3, 0.5]
    )
    ranking = rank_series(np.zeros((4, 4)), restart=np.ones(4), prior=np.ones(4), names="abcd")
    assert ranking.reason == "all series score the same"
    assert chance_in_top(np.array([3.0, 2.0, 2.0, 1.0]), truth=1, k=2) == 0.5


def test_fault_10_parameters_grow_with_the_series_but_for_the_gates():
    def size(num):
        h = torch.randn(64, num, 8, generator=generator())
        rest = torch.randn(64, num, generator=generator())
        model = started(h, rest, NeuralConfig().rank, generator())
        weights = Encoder(num, EncoderConfig(), generator()).weights
        gates = model.logits.numel()
        assert gates == num * (num + 1)
        return sum(p.numel() for p in model.parameters()) - gates + weights.numel()

    assert size(40) == 4 * size(10)


def test_fault_11_all_series_in_one_product_and_no_anomaly_mode():
    calls = []
    real = granger_module.forecast_loss

    def counted(forecast, target):
        calls.append(forecast.shape)
        return real(forecast, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(granger_module, "forecast_loss", counted)
        fitted(series(), config=replace(FAST, steps=4, patience=4))
    assert len(calls) <= 8  # a step takes two, for any number of series
    assert all(shape[1] == 6 for shape in calls)
    assert not torch.is_anomaly_enabled()
    for module in (encoder_module, granger_module):
        assert "anomaly" not in inspect.getsource(module)


@pytest.mark.parametrize("rows", [0, 1, 60, 119])
def test_fault_12_a_short_run_is_skipped_with_a_reason(rows):
    result = fitted(series(rows=rows + 20), normal_end=rows)
    assert f"{rows} normal rows" in result.skipped
    assert not result.granger.any() and not result.exogenous.any()


def test_fault_12_no_row_count_above_the_least_is_dropped_or_crashes():
    for rows in (120, 121, 163):
        assert not fitted(series(rows=rows + 20), normal_end=rows).skipped


def test_fault_13_the_same_seed_gives_the_same_bytes_on_one_thread_whatever_was_drawn_before():
    first = fitted(series(), seed=3)
    torch.manual_seed(99)
    torch.rand(7)
    before = torch.get_num_threads()
    again = fitted(series(), seed=3)
    assert torch.get_num_threads() == before
    for name in ("granger", "ratio", "innovation", "exogenous"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes(), name


def test_fault_14_changing_fault_rows_leaves_the_fitted_model_unchanged():
    x = series()
    y = x.copy()
    y[NORMAL_END:] = 40.0 * y[NORMAL_END:] + 7.0
    assert np.array_equal(fitted(x).ratio, fitted(y).ratio)
    assert not np.array_equal(fitted(x).exogenous, fitted(y).exogenous)


def test_fault_15_no_arc_at_all_is_a_valid_result():
    noise = [np.random.default_rng(seed).normal(size=(240, 4)) for seed in range(5)]
    results = [fitted(x) for x in noise]
    assert not any(one.skipped for one in results)
    result = next(one for one in results if not one.granger.any())
    assert np.isfinite(result.exogenous).all() and np.isfinite(result.ratio).all()
    ranking = rank_series(result.granger, restart=np.arange(4.0), prior=np.zeros(4), names="abcd")
    assert ranking.order == (3, 2, 1, 0)
    assert ranking.reason == "no arcs: ranked by change alone"


def test_fault_16_rescaling_an_input_leaves_its_gates_unchanged():
    x = series()
    y = x.copy()
    y[:, 0] = 1e6 * y[:, 0] + 3e7
    assert fitted(y).ratio == pytest.approx(fitted(x).ratio, abs=1e-3)


def test_fault_16_a_gate_times_the_size_of_its_target_is_the_sd_of_the_effect():
    h = torch.randn(400, 5, 8, generator=generator())
    h = granger_module.whitened(h, slice(0, 400))
    model = started(h, torch.randn(400, 5, generator=generator()), NeuralConfig().rank, generator())
    larger = Model(model.logits, model.log_size, 3.0 * model.target, 7.0 * model.source)
    assert torch.allclose(larger.weights(), model.weights(), atol=1e-5)
    effect = torch.einsum("tjd,jdi->tij", h, model.weights()).std(dim=0)
    told = model.log_size.exp()[:, None] * model.gates()[:, :-1]
    assert torch.allclose(effect, told, rtol=0.03, atol=1e-4)
    assert torch.allclose(model.gates().sum(dim=1), torch.ones(5))


def test_fault_17_the_number_of_steps_is_the_callers():
    steps = []
    real = Adam.step

    def counted(self, *args, **more):
        steps.append(1)
        return real(self, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adam, "step", counted)
        fitted(series(), config=replace(FAST, steps=9, patience=99, encoder=EncoderConfig(steps=4)))
    assert len(steps) == 9 + 4


@pytest.mark.slow  # torch's own loads its compiler
def test_our_adam_takes_the_steps_of_torchs():
    ours, theirs = (torch.tensor([1.0, -2.0, 3.0], requires_grad=True) for _ in range(2))
    adam, reference = Adam([ours], 0.1), torch.optim.Adam([theirs], lr=0.1)
    for _ in range(20):
        adam.step(((ours - 1.5) ** 4).sum())
        reference.zero_grad()
        ((theirs - 1.5) ** 4).sum().backward()
        reference.step()
    assert torch.allclose(ours, theirs, atol=1e-6)
