"""Rows of single cases -> figures by method and set, and methods compared in pairs."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rca.scoring import (
    MISS,
    Accuracy,
    accuracy,
    bootstrap_interval,
    mean_accuracy,
    paired_difference,
    random_floor,
)

Row = dict[str, Any]
FLOORS = ("random", "column order")  # no methods to be beaten, but floors


def summarise(rows: Sequence[Row], *, first: Sequence[str], ours: Sequence[str]) -> dict[str, Any]:
    """All figures.

    Args:
        first: methods in the order to show.
        ours: those of them to be compared with each of the others.
    """
    of = {m: [r for r in rows if r["method"] == m] for m in first}
    of = {m: found for m, found in of.items() if found}
    every = {(r["set"], r["case"]) for r in rows}
    sets = sorted({name for name, _ in every})
    methods = [_method(m, found, sets) for m, found in of.items()]
    whole = [m for m in methods if m["n"] == len(every)]
    peers = [m for m in whole if m["method"] not in (*ours, *FLOORS)]
    best = max(peers, key=lambda m: m["macro"]["ac_at_1"], default=None)
    best_avg = max(peers, key=lambda m: m["macro"]["avg_at_5"], default=None)
    against = [] if best is None else [
        _against(a, best["method"], of, [m["method"] for m in peers], sets) for a in ours if a in of
    ]  # fmt: skip
    return {
        "cases": {name: sum(s == name for s, _ in every) for name in sets},
        "best_peer": best and {"ac_at_1": best["method"], "avg_at_5": best_avg["method"]},
        "random_expected_ac_at_1": _chance(rows, sets),
        "rows": methods,
        "against_best": against,
        "paired": [_pair(a, b, of[a], of[b]) for a in ours if a in of for b in of if b not in ours],
    }


def _chance(rows: Sequence[Row], sets: Sequence[str]) -> float:
    """AC@1 that a blind guess among the services expects; `random` is one such guess a case."""
    known = {(r["set"], r["case"]): r["candidates"] for r in rows if r.get("candidates")}
    floors = [random_floor([n for (s, _), n in known.items() if s == name]) for name in sets]
    return round(statistics.fmean(floors), 4) if known else 0.0


def _method(name: str, rows: Sequence[Row], sets: Sequence[str]) -> dict[str, Any]:
    by_set = {s: [r for r in rows if r["set"] == s] for s in sets}
    known = {s: found for s, found in by_set.items() if found}
    macro = mean_accuracy([accuracy(_ranks(found)) for found in known.values()])
    metric = [accuracy(m) for found in known.values() if (m := _metric_ranks(found))]
    failures = sum(bool(r["failed"]) for r in rows)
    spent = _median(rows)
    return {
        "method": name,
        "n": len(rows),
        "sets_without_rows": [s for s in sets if s not in known],
        # A mean over some of the sets only would stand beside means over all of them.
        "macro": {
            k: round(v, 4) if len(known) == len(sets) else None
            for k, v in _means(macro).items()
        },
        "macro_metric": _round({"ac_at_1": mean_accuracy(metric).ac_at_1,
                                "avg_at_5": mean_accuracy(metric).avg_at_5}),
        "ac_at_1_by_set": {
            s: round(accuracy(_ranks(by_set[s])).ac_at_1, 4) if by_set[s] else None for s in sets
        },
        "cpu_s_p50": spent,
        "cpu_ms_p50": None if spent is None else round(1e3 * spent, 3),
        "failures": failures,
        "failures_told": failures or None,
        "sets": {s: _set(found) for s, found in known.items()},
    }  # fmt: skip


def _means(macro: Accuracy) -> dict[str, float]:
    """With the split of "Where RCA Fails": found among five, and first if so."""
    among = macro.ac_at_5
    return {k: v for k, v in asdict(macro).items() if k != "n"} | {
        "retrieval_at_5": among,
        "rerank_at_1": macro.ac_at_1 / among if among else 0.0,
    }


def _against(
    ours: str, best: str, of: dict[str, list[Row]], peers: Sequence[str], sets: Sequence[str]
) -> dict[str, Any]:
    """One of ours beside the best peer overall, and beside the best peer of each set."""
    hits = {m: _hits(of[m], sets) for m in (ours, *peers)}
    by_set = {}
    for name in sets:
        peer = max(peers, key=lambda m, s=name: hits[m][s])
        by_set[name] = {"n": sum(r["set"] == name for r in of[ours]), "ours": hits[ours][name],
                        "best": hits[peer][name], "peer": peer}  # fmt: skip
    behind = [f"{name} ({one['ours']} against {one['best']} of {one['n']}, {one['peer']})"
              for name, one in by_set.items() if one["best"] - one["ours"] > 1]  # fmt: skip
    return _pair(ours, best, of[ours], of[best]) | {
        "behind": ", ".join(behind) or "none",
        "by_set": by_set,
        "kinds_lost": _kinds_lost(of[ours], of[best]),
    }


def _hits(rows: Sequence[Row], sets: Sequence[str]) -> dict[str, int]:
    first = Counter(r["set"] for r, rank in zip(rows, _ranks(rows), strict=True) if rank == 1)
    return {name: first[name] for name in sets}


def _kinds_lost(ours: Sequence[Row], theirs: Sequence[Row]) -> list[dict[str, Any]]:
    """Fault kinds of a set in which the peer is first in more cases."""

    def count(rows: Sequence[Row]) -> Counter[tuple[str, str]]:
        ranked = zip(rows, _ranks(rows), strict=True)
        return Counter((r["set"], r["kind"]) for r, rank in ranked if rank == 1)

    mine, other, every = count(ours), count(theirs), Counter((r["set"], r["kind"]) for r in ours)
    return [{"set": name, "kind": kind, "n": every[name, kind], "ours": mine[name, kind],
             "theirs": other[name, kind]}
            for name, kind in sorted(every) if other[name, kind] > mine[name, kind]]  # fmt: skip


def _set(rows: Sequence[Row]) -> dict[str, Any]:
    ranks = _ranks(rows)
    low, high = bootstrap_interval([r == 1 for r in ranks])
    metric = _metric_ranks(rows)
    kinds: dict[str, list[int]] = {}
    for row, rank in zip(rows, ranks, strict=True):
        kinds.setdefault(row["kind"], []).append(rank)
    return _round(asdict(accuracy(ranks))) | {
        "interval": [round(low, 4), round(high, 4)],
        "metric": _round({k: v for k, v in asdict(accuracy(metric)).items()
                          if k in ("n", "ac_at_1", "avg_at_5")}),
        "by_kind": {kind: _round({"n": len(r), "ac_at_1": accuracy(r).ac_at_1,
                                  "avg_at_5": accuracy(r).avg_at_5})
                    for kind, r in sorted(kinds.items())},
        "cpu_s_p50": _median(rows),
        "failures": dict(Counter(r["failed"] for r in rows if r["failed"]).most_common()),
    }  # fmt: skip


def _pair(a: str, b: str, ours: Sequence[Row], theirs: Sequence[Row]) -> dict[str, Any]:
    """On the cases that both have met."""
    mine = {(r["set"], r["case"]): r for r in ours}
    shared = [r for r in theirs if (r["set"], r["case"]) in mine]
    sets = sorted({r["set"] for r in shared})
    left = {s: _ranks([mine[s, r["case"]] for r in shared if r["set"] == s]) for s in sets}
    right = {s: _ranks([r for r in shared if r["set"] == s]) for s in sets}
    differences = {key: _round(asdict(paired_difference(left, right, depth=depth)))
                   for key, depth in (("ac_at_1", 1), ("avg_at_5", 5))}  # fmt: skip
    return {"ours": a, "theirs": b, "n": len(shared), "sets": len(sets)} | differences


def _ranks(rows: Sequence[Row]) -> list[int]:
    return [MISS if r["rank"] is None or r["failed"] else r["rank"] for r in rows]


def _metric_ranks(rows: Sequence[Row]) -> list[int]:
    return [MISS if r["metric_rank"] is None or r["failed"] else r["metric_rank"]
            for r in rows if r["metric_labelled"]]  # fmt: skip


def _median(rows: Sequence[Row]) -> float | None:
    spent = [r["cpu_s"] for r in rows if r["cpu_s"] is not None]
    return round(statistics.median(spent), 5) if spent else None


def _round(figures: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}


def table(figures: dict[str, Any]) -> str:
    """The figures as lines for a terminal."""
    sets = list(figures["cases"])
    lines = [f"{'method':<24}{'n':>5}" + "".join(f"{s:>15}" for s in sets)
             + f"{'macro':>16}{'metric':>14}{'CPU s':>10}{'failed':>8}"]  # fmt: skip
    for row in figures["rows"]:
        cells = [f"{x['ac_at_1']:.2f} / {x['avg_at_5']:.2f}" if (x := row["sets"].get(s)) else "-"
                 for s in sets]  # fmt: skip
        macro, metric = row["macro"], row["macro_metric"]
        over_sets = "-" if macro["ac_at_1"] is None else "{ac_at_1:.3f} / {avg_at_5:.3f}"
        cpu = "-" if row["cpu_s_p50"] is None else f"{row['cpu_s_p50']:.4f}"
        lines.append(
            f"{row['method']:<24}{row['n']:>5}"
            + "".join(f"{c:>15}" for c in cells)
            + f"{over_sets.format(**macro):>16}"
            + f"{'{ac_at_1:.2f} / {avg_at_5:.2f}'.format(**metric):>14}"
            + f"{cpu:>10}{row['failures']:>8}"
        )
    lines.append(f"a blind guess expects a macro AC@1 of {figures['random_expected_ac_at_1']:.3f}")
    for row in figures["rows"]:
        for name, one in row["sets"].items():
            lines += [f"{row['method']} on {name}: {count} x {why}"
                      for why, count in one["failures"].items()]  # fmt: skip
    for one in figures["against_best"]:
        lines.append(f"{one['ours']}: sets more than one case behind the best peer that ran all "
                     f"cases: {one['behind']}")  # fmt: skip
        lines += [
            f"{one['ours']} loses to {one['theirs']}: {k['set']} {k['kind']}, "
            f"{k['ours']} against {k['theirs']} of {k['n']}"
            for k in one["kinds_lost"]
        ]
    best = (figures["best_peer"] or {}).values()
    for pair in figures["paired"]:
        mark = ", the best peer" if pair["theirs"] in best else ""
        parts = [f"{label} {pair[key]['value']:+.3f} ({pair[key]['low']:+.3f} to "
                 f"{pair[key]['high']:+.3f})"
                 for label, key in (("AC@1", "ac_at_1"), ("Avg@5", "avg_at_5"))]  # fmt: skip
        lines.append(f"{pair['ours']} - {pair['theirs']} ({pair['n']} cases{mark}): "
                     + ", ".join(parts))  # fmt: skip
    return "\n".join(lines)
