"""Which classes of a source are kept, merged or ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_runtime.errors import OptionError
from edge_runtime.labels import IGNORE_INDEX
from training.data.importers.base import BACKGROUND, Imported, code_of, usual_palette

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from training.data.label_map import Colour

_LISTED = 40
"""Classes of a source that a message names."""


@dataclass(frozen=True)
class Selection:
    """The user's choice of classes."""

    keep: tuple[str, ...] = ()
    """Classes after merging, in the order of their ids; empty keeps all, in the source's order."""
    ignore: tuple[str, ...] = ()
    """Classes of the source that become ignored."""
    merge: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """New class and the classes of the source that become it."""
    others: Literal["ignore", "background"] = "ignore"
    """What becomes of classes that are not kept."""


@dataclass(frozen=True)
class Plan:
    """A selection applied to a source."""

    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    table: NDArray[np.uint8]
    """(N,) uint8: code in the source's masks -> written id, 255 for ignored."""


def plan(source: Imported, selection: Selection) -> Plan:
    """The written classes, and how the source's become them.

    Raises:
        OptionError: a name is not among the source's classes, is used twice, or nothing is left.
    """
    merged = _merged(selection.merge)
    _require_known((*merged, *selection.ignore), source.classes)
    both = next((name for name in selection.ignore if name in merged), None)
    if both is not None:
        raise OptionError(f"class {both!r} is both merged and ignored; choose one")
    names = [
        None if name in selection.ignore else merged.get(name, name) for name in source.classes
    ]
    present = tuple(dict.fromkeys(name for name in names if name is not None))
    _require_known(selection.keep, present)
    kept = tuple(dict.fromkeys(selection.keep)) or present
    if len(kept) < len(present) and selection.others == "background" and BACKGROUND not in kept:
        kept = (BACKGROUND, *kept)
    if not 1 <= len(kept) <= IGNORE_INDEX:
        raise OptionError(
            f"{len(kept)} classes are left; expected 1 to {IGNORE_INDEX}, chosen with --classes, "
            "--merge and --ignore"
        )
    other = kept.index(BACKGROUND) if selection.others == "background" and BACKGROUND in kept else (
        IGNORE_INDEX
    )  # fmt: skip
    table = np.full(max(256, code_of(len(names))), IGNORE_INDEX, np.uint8)
    for index, name in enumerate(names):
        if name is not None:
            table[code_of(index)] = kept.index(name) if name in kept else other
    return Plan(kept, _palette(source, names, kept), table)


def _merged(merge: tuple[tuple[str, tuple[str, ...]], ...]) -> Mapping[str, str]:
    """Source class -> new class."""
    targets: dict[str, str] = {}
    for new, olds in merge:
        for old in olds:
            if targets.setdefault(old, new) != new:
                raise OptionError(f"class {old!r} is merged into {targets[old]!r} and {new!r}")
    return targets


def _require_known(names: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
        raise OptionError(
            f"no class {unknown[0]!r} in the source; it has "
            f"{', '.join(known[:_LISTED]) or 'none'}{more}"
        )


def _palette(
    source: Imported, names: list[str | None], kept: tuple[str, ...]
) -> tuple[Colour, ...]:
    """A colour for each kept class: of the first source class that becomes it, or a usual one."""
    usual = usual_palette(kept)
    if not source.palette:
        return usual
    pairs = list(zip(names, source.palette, strict=True))
    first = dict(reversed(pairs))  # the first of several wins
    return tuple(first.get(name, colour) for name, colour in zip(kept, usual, strict=True))
