"""Requests from windows per client: counts, laws, independence of clients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.workload import read_table
from serving.workload.clients import draw_clients
from serving.workload.export_tables import write_quantiles, write_windows
from serving.workload.samples import sample_quantiles, sample_windows
from serving.workload.windows import WINDOW_S, GapLaw, LoadWindows, TokenQuantiles


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Windows and quantiles of eight clients, written and read back."""
    folder = tmp_path_factory.mktemp("servegen")
    rng = np.random.default_rng(1)
    windows = sample_windows(rng, 120, clients=8)
    windows.rate_rps = np.minimum(windows.rate_rps, 3.0)
    write_windows(windows, folder / "windows.csv")
    write_quantiles(sample_quantiles(rng, 18, clients=6), folder / "tokens.csv")
    return read_table(folder / "windows.csv")[0], read_table(folder / "tokens.csv")[0]


def one_client(law, shape, *, rate=2.0, windows=60) -> LoadWindows:
    column = np.ones(windows)
    return LoadWindows(
        trace_id="w",
        client=np.zeros(windows, dtype=np.int32),
        start_s=np.arange(windows) * WINDOW_S,
        rate_rps=column * rate,
        iat_cv=column,
        law=np.full(windows, law, dtype=np.uint8),
        shape=column * shape,
        scale=column * 99.0,  # a published scale that misses the rate
    )


def test_each_window_has_as_many_requests_as_its_rate_says(published) -> None:
    windows, tokens = published
    drawn = [draw_clients(windows, tokens, seed=seed)[0] for seed in range(8)]
    edges = np.arange(0, 15 * WINDOW_S + 1, WINDOW_S)
    counts = np.mean([np.histogram(t.arrival_s, edges)[0] for t in drawn], axis=0)
    wanted = np.histogram(windows.start_s, edges, weights=windows.rate_rps)[0] * WINDOW_S
    assert counts == pytest.approx(wanted, rel=0.15)
    assert counts.sum() == pytest.approx(wanted.sum(), rel=0.04)


@pytest.mark.parametrize(("law", "shape"), [(GapLaw.GAMMA, 0.25), (GapLaw.WEIBULL, 0.6)])
def test_gaps_follow_the_law_at_the_windows_rate(published, law, shape) -> None:
    table, _ = draw_clients(one_client(law, shape), published[1], seed=1)
    gaps = np.diff(table.arrival_s)
    moments = [math.gamma(1 + k / shape) for k in (1, 2)]
    cv = 1 / math.sqrt(shape)
    if law is GapLaw.WEIBULL:
        cv = math.sqrt(moments[1] / moments[0] ** 2 - 1)
    assert gaps.mean() == pytest.approx(0.5, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.1)


def test_without_a_client_the_rows_of_the_others_stay(published) -> None:
    windows, tokens = published
    table, client = draw_clients(windows, tokens, seed=3)
    keep = windows.client != 2
    rest = LoadWindows(
        trace_id="rest",
        **{
            name: getattr(windows, name)[keep]
            for name in ("client", "start_s", "rate_rps", "iat_cv", "law", "shape", "scale")
        },
    )
    fewer, others = draw_clients(rest, tokens, seed=3)
    others_before = table.take(client != 2)
    assert others_before.arrival_s.tobytes() == fewer.arrival_s.tobytes()
    assert others_before.num_prompt_tokens.tobytes() == fewer.num_prompt_tokens.tobytes()
    assert 2 not in others


def test_lengths_lie_on_the_clients_quantiles(published) -> None:
    tokens = published[1]
    table, _ = draw_clients(one_client(GapLaw.GAMMA, 1.0), tokens, seed=1)
    rows = (tokens.client == 0) & (tokens.field == tokens.fields.index("output_tokens"))
    wanted = tokens.quantiles[:, rows][:, 0]
    found = np.quantile(table.num_output_tokens, [0.25, 0.5, 0.75])
    assert found == pytest.approx(wanted[1:4], rel=0.06)
    table.check()


def test_lengths_are_those_of_the_block_of_their_moment() -> None:
    points = np.tile([10.0, 500.0, 10.0, 500.0], (7, 1))
    begins = np.array([0.0, 5 * WINDOW_S, 0.0, 5 * WINDOW_S])
    tokens = TokenQuantiles(
        trace_id="t", client=np.zeros(4, dtype=np.int32), start_s=begins,
        field=np.array([0, 0, 1, 1], dtype=np.uint8), fields=("input_tokens", "output_tokens"),
        mean=points[0], quantiles=points, maximum=points[0], support=np.ones(4, dtype=np.int32),
    )  # fmt: skip
    windows = one_client(GapLaw.GAMMA, 1.0, windows=10)
    whole, _ = draw_clients(windows, tokens, seed=1)
    late = whole.arrival_s >= 5 * WINDOW_S
    assert (whole.num_prompt_tokens == np.where(late, 500, 10)).all()
    assert (whole.num_output_tokens == np.where(late, 500, 10)).all()
    part, _ = draw_clients(windows, tokens, seed=1, start_s=5 * WINDOW_S)
    assert (part.num_prompt_tokens == 500).all()


def test_a_part_begins_at_its_start(published) -> None:
    windows, tokens = published
    table, _ = draw_clients(windows, tokens, seed=1, start_s=900.0, duration_s=300.0)
    assert 0.0 <= table.arrival_s[0] < table.arrival_s[-1] < 300.0


def test_text_and_images_make_the_prompt() -> None:
    points = np.full((7, 3), 10.0)
    tokens = TokenQuantiles(
        trace_id="t", client=np.zeros(3, dtype=np.int32), start_s=np.zeros(3),
        field=np.arange(3, dtype=np.uint8),
        fields=("text_tokens", "image_tokens", "output_tokens"),
        mean=points[0], quantiles=points, maximum=points[0], support=np.ones(3, dtype=np.int32),
    )  # fmt: skip
    table, _ = draw_clients(one_client(GapLaw.GAMMA, 1.0, windows=1), tokens, seed=1)
    assert (table.num_prompt_tokens == 20).all()


def test_wrong_use_is_told(published) -> None:
    windows, tokens = published
    for arguments, told in (
        ({"start_s": 1e7}, "duration_s"),
        ({"start_s": 1e7, "duration_s": 5.0}, "no load from"),
        ({"rate_ratio": 1e9}, "shorter duration"),
        ({"rate_ratio": -1.0}, "rate_ratio is -1.0"),
    ):
        with pytest.raises(ConfigError, match=told):
            draw_clients(windows, tokens, seed=1, **arguments)
    bare = TokenQuantiles(
        trace_id="bare", client=np.zeros(0, dtype=np.int32), start_s=np.zeros(0),
        field=np.zeros(0, dtype=np.uint8), fields=("reason_ratio",), mean=np.zeros(0),
        quantiles=np.zeros((7, 0)), maximum=np.zeros(0), support=np.zeros(0, dtype=np.int32),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="bare has no input_tokens"):
        draw_clients(windows, bare, seed=1)
