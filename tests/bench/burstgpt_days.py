"""BurstGPT's first 41 days as published aggregates, cut at day 21: what a fit may see, what not.

`Training` reads days 0 to 20 only. `HeldOut` reads the rest, and the boxes and curves that the
project's figures give without a date. Nothing here goes from the second to the first.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from serving.workload import read_trace
from serving.workload.curves import curves
from serving.workload.fit import fit
from serving.workload.laws import HOURS, StreamLaw, WorkloadLaw

SPLIT_DAY, END_DAY, FIRST_STREAM_DAY = 21, 41, 5  # day 5 is the Monday of week 45
WEEK_45_DAY = 5
DAY_S, HOUR_S = 86_400.0, 3600.0
OCCUPIED_MAX = 0.8  # share of minutes with traffic up to which it tells the rate
STREAMS = (("ChatGPT", "Conv"), ("GPT-4", "Conv"), ("ChatGPT", "API"), ("GPT-4", "API"))
DOW = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
KINDS = {"Conv": "CONVERSATION", "API": "API"}


def _rows(path: Path) -> list[dict[str, str]]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return list(csv.DictReader(text.splitlines()))


def hourly(folder: Path, first_day: int, last_day: int) -> np.ndarray:
    """Requests booked per hour, all streams, [days, 24]; days first to last - 1."""
    table = np.zeros((END_DAY, HOURS))
    for row in _rows(folder / "burstgpt_1_hourly_days00-40.csv.gz"):
        hour = int(float(row["hour_start_s"]) // HOUR_S)
        table[hour // HOURS, hour % HOURS] = float(row["requests"])
    return table[first_day:last_day]


def daily_by_stream(folder: Path, first_day: int, last_day: int) -> dict[tuple, np.ndarray]:
    """Requests per day and stream, NaN where unread, negative where clipped at 28k, [days]."""
    found = {name: np.full(END_DAY, np.nan) for name in STREAMS}
    for row in _rows(folder / "burstgpt_1_daily_by_stream_w45-49_digitised.csv"):
        day = WEEK_45_DAY + 7 * (int(row["week_of_year"]) - 45) + DOW.index(row["dow"])
        if row["requests_per_day"]:
            value = float(row["requests_per_day"])
            found[row["model"], row["service"]][day] = -value if row["clipped"] == "1" else value
    return {name: days[first_day:last_day] for name, days in found.items()}


def daily_totals(folder: Path, first_day: int, last_day: int) -> tuple[np.ndarray, np.ndarray]:
    """Requests and tokens per day, all streams, [days] each."""
    rows = _rows(folder / "burstgpt_1_daily_days00-40.csv")[first_day:last_day]
    return (
        np.array([float(row["requests"]) for row in rows]),
        np.array([float(row["total_tokens"]) for row in rows]),
    )


class Training:
    """Days 0 to 20: hourly counts per stream, and the law fitted to them."""

    def __init__(self, folder: Path) -> None:
        self.slice, _ = read_trace(folder / "burstgpt_1_head400.csv")
        self.slice_law = fit(self.slice)
        self.all_hours = hourly(folder, 0, SPLIT_DAY)
        self.by_stream = daily_by_stream(folder, FIRST_STREAM_DAY, SPLIT_DAY)
        requests, tokens = daily_totals(folder, 0, SPLIT_DAY)
        self.conversation_hours = self._conversation_hours(folder, requests, tokens)
        self.counts = self._counts(requests)

    def law(self, *, levels: bool = True) -> WorkloadLaw:
        """All four streams; without levels the rates of the Poisson baseline."""
        streams = [self._stream(name, levels) for name in STREAMS]
        return WorkloadLaw(
            trace_id="burstgpt-days-0-20",
            duration_s=SPLIT_DAY * DAY_S,
            window_s=1200.0,
            start_hour=0.0,
            stamp_s=1.0,
            streams=tuple(streams),
        )

    def _conversation_hours(
        self, folder: Path, requests: np.ndarray, tokens: np.ndarray
    ) -> np.ndarray:
        """Conversation requests per hour of day, mean of week 1, both models, [24].

        Week 1 holds next to no API call. Where many minutes are idle their share tells the rate
        of Poisson arrivals; elsewhere the tokens do, at week 1's tokens per request.
        """
        rows = _rows(folder / "burstgpt_1_week1_minute_token_rate.csv.gz")
        minute = np.array([int(row["minute"]) for row in rows])
        rate = np.array([float(row["tokens_per_s"]) for row in rows])
        hour = minute // 60 % HOURS
        occupied = np.bincount(hour, minlength=HOURS) / (7 * 60)
        by_tokens = np.bincount(hour, rate * 60, minlength=HOURS) / 7
        by_tokens *= requests[:7].sum() / tokens[:7].sum()
        by_idle = -np.log1p(-np.minimum(occupied, OCCUPIED_MAX)) * 60
        return np.where(occupied <= OCCUPIED_MAX, by_idle, by_tokens)

    def _counts(self, requests: np.ndarray) -> dict[tuple, np.ndarray]:
        """Requests per hour and stream, [21 * 24]; conversation spread over the day as in week 1,
        the API as the booked hours leave it, both with the digitised days as their sums."""
        share = self.conversation_hours / self.conversation_hours.sum()
        days = {}
        for name in STREAMS[:2]:
            known = self.by_stream[name]
            before = requests[:FIRST_STREAM_DAY] * self._model_share(name)
            days[name] = np.concatenate([before, known])
        api = {STREAMS[3]: np.concatenate([np.zeros(5), self.by_stream[STREAMS[3]]])}
        rest = requests - days[STREAMS[0]] - days[STREAMS[1]] - api[STREAMS[3]]
        # A clipped day is what the day's total leaves for it; other days are as digitised.
        seen = np.concatenate([np.zeros(5), self.by_stream[STREAMS[2]]])
        api[STREAMS[2]] = np.where(seen < 0, np.maximum(rest, 28_000.0), seen)
        conversation = (days[STREAMS[0]] + days[STREAMS[1]])[:, None] * share
        left = np.maximum(self.all_hours - conversation, 0.0)
        left[left.sum(axis=1) == 0] = 1.0
        left /= left.sum(axis=1, keepdims=True)
        counts = {name: (days[name][:, None] * share).ravel() for name in STREAMS[:2]}
        return counts | {name: (api[name][:, None] * left).ravel() for name in STREAMS[2:]}

    def _model_share(self, name: tuple) -> float:
        both = sum(np.nansum(self.by_stream[n]) for n in STREAMS[:2])
        return float(np.nansum(self.by_stream[name]) / both)

    def _stream(self, name: tuple, levels: bool) -> StreamLaw:
        model, service = name
        counts = self.counts[name]
        found = curves(counts, 0)
        # Lengths, failures and gaps come from the raw slice; it has two API rows, so that the
        # API borrows its model's conversation lengths, which no figure here looks at.
        like = next(s for s in self.slice_law.streams if s.model == model and s.num_requests > 50)
        return StreamLaw(
            model=model,
            kind=KINDS[service],
            num_requests=round(float(counts.sum())),
            rates_rps=(0.0,),
            alphas=(None,),
            alpha=1.0,
            splits=like.splits if service == "Conv" and levels else (),
            hours=found.hours,
            days=found.days,
            level=found.level if levels else None,
            prompt=like.prompt,
            output=like.output,
            failed_prompt=like.failed_prompt,
            fail_after_ok=like.fail_after_ok,
            fail_after_fail=like.fail_after_fail,
        )


class HeldOut:
    """Days 21 to 40, and the aggregates of BurstGPT_1 that carry no date."""

    def __init__(self, folder: Path) -> None:
        self.all_hours = hourly(folder, SPLIT_DAY, END_DAY)
        self.by_stream = daily_by_stream(folder, SPLIT_DAY, END_DAY - 1)  # to day 39
        boxes = _rows(folder / "burstgpt_1_hourly_box_by_stream_digitised.csv")
        self.hour_medians = {name: np.full(HOURS, np.nan) for name in STREAMS}
        for row in boxes:
            if row["median_req_per_hour"]:
                median = float(row["median_req_per_hour"])
                self.hour_medians[row["model"], row["service"]][int(row["hour"])] = median
        curve = _rows(folder / "burstgpt_conv_response_given_request_digitised.csv")
        self.response = {
            model: np.array(
                [
                    (float(r["request_tokens"]), float(r["response_median"]))
                    for r in curve
                    if r["model"] == model
                ]
            )
            for model in ("ChatGPT", "GPT-4")
        }
        rows = {row["file"]: row for row in _rows(folder / "burstgpt_file_level.csv")}
        self.failure_rate = float(rows["BurstGPT_1"]["failure_rate"])
