"""Figures of a sweep from its rows: accuracy, time to a cause, savings, false alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
ORACLE_SAVES_MIN = 0.2  # kinds where the oracle saves less say nothing about acting
LOST_MIN = 0.5  # weighted minutes; below it a share of them is noise


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures in the fixed form that `chaos run --json` prints."""
    skipped = {r["kind"]: r["skipped"] for r in rows if "skipped" in r}
    rows = [r for r in rows if "skipped" not in r]
    faults = [r for r in rows if r["kind"] != "healthy"]
    healthy = [r for r in rows if r["kind"] == "healthy"]
    kinds = sorted({r["kind"] for r in faults})
    return {
        "runs": len(rows),
        "skipped": skipped,  # kind -> why there was nothing to break
        "ac_at_1": _share(r["rank"] == 1 for r in faults),
        "ac_at_3": _share(1 <= r["rank"] <= 3 for r in faults),
        "entity_and_class": _share(r["class_right"] for r in faults),
        "by_kind": {k: _kind([r for r in faults if r["kind"] == k]) for k in kinds},
        "peers": _peers(faults),
        "healthy": {
            "days": round(sum(r["days"] for r in healthy), 3),
            "accusations": sum(r["accusations"] for r in healthy),
        },
        "without_effect": _without_effect(faults),
        "time_to_cause_s": _percentiles(faults),
        "lead_s": _lead(faults),
        "slo": _slo(faults, kinds),
        "outcomes": dict(sorted(sum((Counter(r["outcomes"]) for r in faults), Counter()).items())),
        "hidden_direct_ac_at_1": _share(r["rank"] == 1 for r in faults if r["hide_direct"]),
        "innocent_closer_ac_at_1": _share(r["rank"] == 1 for r in faults if r["innocent_closer"]),
    }


def calibration(rows: Sequence[Row], *, num_bins: int = 5) -> list[dict[str, float]]:
    """How often a named cause was right, by equal-mass bins of its confidence."""
    named = sorted(
        (r["confidence"], int(r["rank"] == 1))
        for r in rows
        if r["kind"] != "healthy" and "skipped" not in r and not r["abstained"]
    )
    if not named:
        return []
    bins = np.array_split(np.asarray(named), min(num_bins, len(named)))
    return [
        {
            "low": float(b[0, 0]),
            "high": float(b[-1, 0]),
            "cases": len(b),
            "hits": int(b[:, 1].sum()),
        }
        for b in bins
    ]


def _kind(rows: Sequence[Row]) -> dict[str, Any]:
    lost = [r["lost"] for r in rows if "without" in r["lost"]]
    return {
        "runs": len(rows),
        "ac_at_1": _share(r["rank"] == 1 for r in rows),
        "ac_at_3": _share(1 <= r["rank"] <= 3 for r in rows),
        "entity_and_class": _share(r["class_right"] for r in rows),
        "silent": sum(r["detected_at_s"] is None for r in rows),
        "lost_without": _mean([x["without"] for x in lost]),
        "lost_with": _mean([x["with"] for x in lost]),
        "lost_oracle": _mean([x["oracle"] for x in lost]),
        "lost_restart": _mean([x["restart"] for x in lost]),
    }


def _peers(rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    names = sorted({name for r in rows for name in r["peers"]})
    return {
        name: {
            "ac_at_1": _share(r["peers"].get(name, 0) == 1 for r in rows),
            "ac_at_3": _share(1 <= r["peers"].get(name, 0) <= 3 for r in rows),
        }
        for name in names
    }


def _without_effect(rows: Sequence[Row]) -> dict[str, Any]:
    """Faults without one bad minute in the world without us: nobody is to be accused of them."""
    quiet = [r for r in rows if r["lost"].get("without") == 0.0]
    named = [r for r in quiet if not r["abstained"]]
    return {
        "runs": len(quiet),
        "accused": len(named),
        "right": sum(r["rank"] == 1 for r in named),  # of these
        "kinds": dict(sorted(Counter(r["kind"] for r in quiet).items())),
    }


def _percentiles(rows: Sequence[Row]) -> dict[str, float | None]:
    """First symptom to named cause; a cause named before any symptom counts as 0."""
    waits = [
        max(0.0, r["diagnosed_at_s"] - r["first_symptom_s"])
        for r in rows if r["diagnosed_at_s"] is not None and r["first_symptom_s"] is not None
    ]  # fmt: skip
    if not waits:
        return {"p50": None, "p95": None, "cases": 0}
    return {
        "p50": float(np.percentile(waits, 50)),
        "p95": float(np.percentile(waits, 95)),
        "cases": len(waits),
    }


def _lead(rows: Sequence[Row]) -> dict[str, float | int | None]:
    """From the named cause to the slow page of the world without us, over runs that page there.

    A page before the cause, or without any cause, is not ahead.
    """
    paged = [r for r in rows if r.get("page_at_s") is not None]
    leads = [r["page_at_s"] - r["diagnosed_at_s"] for r in paged if r["diagnosed_at_s"] is not None]
    return {
        "paged": len(paged),
        "ahead": sum(lead > 0.0 for lead in leads),
        "p50": float(np.percentile(leads, 50)) if leads else None,
        "worst": min(leads, default=None),
    }


def _slo(rows: Sequence[Row], kinds: Sequence[str]) -> dict[str, Any]:
    """Cut of lost minutes over the kinds where an oracle saves something; worst run over all."""
    cuts: list[float] = []
    shares: list[float] = []
    counted: list[str] = []
    for kind in kinds:
        lost = [r["lost"] for r in rows if r["kind"] == kind and "without" in r["lost"]]
        without = sum(x["without"] for x in lost)
        if without < LOST_MIN or sum(x["oracle"] for x in lost) > (1 - ORACLE_SAVES_MIN) * without:
            continue
        counted.append(kind)
        for x in lost:
            if x["without"] < LOST_MIN:
                continue
            cuts.append(1.0 - x["with"] / x["without"])
            saved = x["without"] - x["oracle"]
            if saved > 0.0:
                shares.append((x["without"] - x["with"]) / saved)
    worst = [
        (x["with"] - x["without"], x["with"] / max(x["without"], 1e-9))
        for x in (r["lost"] for r in rows) if "without" in x
    ]  # fmt: skip
    broken = sum(
        x["with"] > x["without"] + max(0.05 * x["without"], 1.0)
        for x in (r["lost"] for r in rows) if "without" in x
    )  # fmt: skip
    return {
        "kinds": counted,
        "cut_median": _median(cuts),
        "oracle_share_median": _median(shares),
        "worst_ratio": max((ratio for extra, ratio in worst if extra > 1.0), default=1.0),
        "worst_extra_minutes": max((extra for extra, _ in worst), default=0.0),
        "runs_over_bound": broken,
    }


def _share(values: Any) -> float | None:
    found = [bool(v) for v in values]
    return round(sum(found) / len(found), 4) if found else None


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if values else None
