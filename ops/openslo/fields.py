"""Fields of a document by path; what does not fit is noted and reading goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.openslo.values import duration_s


@dataclass(slots=True)
class Faults:
    """Everything that does not fit, with its path."""

    found: list[str] = field(default_factory=list)

    def add(self, path: str, told: str) -> None:
        """Note one fault."""
        self.found.append(f"{path}: {told}")


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document and how to name it in a message."""

    value: Any
    path: str
    faults: Faults

    def get(self, key: str) -> Node:
        """A field; its value is None where it is missing."""
        inner = self.value.get(key) if isinstance(self.value, Mapping) else None
        return Node(inner, f"{self.path}.{key}" if self.path else key, self.faults)

    def items(self) -> list[Node]:
        """Entries of a list; a missing one has none."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self.fault(f"is {self.shown}, expected a list")
            return []
        return [Node(one, f"{self.path}[{k}]", self.faults) for k, one in enumerate(self.value)]

    def text(self, default: str | None = None) -> str:
        """A text; without a default it must be there."""
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str) or not self.value:
            self.fault("is missing" if self.value is None else f"is {self.shown}, expected a text")
            return default or ""
        return self.value

    def number(self) -> float | None:
        """A number, None where it is missing or none."""
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.fault(f"is {self.shown}, expected a number")
            return None
        return float(self.value)

    def ratio(self) -> float | None:
        """A number between 0 and 1, both excluded."""
        number = self.number()
        if number is not None and not 0.0 < number < 1.0:
            self.fault(f"is {self.shown}, expected a share between 0 and 1, e.g. 0.99")
            return None
        return number

    def seconds(self, default: int | None = None) -> int | None:
        """A duration."""
        if self.value is None:
            return default
        try:
            return duration_s(self.text())
        except ValueError as error:
            if isinstance(self.value, str) and self.value:
                self.fault(str(error))
            return default

    def one_of(self, words: tuple[str, ...], default: str | None = None) -> str:
        """One of these words."""
        told = self.text(default)
        if told and told not in words:
            self.fault(f"is {self.shown}, expected one of {', '.join(words)}")
            return default or ""
        return told

    def fault(self, told: str) -> None:
        """Note a fault of this value."""
        self.faults.add(self.path, told)

    @property
    def shown(self) -> str:
        """The value for a message."""
        text = repr(self.value)
        return text if len(text) <= 60 else f"{text[:57]}..."
