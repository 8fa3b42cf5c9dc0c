"""Random walks from the symptom along effect -> cause arcs: over entities, and over series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from rca.state import Entity, FloatArray

DAMPING = 0.85
PRIOR_MIN = 0.05  # weight of a cause that did not change, beside one that did


def walk(
    graph: nx.DiGraph, *, restart: Mapping[Entity, float], prior: Mapping[Entity, float]
) -> dict[Entity, float]:
    """Personalised PageRank, scaled so that the most visited entity has 1.

    Args:
        graph: arcs effect -> cause with `weight`.
        restart: symptom entity -> weight; entities that the graph lacks are ignored.
        prior: entity -> change strength 0..1; an arc counts the more the more its cause changed.

    Returns:
        Visits per entity; empty for a graph without arcs or without a known symptom.

    Source: MicroRCA and RUN rank by PageRank with a personalisation vector.
    Differs: restart is on the symptoms, not on dangling nodes, and no graph is cut to a DAG.
    """
    known = {entity: weight for entity, weight in restart.items() if entity in graph}
    if graph.number_of_edges() == 0 or sum(known.values()) <= 0.0:
        return {}
    weighted: nx.DiGraph = nx.DiGraph()
    weighted.add_nodes_from(sorted(graph.nodes))
    for effect, cause, data in sorted(graph.edges(data=True), key=lambda e: (e[0], e[1])):
        weighted.add_edge(
            effect, cause, weight=data["weight"] * (PRIOR_MIN + prior.get(cause, 0.0))
        )
    # A walk that stays where it is ends on the culprit; without it leaves always win.
    for entity in sorted(prior):
        if entity in weighted and prior[entity] > 0.0:
            weighted.add_edge(entity, entity, weight=prior[entity])
    visits = nx.pagerank(
        weighted, alpha=DAMPING, personalization=known, dangling=known, weight="weight", tol=1e-8
    )
    for entity in known:
        # Restarts are no evidence: what falls on the symptom itself is taken off.
        visits[entity] = max(0.0, visits[entity] - (1.0 - DAMPING) * known[entity])
    top = max(visits.values())
    return {e: v / top for e, v in visits.items()} if top > 0.0 else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRanking:
    """Series of a Granger matrix, the likeliest origin first.

    Attributes:
        scores: visits of the walk times what speaks for the series itself, sum 1, shape [K].
        order: places of all series, each once, by score and then by name.
        reason: why the order says less than it seems to; empty when it does not.
    """

    scores: FloatArray
    order: tuple[int, ...]
    reason: str = ""


def rank_series(
    granger: FloatArray, *, restart: FloatArray, prior: FloatArray, names: Sequence[str]
) -> SeriesRanking:
    """Personalised PageRank over a Granger matrix, solved exactly, times what speaks for each.

        P[i, j] ~ granger[i, j] (0.05 + prior[j]) / sum_j granger[i, j],  P[i, i] ~ prior[i]
        p = (1 - a) v (I - a P)^-1,  v ~ restart,  a = 0.85;  score = p (0.05 + prior)

    Staying is no arc: a walk stays as far as a series is its own explanation, and for good where
    it has no cause. Rows of P sum to 1.

    Args:
        granger: granger[i, j] >= 0 = effect of series j on series i; the diagonal is ignored.
        restart: weight of each series as a symptom, >= 0, e.g. its change score, shape [K].
        prior: how far each series changed by itself, >= 0, e.g. |exogenous|, shape [K].

    Source: RUN (AAAI 2024), stage 3. Differs: arcs run effect -> cause, the restart is on what
    suffers, the walk may stay, cycles are kept, ties are broken by name.
    """
    num_series = len(granger)
    if num_series == 0:
        return SeriesRanking(scores=np.zeros(0), order=(), reason="no series")
    strength = np.abs(granger)
    np.fill_diagonal(strength, 0.0)
    caused = strength.sum(axis=1)
    own = np.asarray(prior, dtype=float)
    step = strength / np.where(caused > 0.0, caused, 1.0)[:, None] * (PRIOR_MIN + own)[None, :]
    step[np.diag_indices(num_series)] = np.where(caused > 0.0, own, 1.0)
    step /= step.sum(axis=1, keepdims=True)
    total = float(np.sum(restart))
    start = np.asarray(restart) / total if total > 0.0 else np.full(num_series, 1.0 / num_series)
    visits = np.linalg.solve(np.eye(num_series) - DAMPING * step.T, (1.0 - DAMPING) * start)
    speaking = visits * (PRIOR_MIN + own)
    scores = np.round(speaking / speaking.sum(), 12)  # the solver's dust must not break ties
    reason = ""
    if float(np.ptp(scores)) == 0.0 and num_series > 1:
        reason = "all series score the same"
    elif not caused.any():
        reason = "no arcs: ranked by change alone"
    order = sorted(range(num_series), key=lambda place: (-scores[place], names[place]))
    return SeriesRanking(scores=scores, order=tuple(order), reason=reason)


def chance_in_top(scores: FloatArray, truth: int, k: int) -> float:
    """Chance that `truth` is among the first `k` when ties are broken by lot.

    The fair score of an evaluation: equal scores for all give k / K, not 1.
    """
    ahead = int((scores > scores[truth]).sum())
    tied = int((scores == scores[truth]).sum())
    return float(np.clip((k - ahead) / tied, 0.0, 1.0))
