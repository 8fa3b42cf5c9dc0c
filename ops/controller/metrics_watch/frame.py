"""What one fleet's loop sees of its Prometheus: a sliding frame, and how far it is to be trusted.

Each reading asks only for what is newer than the last one, and a little of the past again: a
sample is stored when its scrape ends and stamped with its start. Missing is NaN, never zero, and
a reading that is not FRESH is never a healthy one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ops.adapters.prometheus_answers import RawAnswer
from ops.adapters.prometheus_plan import Part, ask_by
from ops.adapters.prometheus_selectors import fleet_matchers
from ops.catalogue import Catalogue
from ops.catalogue.spellings import live_spelling
from ops.clock import Deadline, monotonic_s, wall_s
from ops.controller.metrics_watch.clock import ServerClock, WatchedSamples
from ops.controller.metrics_watch.freshness import Freshness
from ops.controller.metrics_watch.jobs import ScrapeJobs
from ops.controller.metrics_watch.late_rows import LateRows
from ops.controller.metrics_watch.reading import Answered, WatchReading
from ops.controller.metrics_watch.ring import WatchRing
from ops.controller.metrics_watch.roles import WATCHED_ROLES, questions
from ops.controller.metrics_watch.rows import RowOffsets
from ops.controller.metrics_watch.samples import flat_samples
from ops.controller.metrics_watch.series import Placed, WatchSeries
from ops.controller.metrics_watch.silence import PodSamples
from ops.controller.metrics_watch.state import FUTURE_S, DataState, Seen, judge
from ops.errors import PrometheusError
from rca.state import FloatArray, MetricFrame

IntArray = npt.NDArray[np.int64]

WINDOW_S = 900.0
STEP_S = 5.0
REGION = "default"  # of series and pods that name none
OVERLAP_ROWS, OVERLAP_ROWS_WIDE = 1, 12  # asked for again; wide where nothing of users was new
SETTLE_RATIO = 0.2  # of a step: how long after its end a row is shown
KEEP_USERS_S = 86_400.0  # a counter of users' requests that is silent for so long is forgotten
CHUNK_MS = 300_000  # of the first reading: bounds the size of an answer


class WatchFrame:
    """The sliding frame of one fleet. Not for several threads at once."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        namespace: str,
        match_labels: Mapping[str, str] | None = None,
        add_labels: Mapping[str, str] | None = None,
        window_s: float = WINDOW_S,
        step_s: float = STEP_S,
        region: str = REGION,
        placed: Placed | None = None,
        roles: frozenset[str] = WATCHED_ROLES,
        classes: frozenset[str] = frozenset(),
        wall: Callable[[], float] = wall_s,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            namespace, match_labels: what every series must carry.
            add_labels: for series that lack them, as the endpoint's settings say.
            window_s: rows kept; step_s: between them, best the scrape interval.
            region: of series that name none and have no pod.
            placed: labels (region, service, node) of a pod by its name, None for a pod that is
                not, or not yet, of the fleet; without it every series is taken as it is.
            roles: of the catalogue, what users get among them; classes: read however many others.

        Raises:
            PrometheusError: the namespace is empty.
        """
        assert 0.0 < step_s < window_s, (step_s, window_s)
        self._step_ms = round(step_s * 1000.0)
        self._settle_ms = round(SETTLE_RATIO * self._step_ms)
        matchers = fleet_matchers(namespace, match_labels or {})
        added = frozenset(catalogue.region_labels) | frozenset(add_labels or ())
        self._questions = questions(catalogue, matchers, added=added, roles=roles)
        self._catalogue = catalogue
        self._ring = WatchRing(math.ceil(window_s / step_s))
        self._offsets = RowOffsets(self._step_ms)
        self._series = WatchSeries(
            catalogue, placed=placed, region=region, added=add_labels or {}, classes=classes
        )
        self._jobs = ScrapeJobs(window_s)
        self._fresh, self._pods, self._late = Freshness(), PodSamples(), LateRows()
        self._seen = Seen(namespace=namespace, step_s=step_s)
        # Newest row of each column with a sample, and when that was scraped.
        self._seen_row, self._seen_ms = np.empty((2, 0), dtype=np.int64)
        self._clock = ServerClock(wall, monotonic)
        self._first_row = -1  # with a sample
        self._trusted_row = -1  # newest one of the newest FRESH reading
        self._spelling = ""
        self._progress = False  # the last reading brought something new of what users get

    @property
    def num_bytes(self) -> int:
        """Of the kept rows, without the names of series."""
        return self._ring.num_bytes

    def advance(self, reader: WatchedSamples, *, deadline: Deadline) -> WatchReading:
        """Read what is new: `ask`, then `take`."""
        return self.take(self.ask(reader, deadline=deadline))

    def ask(self, reader: WatchedSamples, *, deadline: Deadline) -> Answered:
        """Ask for what is new. Never raises for an outage: that is a state of the reading.

        Changes no row, so that another thread may look at them meanwhile. One call at a time, and
        its answer is taken in, or thrown away, before the next.
        """
        clock = self._clock
        try:
            now_s = clock.read(reader, deadline=deadline)
            answers = tuple(self._ask(reader, now_s, deadline))
        except PrometheusError as error:
            clock.due = True  # what failed may have been restarted elsewhere
            return Answered(
                url=reader.url, now_s=clock.now_s(), skew_s=clock.skew_s, error=str(error)
            )
        return Answered(url=reader.url, now_s=now_s, skew_s=clock.skew_s, answers=answers)

    def take(self, answered: Answered) -> WatchReading:
        """Put what was answered into the rows, and say how far they are to be trusted."""
        seen = self._seen
        seen.url, seen.error, seen.skew_s = answered.url, answered.error, answered.skew_s
        seen.now_s = self._clock.now_s() if answered.error else answered.now_s
        # Rows opened by a clock that is wrong would stand before all others once it is right.
        taken = not answered.error and seen.clocks_agree
        num_samples = self._take(answered.answers) if taken else 0
        state, detail = judge(seen)
        if state is DataState.FRESH:
            self._trusted_row = self._ring.newest
        return WatchReading(
            frame=self._frame(self._ring.newest),
            scrape_jobs=self._jobs.last_good_s(now_s=self._seen.now_s),
            state=state,
            detail=detail,
            spelling=self._spelling,
            server_now_s=self._seen.now_s,
            next_at_s=self._next_at_s(taken=taken),
            num_samples=num_samples,
            heard_s=self._pods.heard_s(),
            old_s=seen.old_s,
            scraped_at_s=seen.any_s if seen.any_s > 0.0 else None,
            unplaced=frozenset(self._series.unplaced),
        )

    def _ask(self, reader: WatchedSamples, now_s: float, deadline: Deadline) -> list[RawAnswer]:
        now_ms = round(now_s * 1000.0)
        until_ms = now_ms + 2 * self._future_ms()  # to see what is stamped in the future
        overlap_ms = (OVERLAP_ROWS if self._progress else OVERLAP_ROWS_WIDE) * self._step_ms
        again_ms = max(overlap_ms, round(1200.0 * self._seen.interval_s))
        after_ms = now_ms - self._ring.rows * self._step_ms
        if self._ring.newest >= 0:
            oldest_ms = max(self._ring.oldest - 1, self._first_row - 1) * self._step_ms
            after_ms = max(after_ms, oldest_ms, self._ring.newest * self._step_ms - again_ms)
        cuts = [*range(after_ms, until_ms, CHUNK_MS), until_ms]
        parts = [
            Part(one.names, one.matchers, low, high)
            for one in self._questions
            for low, high in pairwise(cuts)
            if high > low
        ]
        return ask_by(
            lambda part: reader.raw_samples(
                part.names,
                after_ms=part.after_ms,
                until_ms=part.until_ms,
                matchers=part.matchers,
                deadline=deadline,
            ),
            parts,
            deadline=deadline,
        )

    def _future_ms(self) -> int:
        return round(1000.0 * (FUTURE_S + self._clock.error_s))

    def _take(self, answers: Sequence[RawAnswer]) -> int:
        """Put the samples of some answers into the ring; returns their number."""
        seen, now_ms = self._seen, round(self._seen.now_s * 1000.0)
        before_s = seen.users_s
        self._series.begin_answers()
        known = self._ring.num_columns
        per_answer = [self._series.columns(answer.metrics) for answer in answers]
        self._make_columns()
        columns, times_ms, values = flat_samples(answers, per_answer)
        future = times_ms > now_ms + self._future_ms()
        seen.num_future = int(future.sum())
        seen.future_s = float(times_ms.max() - now_ms) / 1000.0 if seen.num_future else 0.0
        self._note(answers)
        self._fresh.take(seen, columns[~future], times_ms[~future], values[~future])
        self._pods.take(columns, times_ms, np.isfinite(values))
        self._jobs.take(columns[~future], times_ms[~future] / 1000.0, values[~future])
        self._progress = seen.users_s > before_s or not before_s > 0.0
        rows = self._offsets.rows(times_ms, columns)
        newest = (now_ms - self._settle_ms) // self._step_ms - self._late.rows
        shown = self._ring.newest
        seen.back_s = max(0.0, shown * self._step_ms / 1000.0 - seen.now_s)
        if len(rows) or shown >= 0:
            self._ring.open_until(max(newest, shown))
        if self._first_row < 0 and len(rows):
            self._first_row = max(int(rows.min()), self._ring.oldest)
        old = columns < known  # a new series has a past that is no fault of its scrapes
        late = self._any_late(rows[old], columns[old], shown)
        self._late.note(late=late, progress=self._progress)
        seen.held_s = self._late.rows * self._step_ms / 1000.0
        self._write(rows, columns, times_ms, values)
        self._pack()
        return sum(len(answer.times_s) for answer in answers)

    def _note(self, answers: Sequence[RawAnswer]) -> None:
        """Remember what the answers tell beside their samples."""
        seen = self._seen
        seen.warnings = tuple(text for answer in answers for text in answer.warnings)
        seen.num_histograms = sum(answer.num_histograms for answer in answers)
        seen.num_answered = sum(len(answer.metrics) for answer in answers)
        self._series.note(seen)

    def _write(
        self, rows: IntArray, columns: IntArray, times_ms: IntArray, values: FloatArray
    ) -> None:
        """Fill cells. A row never holds what is older than the row before it.

        Behind one address may stand two servers with offsets of their own. A counter that seems
        to fall would be taken for a restarted one, and all of its past counted again.
        """
        backward = (rows > self._seen_row[columns]) & (times_ms < self._seen_ms[columns])
        kept = np.flatnonzero(~backward & (rows <= self._ring.newest))
        rows, columns, times_ms = rows[kept], columns[kept], times_ms[kept]
        self._ring.write(rows, columns, values[kept])
        np.maximum.at(self._seen_row, columns, rows)
        np.maximum.at(self._seen_ms, columns, times_ms)

    def _make_columns(self) -> None:
        more = len(self._series.series) - self._ring.num_columns
        if more > 0:
            self._ring.add_columns(more)
            self._offsets.add_columns(more)
            none = np.full(more, -1, dtype=np.int64)
            self._seen_row = np.append(self._seen_row, none)
            self._seen_ms = np.append(self._seen_ms, none)
            self._learn_roles()

    def _any_late(self, rows: IntArray, columns: IntArray, shown: int) -> bool:
        """Whether samples of what users get came after their row was shown."""
        late = (rows <= shown) & (rows > shown - OVERLAP_ROWS_WIDE) & self._fresh.users[columns]
        late[late] = ~self._ring.present(rows[late], columns[late])
        return bool(late.any())

    def _pack(self) -> None:
        # A counter that comes back after an hour must be known then: one that was never seen
        # only sets its level, or, where its target is known, counts from zero.
        young = self._ring.newest - self._seen_row < round(1000.0 * KEEP_USERS_S) // self._step_ms
        kept = self._ring.pack(keep=self._fresh.users & young)
        if kept is not None:
            self._seen_row, self._seen_ms = self._seen_row[kept], self._seen_ms[kept]
            self._series.keep(kept)
            self._offsets.keep(kept)
            self._learn_roles()

    def _learn_roles(self) -> None:
        roles = self._series.roles
        self._fresh.learn(roles)
        self._jobs.learn(roles)
        self._pods.learn(self._series.series, roles)
        self._spelling = live_spelling(self._series.stored, self._catalogue)

    def trusted(self) -> MetricFrame:
        """Rows up to the newest FRESH reading; no rows before the first. A copy: do not keep it."""
        return self._frame(self._trusted_row)

    def _frame(self, newest: int) -> MetricFrame:
        oldest = max(self._ring.oldest, self._first_row, 0)
        if newest < 0 or self._first_row < 0:
            oldest, newest = 0, -1
        numbers = np.arange(oldest, newest + 1, dtype=np.float64)
        return MetricFrame(
            times_s=numbers * (self._step_ms / 1000.0),
            values=self._ring.table(oldest=oldest, newest=newest),
            series=self._series.series,
            roles=self._series.roles,
            step_s=self._step_ms / 1000.0,
            generation=self._series.generation,
        )

    def _next_at_s(self, *, taken: bool) -> float:
        if self._ring.newest < 0 or not taken:  # a server that is away is not asked more often
            return self._seen.now_s + self._seen.step_s
        row = self._ring.newest + 1 + self._late.rows
        return max(self._seen.now_s, (row * self._step_ms + self._settle_ms) / 1000.0)
