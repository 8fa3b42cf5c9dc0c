"""Settings chosen on some cases to score others: the whole grid, the middle near the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rca.judging import Judged, Reading, read_trial
from rca.knobs import LocaliseConfig, central, settings
from rca.localise import service_ranking
from rca.scoring import MISS, accuracy, mean_accuracy, rank_of
from rca.trust import Answer, answers_of

NEARLY = 0.01  # settings so little below the best are as good: less than a case in a hundred


class Tuner:
    """Ranks of all cases by settings, each computed once, for the whole grid."""

    def __init__(self, judged: Sequence[Judged]) -> None:
        self.judged = judged
        self.ranks: dict[LocaliseConfig, list[int]] = {}
        self.readings: dict[LocaliseConfig, list[tuple[Reading, ...]]] = {}

    def choose(self, cases: Sequence[int]) -> LocaliseConfig:
        """The middle of the settings with (nearly) the best mean of AC@1 and Avg@5 per set."""
        value = {config: self.value(config, cases) for config in settings()}
        least = max(value.values()) - NEARLY
        return central([config for config in value if value[config] >= least])

    def answers(self, config: LocaliseConfig, fold: Callable[[Judged], str]) -> list[Answer]:
        """What these settings say of every trial."""
        if config not in self.readings:
            self.readings[config] = [
                tuple(read_trial(t, config) for t in j.trials) for j in self.judged
            ]
        return answers_of(self.judged, fold, self.readings[config])

    def value(self, config: LocaliseConfig, cases: Sequence[int]) -> float:
        """Mean of AC@1 and Avg@5 over the sets of these cases, each set weighing the same."""
        if config not in self.ranks:
            self.ranks[config] = [self._rank(one, config) for one in self.judged]
        ranks = self.ranks[config]
        by_set: dict[str, list[int]] = {}
        for n in cases:
            if self.judged[n].labels.is_fault:
                by_set.setdefault(self.judged[n].case.dataset, []).append(ranks[n])
        if not by_set:
            return 0.0
        mean = mean_accuracy([accuracy(r) for r in by_set.values()])
        return round(0.5 * (mean.ac_at_1 + mean.avg_at_5), 9)

    @staticmethod
    def _rank(one: Judged, config: LocaliseConfig) -> int:
        if one.prepared is None or one.failed or not one.labels.is_fault:
            return MISS
        ranking = [name for name, _ in service_ranking(one.prepared, config)]
        return rank_of(ranking, one.labels.right)
