"""What is probably meant by ids that a data set does not declare, and what to do about it."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from edge_runtime.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_MANY = 40
"""Distinct unknown ids above which a mask holds something else than ids."""
_CITYSCAPES_TOP = 33
"""Largest labelId of Cityscapes."""
BINARY_REMEDY = (
    "masks of 0 and 255 are binary, and 255 is ignored, so the class is never learned; did you "
    'mean 1? Add "id_map": {"0": 0, "255": 1} to meta.json'
)


def code_name(code: int, coloured: bool) -> str:
    """A stored id as text, or a colour as ``#rrggbb``."""
    return f"#{code:06x}" if coloured else str(code)


def remedy(unknown: Mapping[int, int], *, coloured: bool, classes: int) -> str:
    """What to do about unknown codes (with their pixel counts), as the end of a sentence."""
    if coloured:
        return _colour_remedy(unknown)
    ids = sorted(unknown)
    if ids == [IGNORE_INDEX]:
        if classes == 2:
            return f"{BINARY_REMEDY}, or map 255 to ignore if it is a border"
        return 'if 255 means ignored, map it: "id_map": {"255": "ignore"} in meta.json'
    if len(ids) > _MANY:
        return (
            "so many values are no ids but grey levels: the masks were saved as pictures or "
            "resized with interpolation; make them again, with nearest-neighbour resizing"
        )
    if ids == [classes]:
        return (
            f"if ids start at 1, subtract 1 from all of them; if {classes} is a class more, add "
            "it to the data set's classes"
        )
    if classes == 19 and _fits_cityscapes(ids):
        return (
            "they look like Cityscapes labelIds where train ids are expected: use cityscapes:DIR, "
            'or "id_map": "cityscapes" in meta.json'
        )
    return _scaled_remedy(ids, classes) or (
        "relabel them, or add them to the data set's classes or to its id_map"
    )


def _fits_cityscapes(ids: Collection[int]) -> bool:
    return all(19 <= code <= _CITYSCAPES_TOP or code == IGNORE_INDEX for code in ids)


def _scaled_remedy(ids: list[int], classes: int) -> str | None:
    """Ids multiplied for viewing, such as 0, 50, 100, 150."""
    step = gcd(*ids)
    if len(ids) >= 2 and step >= classes and ids[-1] // step < classes:
        return f"they are multiples of {step}, as if stretched for viewing; divide by {step}"
    return None


def _colour_remedy(unknown: Mapping[int, int]) -> str:
    if len(unknown) > _MANY:
        return (
            "so many colours come of smooth edges or lossy files: draw masks without "
            "anti-aliasing, resize them with nearest neighbour, and save PNG"
        )
    if set(unknown) <= {0x000000, 0xFFFFFF}:
        name = code_name(min(unknown), coloured=True)
        return (
            f'if it means ignored, add it to meta.json: "colour_map": {{"{name}": "ignore"}}; '
            "otherwise name its class there"
        )
    return 'add them to meta.json: "colour_map": {"#rrggbb": "class name" or "ignore"}'
