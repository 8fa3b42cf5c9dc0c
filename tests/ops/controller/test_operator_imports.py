"""What an operator process loads: nothing that computes, little memory."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "sklearn", "scipy", "pandas", "networkx", "matplotlib")
PROGRAM = f"""
import sys
import ops.controller.process
from ops.commands import operator_group
found = [name for name in {HEAVY!r} if name in sys.modules]
print(",".join(found))
"""


def test_the_operator_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == ""
