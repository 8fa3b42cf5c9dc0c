"""Which questions a window is read by, and what to do when one is too large for the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar

from ops.adapters.prometheus_answers import Answer, RawAnswer
from ops.adapters.prometheus_selectors import Matcher
from ops.clock import Deadline
from ops.errors import TooMuchError

SAMPLES_PER_ANSWER = 400_000  # about 12 MB; by default servers refuse more than 50 million
NAMES_PER_ANSWER = 100
SERIES_GUESSED = 200  # of a name that had none at both ends of the window
PART_MS_MIN = 1_000  # a question over less time is not cut any more

_A = TypeVar("_A", Answer, RawAnswer)
Tick = Callable[[int, int, int], None]  # questions answered, questions known so far, samples


def no_tick(_answered: int, _known: int, _num_samples: int) -> None:
    """Nobody is told."""


class RawSamples(Protocol):
    """What a frame is made of: the reader of a Prometheus, or a fake."""

    @property
    def url(self) -> str:
        """Address for messages."""
        ...

    def names(
        self, *, after_ms: int, until_ms: int, matchers: Sequence[Matcher], deadline: Deadline
    ) -> tuple[str, ...]:
        """Names of metrics stored about that time."""
        ...

    def num_series(
        self, names: Sequence[str], *, at_ms: int, matchers: Sequence[Matcher], deadline: Deadline
    ) -> dict[str, int]:
        """Series of each name that lived at that moment."""
        ...

    def samples(
        self,
        names: Sequence[str],
        *,
        after_ms: int,
        until_ms: int,
        matchers: Sequence[Matcher],
        deadline: Deadline,
    ) -> Answer:
        """Samples as they were scraped."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """One question: some names over some of the time."""

    names: tuple[str, ...]
    matchers: tuple[Matcher, ...]
    after_ms: int
    until_ms: int

    def halves(self) -> tuple[Part, Part] | None:
        """Two questions with the same samples, or None when there is nothing to halve."""
        if len(self.names) > 1:
            cut = len(self.names) // 2
            names, others = self.names[:cut], self.names[cut:]
            return (
                Part(names, self.matchers, self.after_ms, self.until_ms),
                Part(others, self.matchers, self.after_ms, self.until_ms),
            )
        middle_ms = (self.after_ms + self.until_ms) // 2
        if middle_ms - self.after_ms < PART_MS_MIN:
            return None
        return (
            Part(self.names, self.matchers, self.after_ms, middle_ms),
            Part(self.names, self.matchers, middle_ms, self.until_ms),
        )


def count_series(
    reader: RawSamples,
    known: Mapping[str, tuple[Matcher, ...]],
    *,
    at_ms: Sequence[int],
    deadline: Deadline,
) -> dict[str, int]:
    """Most series of each name at any of these moments; a name without any is left out.

    Raises:
        PrometheusError: no usable answer.
    """
    counts: dict[str, int] = {}
    for matchers, names in _by_matchers(known).items():
        for moment_ms in at_ms:
            living = reader.num_series(names, at_ms=moment_ms, matchers=matchers, deadline=deadline)
            for name, count in living.items():
                counts[name] = max(count, counts.get(name, 0))
    return counts


def make_parts(
    known: Mapping[str, tuple[Matcher, ...]],
    counts: Mapping[str, int],
    *,
    after_ms: int,
    until_ms: int,
    step_ms: int,
) -> list[Part]:
    """Questions of about SAMPLES_PER_ANSWER each: small metrics together, large ones over time."""
    rows = (until_ms - after_ms) / step_ms
    parts: list[Part] = []
    for matchers, names in _by_matchers(known).items():
        group: list[str] = []
        size = 0.0
        for name in names:
            more = counts.get(name, SERIES_GUESSED) * rows
            if group and (size + more > SAMPLES_PER_ANSWER or len(group) >= NAMES_PER_ANSWER):
                parts += _over_time(Part(tuple(group), matchers, after_ms, until_ms), size)
                group, size = [], 0.0
            group.append(name)
            size += more
        parts += _over_time(Part(tuple(group), matchers, after_ms, until_ms), size)
    return parts


def ask(
    reader: RawSamples, parts: Sequence[Part], *, deadline: Deadline, tick: Tick = no_tick
) -> list[Answer]:
    """Answers in order of time; what is too much for the server is asked in halves.

    Raises:
        TooMuchError: too much even for one name and a second.
        PrometheusError: no usable answer.
    """
    return ask_by(
        lambda part: reader.samples(
            part.names,
            after_ms=part.after_ms,
            until_ms=part.until_ms,
            matchers=part.matchers,
            deadline=deadline,
        ),
        parts,
        deadline=deadline,
        tick=tick,
    )


def ask_by(
    read: Callable[[Part], _A], parts: Sequence[Part], *, deadline: Deadline, tick: Tick = no_tick
) -> list[_A]:
    """The same with a way of reading of the caller's.

    Raises:
        TooMuchError: too much even for one name and a second.
        PrometheusError: no usable answer.
    """
    answers: list[_A] = []
    num_samples = 0
    open_parts = list(reversed(parts))
    while open_parts:
        part = open_parts.pop()
        try:
            answers.append(read(part))
        except TooMuchError:
            halves = part.halves()
            if halves is None or deadline.left_s() <= 0.0:
                raise
            open_parts += reversed(halves)
            continue
        num_samples += len(answers[-1].values)
        tick(len(answers), len(answers) + len(open_parts), num_samples)
    return answers


def _by_matchers(
    known: Mapping[str, tuple[Matcher, ...]],
) -> dict[tuple[Matcher, ...], list[str]]:
    groups: dict[tuple[Matcher, ...], list[str]] = {}
    for name, matchers in sorted(known.items()):
        groups.setdefault(matchers, []).append(name)
    return groups


def _over_time(whole: Part, size: float) -> list[Part]:
    pieces = max(1, round(size / SAMPLES_PER_ANSWER))
    length_ms = whole.until_ms - whole.after_ms
    cuts = [whole.after_ms + length_ms * k // pieces for k in range(pieces + 1)]
    return [
        Part(whole.names, whole.matchers, low, high) for low, high in pairwise(cuts) if low < high
    ]
