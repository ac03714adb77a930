"""Figures of one part, taken out of the JSON that its command writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SEPARATOR = "/"
"""Between the parts of a figure's name: its way through the JSON."""


@dataclass(frozen=True)
class Figure:
    """One measured quantity; without a spread all three are the same."""

    unit: str
    """Empty for a ratio."""
    median: float
    min: float
    max: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def collect(figures: Mapping[str, Any], kept: Mapping[str, str]) -> dict[str, Figure]:
    """The figures that are kept, by their names.

    Args:
        figures: as a benchmark's JSON has them: numbers, and objects with median, min and max.
        kept: patterns of names, as of file names, and their units; the first that fits counts.
    """
    found = {}
    for name, values in _leaves(figures, ()):
        unit = next((unit for pattern, unit in kept.items() if fnmatchcase(name, pattern)), None)
        if unit is not None:
            found[name] = Figure(unit, *values)
    return found


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    if isinstance(value, dict) and {"median", "min", "max"} <= value.keys():
        yield SEPARATOR.join(path), (value["median"], value["min"], value["max"])
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield SEPARATOR.join(path), (value, value, value)
