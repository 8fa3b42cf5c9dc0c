"""Rules as YAML that a person can read: expressions of several lines stay so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Without anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def rule_text(documents: Sequence[Any]) -> str:
    """The documents as YAML, in their order of keys."""
    dumped: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=100)
    return dumped
