"""Published figures of BurstGPT as data; the generator in `burstiness` turns them into requests.

Source: BurstGPT, arXiv 2401.17644 (KDD 2025), and the figures in the README of HPMLL/BurstGPT
(CC-BY-4.0). "Digitised" values were read off those figures; "derived" ones computed from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.workload.table import Kind

Floats = NDArray[np.float64]

Z_95 = 1.645  # standard normal at 95 %
WINDOW_S = 1200.0  # the paper fits one gamma law per 20 minutes
PROMPT_TOKENS_MAX = 8192
OUTPUT_TOKENS_MAX = 2048
ZIPF_THETA = 1.1  # start value of the authors' demo

# Failures: all rows of BurstGPT_1; the run of failures from the first 400 rows of the file.
FAIL_RATIO = 25_443 / 1_429_737
FAIL_AFTER_FAIL_RATIO = 0.29

# Sessions of BurstGPT_3: over 35 % of one turn, median 2, three quarters up to 4, mean 4.18.
# Derived: one turn, or 1 + a mixture of two geometric laws given by their means.
SINGLE_TURN_RATIO = 0.36
MORE_TURNS_MEAN = (3.7, 29.0)
LONG_SESSION_RATIO = 0.05
SESSION_TURNS_MEAN = 4.18
THINK_LOG_MU, THINK_LOG_SIGMA = 4.88, 2.25  # through p50 131 s and p90 2,340 s
HISTORY_TOKENS_MAX = 1700  # derived: where the input lengths of conversations pile up

# Requests per hour by hour of day, 0 to 23. Conversations: medians, digitised; hours too thin
# to read are interpolated. API: mean of all traffic of the file, nine tenths of which is API.
CHATGPT_CONVERSATION_HOURS = (
    *(46, 28, 16, 11, 5, 4, 5, 4, 20, 106, 157, 158),
    *(68, 92, 156, 184, 188, 132, 77, 101, 118, 107, 94, 75),
)
GPT4_CONVERSATION_HOURS = (
    *(25, 18, 7, 6, 5, 4, 4, 3, 8, 36, 66, 68),
    *(27, 39, 67, 85, 85, 67, 40, 49, 58, 56, 52, 45),
)
API_HOURS = (
    *(940, 893, 572, 513, 368, 342, 194, 153, 178, 416, 879, 1287),
    *(1744, 1501, 1796, 1401, 1476, 1356, 1181, 1568, 1353, 1175, 1129, 1026),
)
HOUR_FLOOR_RATIO = 0.05  # of the day's mean: no hour is empty

# Spread of the API's hourly level around its curve: log-normal through the digitised quartiles
# of the hours (ChatGPT 232, 2,208; GPT-4 20, 400; medians over the day). Derived.
LEVEL_QUARTILES_CHATGPT = (232.0, 2208.0)
LEVEL_QUARTILES_GPT4 = (20.0, 400.0)
QUARTILE_Z = 0.6745
LEVEL_MAX = 33_344 / 2648  # busiest hour of days 0-40 over the mean of the busiest hour of day

# Gap laws: coefficient of variation inside a window. Conversations measured in a busy stretch
# of the first rows; for the API the start value of the authors' demo (alpha 0.5).
CONVERSATION_ALPHA = 1.0 / 1.04**2
API_ALPHA = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """A length law by its quantiles, straight in log length between them."""

    shares: tuple[float, ...]
    tokens: tuple[float, ...]

    def at(self, uniform: Floats) -> Floats:
        """Lengths at the given shares, any shape."""
        return np.exp(np.interp(uniform, self.shares, np.log(self.tokens)))


# API: p50, p90, p95, p99 over the first 60k rows; ends assumed.
API_PROMPT = Quantiles(shares=(0, 0.5, 0.9, 0.95, 0.99, 1), tokens=(4, 74, 1291, 1697, 3023, 8192))
API_OUTPUT = Quantiles(shares=(0, 0.5, 0.9, 0.95, 0.99, 1), tokens=(1, 14, 401, 510, 757, 2048))
API_LENGTH_CORRELATION = 0.28  # Spearman of input and output
# What a user types: derived so that inputs with their history meet p50 499, p95 1,862, p99 2,389.
TYPED_TOKENS = Quantiles(shares=(0, 0.5, 0.9, 0.97, 0.99, 1), tokens=(3, 20, 150, 700, 1200, 3000))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCurve:
    """Output length at an input length: median and 5 and 95 % points, digitised."""

    prompt: tuple[float, ...]
    median: tuple[float, ...]
    p05: tuple[float, ...]
    p95: tuple[float, ...]

    def draw(self, num_prompt_tokens: Floats, normal: Floats) -> Floats:
        """Outputs that meet the three curves, one per input and normal draw, [n].

        Log-normal with its own spread on each side of the median: one spread for both puts
        the 99 % point half again too high.
        """
        log_prompt = np.log(np.asarray(self.prompt))
        at = np.log(np.maximum(num_prompt_tokens, 1.0))
        median, low, high = (
            np.interp(at, log_prompt, np.log(curve)) for curve in (self.median, self.p05, self.p95)
        )
        spread = np.where(normal < 0.0, median - low, high - median) / Z_95
        return np.exp(median + spread * normal)


CHATGPT_OUTPUT = OutputCurve(
    prompt=(20, 50, 100, 200, 300, 500, 750, 1000, 1500, 2000),
    median=(134, 149, 91, 120, 113, 167, 218, 256, 352, 430),
    p05=(19, 15, 13, 14, 17, 21, 41, 53, 136, 189),
    p95=(549, 583, 468, 387, 381, 488, 535, 535, 602, 695),
)
GPT4_OUTPUT = OutputCurve(
    prompt=(20, 50, 100, 200, 300, 500, 750, 1000, 1500, 2000),
    median=(179, 234, 131, 132, 82, 146, 208, 237, 297, 378),
    p05=(25, 19, 10, 5, 6, 15, 50, 65, 123, 158),
    p95=(578, 560, 518, 444, 364, 442, 513, 503, 563, 662),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFigures:
    """One stream: a model behind one service."""

    model: str
    kind: Kind
    share: float  # of all requests
    alpha: float  # shape of the gamma law of gaps; CV is 1 / sqrt(alpha)
    hours: tuple[int, ...]
    level_sigma: float  # log spread of the hourly level; 0 = follows the hours
    output: OutputCurve

    @property
    def name(self) -> str:
        """Name of the stream's draws."""
        return f"{self.model}/{self.kind.name.lower()}"


