"""A second try for methods that a singular matrix stops: the same frame without doubles.

numpy only, like `frame`: the peers' environment uses it, the project's tests it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from frame import Frame

ALIKE = 0.99  # |correlation|; RCAEval's own CIRCA for several sources drops columns beyond it


def thinned(frame: Frame) -> Frame:
    """Columns that move and are not alike to one kept before them, in the order of their names."""
    centred = frame.values - frame.values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    moves = (frame.values != frame.values[:1]).any(axis=0) & (length > 0.0)
    unit = centred / np.where(moves, length, 1.0)
    alike = np.abs(unit.T @ unit) > ALIKE  # [columns, columns]
    kept: list[int] = []
    for n in sorted(np.flatnonzero(moves), key=lambda n: frame.columns[n]):
        if not alike[n, kept].any():
            kept.append(int(n))
    return replace(
        frame,
        columns=tuple(frame.columns[n] for n in kept),
        services=tuple(frame.services[n] for n in kept),
        values=frame.values[:, kept],
    )
