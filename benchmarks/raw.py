"""The figures of a run as they were measured, each with its values in order of the rounds."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Raw:
    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def note(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(value)

    def note_all(self, prefix: str, found: Mapping[str, float]) -> None:
        for name, value in found.items():
            self.note(f"{prefix}: {name}", value)

    def ratio(self, name: str, over: str, under: str) -> None:
        """Note last round's *over* ÷ *under*, if both were measured."""
        if self.has(over) and self.has(under):
            self.note(name, self._values[over][-1] / self._values[under][-1])

    def has(self, name: str) -> bool:
        return name in self._values

    def values(self, name: str) -> list[float]:
        return self._values[name]

    def median(self, name: str) -> float:
        return statistics.median(self._values[name])

    def names(self, prefix: str = "") -> list[str]:
        return [name for name in self._values if name.startswith(prefix)]

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**about, "values": self._values}, indent=2))
