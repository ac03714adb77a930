"""The label set of a foreign network, from names, a built-in set or a file.

A file is JSON or text. JSON is the ``meta.json`` of a ``folder:`` data set: ``labels`` (a built-in
set's name), or ``classes`` and, if known, ``palette``. Text has one class a line, in channel order,
with its colour behind it if known: ``road #804080`` or ``road 128,64,128``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import OptionError
from edge_runtime.labels import LABEL_SETS, LabelSet
from edge_runtime.suggest import hint

if TYPE_CHECKING:
    from collections.abc import Sequence

Colour = tuple[int, int, int]

_LINE = re.compile(r"^(?P<name>.+?)[\s,;]+(?P<colour>#[0-9a-fA-F]{6}|\d+[\s,]+\d+[\s,]+\d+)$")


def label_set(classes: str, palette: str | None = None) -> LabelSet:
    """The label set that two options of the command line spell out.

    Args:
        classes: a built-in set's name, a file, or names separated by commas.
        palette: the same for colours (``#rrggbb``); None takes what belongs to `classes`.

    Raises:
        OptionError: a name is missing or double, a colour is none, or their numbers differ.
    """
    name, names, colours = _read_classes(classes)
    if palette is not None:
        colours = _read_palette(palette)
    twice = next((item for item in names if names.count(item) > 1), None)
    if twice is not None:
        raise OptionError(f"--classes has {twice!r} twice; give every class its own name")
    chosen = made_up_palette(len(names)) if colours is None else tuple(colours)
    for known in LABEL_SETS.values():
        if (known.names, known.palette) == (tuple(names), chosen):
            return known
    return LabelSet(name, tuple(names), chosen)


def made_up_palette(count: int) -> tuple[Colour, ...]:
    """Colours for classes without any, far apart for neighbours: the bits of the id, spread.

    The rule of PASCAL VOC's colour map, shifted by one so that no class is black.
    """
    colours = []
    for number in range(1, count + 1):
        red = green = blue = 0
        rest = number
        for bit in range(7, -1, -1):
            red |= (rest & 1) << bit
            green |= (rest >> 1 & 1) << bit
            blue |= (rest >> 2 & 1) << bit
            rest >>= 3
        colours.append((red, green, blue))
    return tuple(colours)


def _read_classes(text: str) -> tuple[str, list[str], Sequence[Colour] | None]:
    """(name of the set, class names, colours if known)."""
    if text in LABEL_SETS:
        known = LABEL_SETS[text]
        return known.name, list(known.names), known.palette
    if _is_file(text):
        return _read_file(Path(text))
    names = [part.strip() for part in text.split(",")]
    if len(names) == 1:
        raise OptionError(
            f"--classes {text!r} is no file and no built-in label set "
            f"({', '.join(LABEL_SETS)}); {hint(text, LABEL_SETS)}give names in channel "
            "order: road,sidewalk,..."
        )
    if not all(names):
        raise OptionError(f"--classes {text!r} has an empty name; write road,sidewalk,...")
    return "custom", names, None


def _read_palette(text: str) -> Sequence[Colour]:
    if text in LABEL_SETS:
        return LABEL_SETS[text].palette
    if _is_file(text):
        path = Path(text)
        colours = _read_file(path)[2]
        if colours is None:
            raise OptionError(f"{path} has no colours; give one per class, as #rrggbb")
        return colours
    return [_colour(part, "--palette") for part in text.split(",")]


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # longer than a name may be, or with a NUL in it
        return False


def _read_file(path: Path) -> tuple[str, list[str], Sequence[Colour] | None]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the classes in {path}: {error}") from error
    if path.suffix == ".json":
        return _from_json(path, text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise OptionError(f"{path} names no class; write one a line, in channel order")
    found = [_LINE.match(line) for line in lines]
    if all(found):
        names = [match["name"].strip() for match in found if match]
        return path.stem, names, [_colour(match["colour"], path) for match in found if match]
    if any(found):
        bare = lines[found.index(None)]
        raise OptionError(f"{path} gives {bare!r} no colour but others; give all a colour or none")
    return path.stem, lines, None


def _from_json(path: Path, text: str) -> tuple[str, list[str], Sequence[Colour] | None]:
    try:
        meta: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{path} is not JSON: {error}") from error
    if isinstance(meta, dict) and meta.get("labels") in LABEL_SETS:
        known = LABEL_SETS[meta["labels"]]
        return known.name, list(known.names), known.palette
    names = meta.get("classes") if isinstance(meta, dict) else meta
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise OptionError(
            f"{path} must be a list of names, or an object with 'classes' or 'labels' "
            f"({', '.join(LABEL_SETS)})"
        )
    palette = meta.get("palette") if isinstance(meta, dict) else None
    label = str(meta.get("name", path.stem)) if isinstance(meta, dict) else path.stem
    if palette is None:
        return label, names, None
    if not isinstance(palette, list):
        raise OptionError(f"{path}: 'palette' is {palette!r}; expected a list of colours")
    return label, names, [_colour(item, path) for item in palette]


def _colour(value: object, place: object) -> Colour:
    """An RGB colour written as ``#rrggbb``, ``r,g,b`` or ``[r, g, b]``."""
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
            red, green, blue = bytes.fromhex(text[1:])
            return red, green, blue
        value = [int(part) for part in re.findall(r"\d+", text)]
    if isinstance(value, list) and len(value) == 3:
        red, green, blue = value
        if all(isinstance(part, int) and 0 <= part <= 255 for part in value):
            return red, green, blue
    raise OptionError(f"{place}: {value!r} is not a colour; write #rrggbb, such as #804080")
