"""What a stated confidence of `midwatch rca rank` was worth: the counts that its report shows.

Run: MIDWATCH_DATA=DIR python tests/bench/bench_rca_confidence.py [--write]; about ten minutes.

Every answer that names somebody counts: of recorded incidents, and of fault-free windows, where
nothing that is named is right; windows that share rows count once. Threshold and weights of each
set come from the other sets, so no answer is judged by numbers that it helped to fit. Five bins of
equal mass. `--write` stores them in ops/reports/rca_calibration.json beside the weights that the
program ships: the report shows the counts only as long as these are the ones in use.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import orjson

from ops.clock import cpu_s
from rca.evaluate import evaluate
from rca.presence import CONFIDENCE, PRESENCE_MIN
from rca.trust import Answer, answers_of, rules_by_fold

REPO = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MIDWATCH_DATA", REPO.parent / "shared" / "data")) / "rca"
STORED = REPO / "ops" / "reports" / "rca_calibration.json"
NUM_BINS = 5


def once(answers: list[Answer]) -> list[Answer]:
    """No disturbed copies, one window of those that share rows."""
    seen: set[int] = set()
    kept = []
    for answer in answers:
        if answer.trial.copy or (answer.quiet and answer.group in seen):
            continue
        seen.add(answer.group)
        kept.append(answer)
    return kept


def main() -> int:
    """Print the bins; exit code 2 without data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if not DATA.is_dir():
        print(f"{DATA} does not exist; name the folder with MIDWATCH_DATA", file=sys.stderr)
        return 2

    def tick(what: str, done: int, total: int) -> None:
        print(f"\r{what} {done}/{total}", end="", file=sys.stderr, flush=True)

    judged = evaluate(DATA, cpu_s=cpu_s, tick=tick).judged
    answers = answers_of(judged, lambda j: j.case.dataset)
    rules = rules_by_fold(answers)
    named = [a for a in once(answers) if a.reading.presence >= rules[a.fold].presence_min]
    said = np.array([rules[a.fold].confidence([a])[0] for a in named])
    right = np.array([a.reading.hit for a in named])
    bins = [
        {
            "low": round(float(said[part].min()), 4),
            "high": round(float(said[part].max()), 4),
            "cases": len(part),
            "hits": int(right[part].sum()),
        }
        for part in np.array_split(np.argsort(said, kind="stable"), NUM_BINS)
    ]
    stored = {
        "source": "recorded incidents and quiet windows",
        "weights": list(CONFIDENCE),
        "presence_min": PRESENCE_MIN,
        "incidents": sum(not a.quiet for a in named),
        "quiet": sum(a.quiet for a in named),
        "bins": bins,
    }
    text = orjson.dumps(stored, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    print(text)
    if asked.write:
        STORED.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
