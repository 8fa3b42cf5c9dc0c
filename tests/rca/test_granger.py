"""The neural model recovers planted links, linear and not, and names where a fault began."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rca.granger_linear import LinearForecaster
from rca.pipeline import diagnose
from rca.rank import rank_series

torch = pytest.importorskip("torch", reason="torch is absent; pip install 'midwatch[models]'")

from rca.granger import NeuralConfig, NeuralForecaster, moment_loss  # noqa: E402


def planted(seed, *, effect, rows=420, num=8, lag=2, fault=0.0):
    """0 drives 1, 1 drives 2; the rest are alone. A fault pushes 0 from row 400 on."""
    rng = np.random.default_rng(seed)
    x = np.zeros((rows, num))
    noise = rng.normal(size=x.shape)
    noise[400:, 0] += fault
    for t in range(lag, rows):
        x[t] = 0.3 * x[t - 1] + noise[t]
        x[t, 1] += effect(x[t - lag, 0])
        x[t, 2] += effect(x[t - 1, 1])
    return x


def fitted(x, *, seed=0, normal_end=400, model=NeuralForecaster, **more):
    return model(**more).fit(
        x, normal_end=normal_end, fault_start=normal_end, step_s=5.0,
        rng=np.random.default_rng(seed),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("effect", [lambda v: 0.7 * v, lambda v: 1.2 * abs(v)], ids=["line", "abs"])
def test_planted_arcs_are_found_with_the_cause_as_the_column(seed, effect):
    result = fitted(planted(seed, effect=effect))
    assert result.granger[1, 0] > 0.2 and result.granger[2, 1] > 0.2
    assert result.ratio[2, 0] < result.ratio[2, 1]  # what acts through 1 is explained by 1
    assert (result.granger[3:] > 0.0).sum() <= 3  # of 35 pairs


def test_an_effect_of_size_alone_is_seen_where_the_linear_model_is_blind():
    x = planted(1, effect=lambda v: 1.2 * abs(v))
    neural, linear = fitted(x), fitted(x, model=LinearForecaster)
    assert neural.granger[1, 0] > 0.2 > 0.1 > linear.granger[1, 0]


def test_a_target_shuffled_in_time_gets_hardly_an_arc():
    found = 0
    for seed in range(4):
        x = planted(seed, effect=lambda v: 0.8 * v)
        x[:, 2] = np.random.default_rng(seed).permutation(x[:, 2])
        found += int((fitted(x).granger[2] > 0.0).sum())
    assert found <= 0.05 * 4 * 7 + 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_fault_stands_out_where_it_began_in_both_directions(sign):
    x = planted(2, effect=lambda v: 0.8 * v, fault=4.0 * sign)
    result = fitted(x)
    outside = np.abs(result.exogenous)
    assert outside.argmax() == 0 and np.sign(result.exogenous[0]) == sign
    assert outside[1] < 0.5 * abs(result.innovation[1])
    names = [f"m{i}" for i in range(8)]
    ranking = rank_series(result.granger, restart=np.abs(result.innovation), prior=outside,
                          names=names)  # fmt: skip
    assert ranking.order[0] == 0


def test_gaps_constants_and_series_without_a_past_are_survived():
    x = planted(4, effect=lambda v: 0.7 * v)
    x[::9, 1] = np.nan
    x[:, 3] = 7.0
    x[:, 4] = np.nan
    x[:400, 5] = np.nan
    result = fitted(x)
    for values in (result.granger, result.ratio, result.innovation, result.exogenous):
        assert np.isfinite(values).all()
    assert result.granger[2, 1] > 0.0


@pytest.mark.parametrize("model", [NeuralForecaster, LinearForecaster])
def test_a_series_that_stands_still_in_normal_rows_neither_leads_nor_is_led(model):
    x = planted(0, effect=lambda v: 0.7 * v)
    x[:400, 3] = 2.0  # breaks in the fault rows only, as a restart counter does
    x[400:, 3] = 9.0
    x[:, 4] = 0.0
    x[100, 4] = 1.0
    result = fitted(x, model=model)
    assert not result.granger[[3, 4]].any() and not result.granger[:, [3, 4]].any()
    assert abs(result.exogenous[3]) == np.abs(result.exogenous).max() > 10.0
    assert result.granger[1, 0] > 0.0


def test_too_few_series_that_move_are_a_reason_to_skip():
    x = np.ones((420, 4))
    x[:, 0] = np.random.default_rng(0).normal(size=420)
    for model in (NeuralForecaster, LinearForecaster):
        assert (
            fitted(x, model=model).skipped == "fewer than two of the series move in the normal rows"
        )


@pytest.mark.parametrize("seed", range(3))
def test_the_residual_of_the_whole_model_names_the_origin_as_well(seed):
    x = planted(seed, effect=lambda v: 0.8 * v, fault=4.0)
    own = fitted(x, config=replace(NeuralConfig(), aerca=True, moment_weight=0.2))
    assert np.abs(own.exogenous).argmax() == 0
    assert abs(own.exogenous[1]) < 0.7 * abs(own.innovation[1])
    assert not np.array_equal(own.exogenous, fitted(x).exogenous)


def test_the_sign_of_the_moment_loss_punishes_residuals_that_collapse():
    u = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    flat = u.clone()
    flat[:, 1] = 0.1 * flat[:, 0]
    assert float(moment_loss(u)) == pytest.approx(0.0, abs=0.01)
    assert float(moment_loss(flat)) > 0.5
    assert float(moment_loss(0.01 * u)) > float(moment_loss(0.5 * u)) > float(moment_loss(u))


def test_moment_matching_is_an_option_that_keeps_the_arcs():
    x = planted(3, effect=lambda v: 0.7 * v)
    result = fitted(x, config=replace(NeuralConfig(), moment_weight=0.2))
    assert result.granger[1, 0] > 0.2 and result.granger[2, 1] > 0.2


def test_more_samples_than_seconds_apart_are_skipped_with_a_reason():
    result = NeuralForecaster().fit(
        planted(0, effect=lambda v: v * 0.5), normal_end=400, fault_start=400, step_s=60.0,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert result.skipped == "one sample per 60 s, 15 s at most"


def test_a_diagnosis_takes_either_model_and_says_which(fleet):
    made = fleet(rows=320, onset_row=300, knobs={("own", "store"): 0.3})
    asked = {
        "symptom": made.symptom(), "topology": made.topology(), "changes": (), "events": (),
        "now_s": float(made.times[-1]), "seed": 0,
    }  # fmt: skip
    frame = made.build()
    linear = diagnose(frame, **asked)
    neural = diagnose(frame, **asked, forecaster=NeuralForecaster())
    assert any("which series lead which: linear Granger of" in text for text in linear.checked)
    assert any("which series lead which: neural Granger of" in text for text in neural.checked)
    assert neural.causes[0].entity == linear.causes[0].entity
    assert "store" in neural.causes[0].entity.name
