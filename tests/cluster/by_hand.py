"""A control plane for people: `python -m tests.cluster.by_hand FOLDER`, until Ctrl-C.

Its programs are those of `make cluster-binaries`; nodes and pods are played by kwok.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.control_plane import ControlPlane


def main(folder: Path) -> None:
    """Start it, say how it is reached, stop it when interrupted."""
    try:
        found = binaries.find()
    except binaries.NoBinariesError as error:
        sys.exit(f"error: {error}")
    (folder / "admin.kubeconfig").unlink(missing_ok=True)  # of another start
    plane = ControlPlane(binaries=found, folder=folder.absolute()).start()
    try:
        plane.kubectl("version")  # writes the kubeconfig of the admin
        print("in every terminal that is to reach it:")
        print(
            f"  export KUBECONFIG={plane.folder}/admin.kubeconfig PATH={found.kubectl.parent}:$PATH"
        )
        print("Ctrl-C ends it; nothing of it is kept", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        plane.stop()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.cluster.by_hand FOLDER")
    main(Path(sys.argv[1]))
