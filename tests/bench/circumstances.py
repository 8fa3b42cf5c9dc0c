"""What a figure was measured under: without it no two runs can be compared."""

from __future__ import annotations

import os
import platform

from ops.replay.provenance import commit


def circumstances(*, seed: int) -> dict[str, object]:
    """Commit, machine, seed and load average (1, 5 and 15 minutes) as a bench begins.

    Others on the cores slow every row, also those of CPU time: caches are shared.
    """
    return {
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "seed": seed,
        "load_average": [round(one, 1) for one in os.getloadavg()],
    }