def _level_sigma(quartiles: tuple[float, float]) -> float:
    return float(np.log(quartiles[1] / quartiles[0]) / (2 * QUARTILE_Z))


# Shares: non-failed rows of BurstGPT_1 by service and by model; conversations split between the
# models as in the digitised weeks (12.4k to 6.5k a week). Derived.
ROWS = 1_404_294
CHATGPT_CONVERSATIONS = 145_707 * 12.4 / 18.9
GPT4_CONVERSATIONS = 145_707 - CHATGPT_CONVERSATIONS
STREAMS = (
    StreamFigures(
        model="ChatGPT",
        kind=Kind.CONVERSATION,
        share=CHATGPT_CONVERSATIONS / ROWS,
        alpha=CONVERSATION_ALPHA,
        hours=CHATGPT_CONVERSATION_HOURS,
        level_sigma=0.0,
        output=CHATGPT_OUTPUT,
    ),
    StreamFigures(
        model="GPT-4",
        kind=Kind.CONVERSATION,
        share=GPT4_CONVERSATIONS / ROWS,
        alpha=CONVERSATION_ALPHA,
        hours=GPT4_CONVERSATION_HOURS,
        level_sigma=0.0,
        output=GPT4_OUTPUT,
    ),
    StreamFigures(
        model="ChatGPT",
        kind=Kind.API,
        share=(1_189_167 - CHATGPT_CONVERSATIONS) / ROWS,
        alpha=API_ALPHA,
        hours=API_HOURS,
        level_sigma=_level_sigma(LEVEL_QUARTILES_CHATGPT),
        output=CHATGPT_OUTPUT,
    ),
    StreamFigures(
        model="GPT-4",
        kind=Kind.API,
        share=(215_127 - GPT4_CONVERSATIONS) / ROWS,
        alpha=API_ALPHA,
        hours=API_HOURS,
        level_sigma=_level_sigma(LEVEL_QUARTILES_GPT4),
        output=GPT4_OUTPUT,
    ),
)
