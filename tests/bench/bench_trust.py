"""How far answers about recorded incidents can be trusted: presence, calibration, risk by coverage.

Run: python tests/bench/bench_trust.py --data DIR [--data OWN ...]; about five minutes for the
public sets. DIR and OWN are folders of sets in the documented layout, OWN such as
`midwatch chaos record` writes. Prints and writes tests/bench/results/trust.json (figures with the
shipped numbers, by sets and by systems left out; what all the sets together would choose) and
trust.svg: risk by coverage, and stated against true confidence, of answers by folds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ops.clock import cpu_s
from rca.evaluate import evaluate, system_of
from rca.judging import Judged
from rca.presence import CONFIDENCE, PRESENCE_MIN
from rca.trust import (
    Answer,
    Rule,
    Rules,
    answers_of,
    calibration_figures,
    curve_figures,
    fit_rule,
    presence_figures,
    rules_by_fold,
)

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("MIDWATCH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "rca"
LEFT_OUT = 77
FOLDS = {"set": lambda j: j.case.dataset, "system": system_of}
NUM_BINS = 5
WIDTH, HEIGHT, LEFT, TOP = 300, 180, 60, 30
BLUE, GREY = "#1a57a0", "#767676"


def judge_all(roots: Sequence[Path]) -> list[Judged]:
    """All cases below all folders."""

    def tick(what: str, done: int, total: int) -> None:
        if done % 25 == 0 or done == total:
            print(f"{what} {done}/{total}", file=sys.stderr, flush=True)

    return [one for root in roots for one in evaluate(root, cpu_s=cpu_s, tick=tick).judged]


def figures_of(answers: Sequence[Answer], rules: Rules) -> dict[str, Any]:
    """Presence, calibration and curves; the threshold of each fold."""
    faults = [a for a in answers if not a.quiet]
    return {
        "presence": presence_figures(answers, rules),
        "calibration": calibration_figures(answers, rules),
        "risk_coverage": curve_figures(answers, rules),
        "risk_coverage_faults": curve_figures(faults, rules),
        "thresholds": {fold: round(rule.presence_min, 3) for fold, rule in rules.items()},
    }


def bins_of(answers: Sequence[Answer], rules: Rules) -> list[tuple[float, float]]:
    """Mean stated confidence and share of hits in bins of equal mass."""
    said = np.array([rules[a.fold].confidence([a])[0] for a in answers])
    hit = np.array([a.reading.hit for a in answers], dtype=float)
    order = np.argsort(said, kind="stable")
    return [(float(said[part].mean()), float(hit[part].mean()))
            for part in np.array_split(order, NUM_BINS)]  # fmt: skip


def line(points: Sequence[tuple[float, float]], panel: int, colour: str, style: str = "") -> str:
    """A polyline over the unit square of one panel."""
    places = " ".join(
        f"{LEFT + panel * 380 + WIDTH * x:.1f},{TOP + HEIGHT * (1.0 - y):.1f}" for x, y in points
    )
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"{style}/>'


def frame(panel: int, title: str, across: str, up: str) -> str:
    """Axes from 0 to 1 with quarters, labelled."""
    left, bottom = LEFT + panel * 380, TOP + HEIGHT
    parts = [f'<text x="{left}" y="18" font-weight="bold">{title}</text>']
    for quarter in range(5):
        x, y = left + WIDTH * quarter / 4, bottom - HEIGHT * quarter / 4
        parts.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{quarter / 4:g}</text>')
        parts.append(f'<text x="{x}" y="{bottom + 15}" text-anchor="middle">{quarter / 4:g}</text>')
    parts.append(f'<text x="{left + WIDTH / 2}" y="{bottom + 32}" text-anchor="middle">'
                 f"{across}</text>")  # fmt: skip
    middle = TOP + HEIGHT / 2
    parts.append(f'<text x="{left - 40}" y="{middle}" text-anchor="middle" '
                 f'transform="rotate(-90 {left - 40} {middle})">{up}</text>')  # fmt: skip
    return "".join(parts)


def draw(answers: Sequence[Answer], rules: Rules) -> str:
    """Both panels, of answers by folds."""
    faults = [a for a in answers if not a.quiet]
    curves = [(curve_figures(faults, rules), GREY, ' stroke-dasharray="5 3"'),
              (curve_figures(answers, rules), BLUE, "")]  # fmt: skip
    parts = [
        frame(0, "Wrong answers, the surest first", "share answered", "share wrong"),
        frame(1, "Stated and true confidence", "stated", "true"),
        line([(0.0, 0.0), (1.0, 1.0)], 1, "#bbbbbb"),
    ]
    for points, colour, style in curves:
        parts.append(line([(p["coverage"], p["risk"]) for p in points], 0, colour, style))
    said = bins_of(answers, rules)
    parts.append(line(said, 1, BLUE))
    for x, y in said:
        parts.append(f'<circle cx="{LEFT + 380 + WIDTH * x:.1f}" r="4" fill="{BLUE}" '
                     f'cy="{TOP + HEIGHT * (1.0 - y):.1f}"/>')  # fmt: skip
    parts.append(f'<text x="{LEFT + 8}" y="{TOP + 14}" fill="{BLUE}">faults and fault-free windows'
                 f'</text><text x="{LEFT + 8}" y="{TOP + 30}" fill="{GREY}">faults alone (dashed)'
                 "</text>")  # fmt: skip
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 770 260" font-family="sans-serif" '
        f'font-size="11"><rect width="770" height="260" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def main() -> int:
    """Write both files; exit code LEFT_OUT without data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", help="folder of sets; repeatable")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the two files")
    given = parser.parse_args()
    roots = given.data or [DATA]
    if not all(root.is_dir() for root in roots):
        print(f"{roots} do not all exist; name the folders with --data")
        return LEFT_OUT
    judged = judge_all(roots)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True,
                            text=True, check=False).stdout.strip()  # fmt: skip
    found: dict[str, Any] = {
        "commit": commit, "machine": platform.machine(), "seed": 0,
        "sets": sorted({j.case.dataset for j in judged}),
        "shipped": {"presence_min": PRESENCE_MIN, "confidence": CONFIDENCE},
    }  # fmt: skip
    for name, fold in FOLDS.items():
        answers = answers_of(judged, fold)
        folds = rules_by_fold(answers)
        if name == "set":
            every = fit_rule(answers)
            found["all_sets_would_choose"] = {
                "presence_min": round(every.presence_min, 3),
                "confidence": [round(w, 2) for w in every.weights],
            }
            found["with_shipped"] = figures_of(
                answers, dict.fromkeys(folds or {a.fold for a in answers}, Rule())
            )
            (given.out / "trust.svg").write_text(draw(answers, folds), encoding="utf-8")
        found[f"{name}_left_out"] = figures_of(answers, folds)
    text = json.dumps(found, indent=1)
    (given.out / "trust.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
