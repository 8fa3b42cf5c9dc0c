"""Which Granger model a user may ask for. Without numpy: command lines show it in their help."""

from __future__ import annotations

from enum import StrEnum


class GrangerChoice(StrEnum):
    """Names on a command line; `rca.granger_choice` makes the model."""

    AUTO = "auto"  # neural where torch can be imported, else linear
    NEURAL = "neural"
    LINEAR = "linear"
    OFF = "off"
