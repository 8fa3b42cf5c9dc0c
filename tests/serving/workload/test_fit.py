"""A fit recovers what was planted; its file is checked whole; drawing from it repeats it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ConfigError
from serving.workload import Kind, Origin, RequestTable, Status, generate
from serving.workload.clock import stamp_s
from serving.workload.fidelity import Verdict, compare
from serving.workload.fit import fit, turns_of
from serving.workload.law_file import encode_law, parse_law
from serving.workload.measures import ks
from serving.workload.resample import fail_marks, resample

SOURCE = generate(seed=3, duration_s=4 * 3600.0, rate_rps=1.5, diurnal=1.0, bursts=0.3)
LAW = fit(SOURCE)


def requests(arrival_s, *, failed=None, prompt=100, output=10, session=None) -> RequestTable:
    rows = len(arrival_s)
    failed = np.zeros(rows, dtype=bool) if failed is None else failed
    tokens = np.broadcast_to(output, rows)
    return RequestTable(
        trace_id="t",
        arrival_s=np.asarray(arrival_s, dtype=np.float64),
        num_prompt_tokens=np.broadcast_to(prompt, rows).astype(np.int32),
        num_output_tokens=np.where(failed, 0, tokens).astype(np.int32),
        kind=np.full(rows, Kind.API, dtype=np.uint8),
        model=np.zeros(rows, dtype=np.uint8),
        models=("m",),
        status=np.where(failed, Status.FAILED, Status.OK).astype(np.uint8),
        session_index=np.full(rows, -1) if session is None else session,
        e2e_s=np.full(rows, np.nan, dtype=np.float32),
        origin=Origin.GENERATED,
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_a_planted_gamma_shape_is_found(alpha) -> None:
    gaps = np.random.default_rng(1).gamma(alpha, 1 / alpha, 20_000)
    (stream,) = fit(requests(np.cumsum(gaps))).streams
    assert stream.alpha == pytest.approx(alpha, rel=0.1)
    assert all(shape == pytest.approx(alpha, rel=0.6) for shape in stream.alphas)


def test_planted_failures_in_runs_are_found_and_drawn_again() -> None:
    rng = np.random.default_rng(2)
    rows = 40_000
    failed = fail_marks(np.full(rows, 0.03), np.full(rows, 0.4), rng.random(rows))
    law = fit(requests(np.cumsum(rng.exponential(1, rows)), failed=failed))
    (stream,) = law.streams
    assert stream.fail_after_fail == pytest.approx(0.4, abs=0.03)
    assert stream.fail_after_ok == pytest.approx(0.03, abs=0.003)
    again = resample(law, seed=1).status == Status.FAILED
    assert again.mean() == pytest.approx(stream.fail_ratio, rel=0.15)
    assert again[1:][again[:-1]].mean() == pytest.approx(0.4, abs=0.04)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3), min_size=1, max_size=30))
def test_failures_follow_the_row_before_one_by_one(rows) -> None:
    after_ok, after_fail, uniform = (np.array(column) for column in zip(*rows, strict=True))
    marks = fail_marks(after_ok, after_fail, uniform)
    before = False
    for row, mark in enumerate(marks):
        assert mark == (uniform[row] < (after_fail[row] if before else after_ok[row]))
        before = mark


def test_outputs_follow_the_prompt() -> None:
    rng = np.random.default_rng(3)
    prompt = rng.integers(10, 2000, 20_000)
    output = 5 + prompt // 4
    law = fit(requests(np.cumsum(rng.exponential(1, 20_000)), prompt=prompt, output=output))
    drawn = resample(law, seed=4)
    error = drawn.num_output_tokens - (5 + drawn.num_prompt_tokens // 4)
    assert np.median(np.abs(error)) < 20


def test_medians_are_those_of_the_trace_though_outputs_hang_on_prompts() -> None:
    rng = np.random.default_rng(6)
    prompt = rng.lognormal(6.0, 1.0, 4000).astype(np.int64) + 1
    output = np.where((prompt > 300) & (prompt < 600), 500, 40)  # long at the median prompt only
    law = fit(requests(np.cumsum(rng.exponential(1, 4000)), prompt=prompt, output=output))
    assert law.streams[0].median_tokens() == pytest.approx((np.median(prompt), 40.0), rel=0.03)


def test_sessions_keep_turns_and_think_times() -> None:
    rng = np.random.default_rng(5)
    starts = np.cumsum(rng.exponential(10, 4000))
    think_s = rng.lognormal(3, 1, (4000, 2))
    arrival_s = np.concatenate([starts, *(starts[:, None] + np.cumsum(think_s, axis=1)).T])
    session = np.tile(np.arange(4000), 3)
    order = np.argsort(arrival_s)
    source = requests(arrival_s[order], session=session[order])
    law = fit(source)
    assert law.streams[0].session.turns_mean == 3.0
    drawn = resample(law, seed=6)
    turns, again_s, _ = turns_of(drawn.session_index, drawn.arrival_s)
    assert np.median(turns) == 3
    assert ks(think_s.ravel(), again_s) < 0.1


def test_the_model_repeats_its_source_in_most_aspects() -> None:
    aspects = compare(SOURCE, resample(LAW, seed=8))
    apart = [a.name for a in aspects if a.verdict == Verdict.DIFFERENT]
    assert len(apart) <= 1, apart
    assert len(aspects) >= 14


def test_another_workload_differs() -> None:
    other = generate(seed=3, duration_s=4 * 3600.0, rate_rps=1.5, lengths="zipf", failures=False)
    apart = {a.name for a in compare(SOURCE, other) if a.verdict == Verdict.DIFFERENT}
    assert {"prompt", "output", "output given prompt", "failures"} <= apart


def test_same_seed_same_trace_and_another_seed_another() -> None:
    first, again, other = (resample(LAW, seed=seed) for seed in (1, 1, 2))
    assert first.arrival_s.tobytes() == again.arrival_s.tobytes()
    assert first.num_output_tokens.tobytes() == again.num_output_tokens.tobytes()
    assert first.arrival_s.tobytes() != other.arrival_s.tobytes()


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    duration_s=st.floats(1.0, 20_000.0),
    rate_ratio=st.floats(0.01, 1.0),
    shape=st.sampled_from(["windows", "curve"]),
)
def test_any_setting_gives_a_whole_table(seed, duration_s, rate_ratio, shape) -> None:
    table = resample(LAW, seed=seed, duration_s=duration_s, rate_ratio=rate_ratio, shape=shape)
    table.check()
    assert not len(table) or table.arrival_s[-1] < duration_s


@pytest.mark.parametrize("rate_ratio", [0.5, 2.0])
def test_the_rate_scales(rate_ratio) -> None:
    rows = len(resample(LAW, seed=2, rate_ratio=rate_ratio))
    assert rows == pytest.approx(rate_ratio * len(SOURCE), rel=0.05)


def test_idle_windows_stay_idle() -> None:
    rng = np.random.default_rng(1)
    busy = np.sort(rng.uniform(0, 1200, 500))
    law = fit(requests(np.concatenate([busy, busy + 12_000.0])))
    drawn = resample(law, seed=1).arrival_s
    assert not ((drawn > 1300) & (drawn < 11_900)).any()
    assert len(drawn) == pytest.approx(1000, rel=0.2)


def test_coarse_stamps_stay_coarse() -> None:
    source = requests(np.floor(np.sort(np.random.default_rng(1).uniform(0, 9000, 4000))))
    assert stamp_s(source.arrival_s) == 1.0
    drawn = resample(fit(source), seed=1)
    assert stamp_s(drawn.arrival_s) == 1.0


def test_a_model_file_round_trips_and_stays_small() -> None:
    raw = encode_law(LAW)
    assert parse_law(raw, source="x") == LAW
    assert len(raw) < 200_000


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "other"}, "'format' is 'other'"),
        ({"streams": []}, "'streams' is empty"),
        ({"window_s": "long"}, "'window_s' is 'long'"),
        ({"shares": [0, 1]}, "'shares' differ"),
    ],
)
def test_a_faulty_file_is_told(change, told) -> None:
    found = {**orjson.loads(encode_law(LAW)), **change}
    with pytest.raises(ConfigError, match=told):
        parse_law(orjson.dumps(found), source="x.json")


def damage(found, rng):
    """Replace one value somewhere."""
    at = found
    while True:
        key = rng.choice(sorted(at)) if isinstance(at, dict) else rng.randrange(len(at))
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
            at = at[key]
            continue
        at[key] = rng.choice([None, -1, "x", [], {}, 1e999, True, [[]]])
        return


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_damaged_files_are_refused_or_used_and_nothing_else(rng) -> None:
    found = orjson.loads(encode_law(replace(LAW, streams=LAW.streams[:1])))
    damage(found, rng)
    try:
        law = parse_law(orjson.dumps(found), source="x.json")
    except ConfigError:
        return
    resample(law, seed=1, duration_s=60.0).check()


def test_too_little_is_told() -> None:
    few = requests(np.arange(10.0))
    with pytest.raises(ConfigError, match="a fit needs"):
        fit(few)
    with pytest.raises(ConfigError, match="a comparison needs"):
        compare(SOURCE, few)
    with pytest.raises(ConfigError, match="shape is 'x'"):
        resample(LAW, seed=1, shape="x")


def test_a_coarse_clock_hides_no_poisson_arrivals() -> None:
    arrival_s = np.sort(np.random.default_rng(1).uniform(0, 2400, 7800))
    # The ticks of a real clock miss by a millisecond now and then.
    ticks_s = np.maximum(np.floor(arrival_s / 3) * 3 - 0.001 * (np.floor(arrival_s / 3) % 2), 0)
    law = fit(requests(ticks_s))
    assert law.stamp_s == 3.0
    assert law.streams[0].alpha == pytest.approx(1.0, abs=0.1)
    drawn = resample(law, seed=1)
    assert stamp_s(drawn.arrival_s) == 3.0
    aspects = {a.name: a for a in compare(requests(ticks_s), drawn)}
    assert aspects["gaps"].figure < 0.05
    assert aspects["Fano 10 s"].verdict == Verdict.ALIKE


def test_continuous_arrivals_are_compared_on_the_same_clock() -> None:
    arrival_s = np.floor(np.sort(np.random.default_rng(1).uniform(0, 2400, 7800)))
    drawn = resample(fit(requests(arrival_s)), seed=1, continuous=True)
    assert stamp_s(drawn.arrival_s) == 0.0
    aspects = {a.name: a for a in compare(requests(arrival_s), drawn)}
    assert aspects["gaps"].figure < 0.05


def test_failures_keep_their_order_inside_a_tick() -> None:
    rng = np.random.default_rng(2)
    failed = fail_marks(np.full(9000, 0.03), np.full(9000, 0.5), rng.random(9000))
    law = fit(requests(np.floor(np.sort(rng.uniform(0, 900, 9000))), failed=failed))
    assert law.streams[0].fail_after_fail == pytest.approx(0.5, abs=0.06)
