"""One recorded case judged: ranks, trust, own change point, quiet moments, cost.

Labels meet answers here and nowhere else; a method gets the incident alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from rca.datasets import Case, read_incident, read_labels
from rca.disturb import Disturbance, disturb
from rca.errors import DatasetError, RcaError
from rca.forecasters import Forecaster
from rca.incident import Incident, Labels
from rca.knobs import LocaliseConfig
from rca.localisation import GrangerUse, Localisation
from rca.localise import CHANNELS, LINEAR, decide
from rca.prepare import Channels, Prepared, prepare
from rca.presence import confidence_features
from rca.quiet import Source, quiet_windows, rows_of
from rca.scoring import MISS, rank_of

logger = logging.getLogger(__name__)

# More answers per case for the calibration, which needs hundreds: what goes wrong in practice.
REPLICAS = (
    Disturbance(drop_cells=0.3),
    Disturbance(late_services=0.3),
    Disturbance(dirty=True),
    Disturbance(hide_fault_time=True),
)
WITHIN_ROWS = 2  # a change point counts as found within two coarse rows ...
WITHIN_S = 15.0  # ... or so many seconds, whichever is more


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Which parts of the method run, and on what.

    Attributes:
        channels: beside the metrics; empty for metrics only.
        without: channels left out, by name.
        granger: what leads what, by which model; None for none.
        repair: whether a given fault time is mended.
    """

    channels: tuple[Channels, ...] = CHANNELS
    without: frozenset[str] = frozenset()
    granger: Forecaster | None = LINEAR
    repair: bool = True
    spans: bool = True
    logs: bool = True
    disturbance: Disturbance = field(default_factory=Disturbance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One occasion on which a confidence is stated: a case, a disturbed copy, a quiet window.

    Attributes:
        wanted: causes; empty in fault-free time, where nothing that is named is right.
        copy: whether it is a disturbed copy of another trial of its case.
        source: which data a fault-free window consists of, None for a fault.
        rows: what a fault-free window consists of; windows that share any count once.
    """

    prepared: Prepared
    wanted: tuple[str, ...]
    copy: bool = False
    source: Source | None = None
    rows: frozenset[bytes] = frozenset()

    def read(self, answer: Localisation) -> Reading:
        """What is said of it, and whether that is right."""
        names = [s.name for s in answer.services]
        return Reading(
            presence=answer.presence,
            features=confidence_features(answer.presence, [s.score for s in answer.services]),
            hit=rank_of(names, self.wanted) == 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the method says of one trial with some settings.

    Attributes:
        features: that the confidence is a function of.
        hit: whether the first service is a cause.
    """

    presence: float
    features: tuple[float, ...]
    hit: bool


@dataclass(slots=True, kw_only=True)
class Judged:
    """What one case gave.

    Attributes:
        prepared: for other settings; None after a failure.
        rank, metric_rank: `scoring.MISS` where the cause is not ranked; the latter None where no
            metric is labelled.
        each_rank: rank of each of several causes at the same time.
        num_candidates: services that could be named.
        alphabetical: rank of the cause by name alone, the floor of column order.
        change_off_s: distance of the own change point from the truth with the time hidden, None
            where that is not scored.
        failed: why there is no answer, empty if there is one.
        trials: the case itself, its disturbed copies and its fault-free windows.
        readings: of the trials with the settings of the evaluation.
    """

    case: Case
    labels: Labels
    prepared: Prepared | None = None
    rank: int = MISS
    metric_rank: int | None = None
    each_rank: tuple[int, ...] = ()
    num_candidates: int = 0
    alphabetical: int = MISS
    presence: float = 0.0
    felt: float | None = None
    change_off_s: float | None = None
    step_s: float = 1.0
    trials: tuple[Trial, ...] = ()
    readings: tuple[Reading, ...] = ()
    cpu_s: float = 0.0
    granger: GrangerUse = field(default_factory=GrangerUse)
    failed: str = ""

    @property
    def change_found(self) -> bool | None:
        """Whether the own change point was near enough, None where that is not scored."""
        if self.change_off_s is None:
            return None
        return abs(self.change_off_s) <= max(WITHIN_S, WITHIN_ROWS * self.step_s)


def judge(
    case: Case, method: Method, config: LocaliseConfig, *, cpu_s: Callable[[], float]
) -> Judged:
    """Run the method on one case. What cannot be read or ranked is a miss with its reason."""
    try:
        labels = read_labels(case)
    except DatasetError as error:
        return _unread(
            case,
            Labels(incident_id=case.name, dataset=case.dataset, system=case.dataset, service=""),
            error,
        )
    try:
        incident = read_incident(case)
    except DatasetError as error:
        return _unread(case, labels, error)
    incident = _restricted(incident, method)
    judged = Judged(case=case, labels=labels, step_s=incident.step_s)
    if labels.metrics and labels.is_fault:
        judged.metric_rank = MISS
    try:
        disturbed = disturb(incident, method.disturbance)
        began = cpu_s()
        judged.prepared = _prepare(disturbed, method)
        answer = _decide(judged.prepared, method, config)
        judged.cpu_s = cpu_s() - began
        read_off(judged, answer)
        judged.trials = tuple(_trials(incident, disturbed, judged, method))
        judged.readings = _readings(judged, answer, config)
        if labels.is_fault:
            judged.change_off_s = _change_off(incident, labels, method)
    except (RcaError, ValueError, ArithmeticError, LookupError) as error:
        logger.debug("case=%s failed", case.case_id, exc_info=True)
        judged.failed = f"{type(error).__name__}: {error}"
        judged.rank, judged.trials, judged.readings = MISS, (), ()
    return judged


def _unread(case: Case, labels: Labels, error: DatasetError) -> Judged:
    wanted = MISS if labels.metrics and labels.is_fault else None
    return Judged(case=case, labels=labels, failed=str(error), metric_rank=wanted)


def read_off(judged: Judged, answer: Localisation) -> None:
    """Ranks of an answer against the labels, in place."""
    labels = judged.labels
    names = [s.name for s in answer.services]
    wanted = labels.right
    judged.rank = rank_of(names, wanted)
    first = (labels.service, *labels.alternatives)
    judged.each_rank = tuple(rank_of(names, w) for w in (first, *((s,) for s in labels.also)))
    judged.num_candidates = len(names)
    judged.alphabetical = rank_of(sorted(names), wanted)
    judged.presence = answer.presence
    judged.felt = answer.felt
    judged.granger = answer.granger
    if judged.metric_rank is not None:
        judged.metric_rank = rank_of([m.name for m in answer.metrics], labels.metrics or ())


def _restricted(incident: Incident, method: Method) -> Incident:
    if not method.spans:
        incident = replace(incident, spans=None, normal_spans=())
    if not method.logs:
        incident = replace(incident, logs=None, normal_logs=())
    return incident


def _prepare(incident: Incident, method: Method) -> Prepared:
    return prepare(incident, channels=method.channels, without=method.without, repair=method.repair)


def _decide(prepared: Prepared, method: Method, config: LocaliseConfig) -> Localisation:
    return decide(prepared, config, granger=method.granger)


def _readings(judged: Judged, answer: Localisation, config: LocaliseConfig) -> tuple[Reading, ...]:
    """Of all trials; the case itself is answered already."""
    return tuple(
        trial.read(answer) if trial.prepared is judged.prepared else read_trial(trial, config)
        for trial in judged.trials
    )


def read_trial(trial: Trial, config: LocaliseConfig) -> Reading:
    """The method's word on one trial."""
    return trial.read(decide(trial.prepared, config, granger=None))


def _trials(
    incident: Incident, disturbed: Incident, judged: Judged, method: Method
) -> Iterator[Trial]:
    labels, prepared = judged.labels, judged.prepared
    assert prepared is not None
    if labels.is_fault:
        yield Trial(prepared=prepared, wanted=labels.right)
        for how in REPLICAS:
            copy = _prepare(disturb(disturbed, how), method)
            yield Trial(prepared=copy, wanted=labels.right, copy=True)
    elif labels.is_quiet:
        yield Trial(prepared=prepared, wanted=(), source=Source.METRICS, rows=rows_of(incident))
    for window in quiet_windows(incident):
        if window.source is Source.TRACES and not method.channels:
            continue
        quiet = disturb(window.incident, replace(method.disturbance, shift_s=0.0))
        yield Trial(prepared=_prepare(quiet, method), wanted=(), source=window.source,
                    rows=window.rows)  # fmt: skip


def _change_off(incident: Incident, labels: Labels, method: Method) -> float | None:
    """Of a spliced record it is the join that is found, which its own step makes easy."""
    if labels.injected_at_s is None:
        return None
    hidden = disturb(incident, replace(method.disturbance, hide_fault_time=True))
    found = _prepare(hidden, replace(method, channels=())).found
    return None if found.change_at_s is None else found.change_at_s - labels.injected_at_s


def rank_with(judged: Sequence[Judged], method: Method, config: LocaliseConfig) -> None:
    """Judge prepared cases again with other settings, in place."""
    for one in judged:
        if one.prepared is not None and not one.failed:
            answer = _decide(one.prepared, method, config)
            read_off(one, answer)
            one.readings = _readings(one, answer, config)
