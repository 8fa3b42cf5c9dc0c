"""`python -m ops`: the same as the console script `midwatch`."""

from __future__ import annotations

from ops.cli import main

if __name__ == "__main__":
    main()
