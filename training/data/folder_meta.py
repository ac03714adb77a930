"""``meta.json`` of a ``folder:`` data set: what its stored ids or colours mean.

``labels``
    a built-in label set, whose train ids are stored with 255 ignored; or else
``classes``, ``palette``
    names and RGB colours in the order of the stored ids, of which ``ignore_id`` (255 if absent) is
    not learned.
``id_map``
    if stored ids are others: ``{"7": "road", "4": "ignore", "*": "ignore"}``, stored id to class
    name or ``ignore``; ``"*"`` stands for all ids that are not listed. ``"cityscapes"`` is the map
    of Cityscapes' labelIds.
``colour_map``
    RGB masks are decoded by the palette; this adds colours, ``{"#000000": "ignore"}``, to a class
    name or ``ignore``. ``"masks": "colours"`` also decodes palette files by their colours.
``images``, ``masks_in``, ``label_suffix``
    folders other than ``{split}`` and ``{split}_labels``, and what a label's stem has more than its
    image's.
``name``, ``license``
    optional.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import IGNORE_INDEX, LABEL_SETS, LabelSet
from training.data.label_map import LabelMap, identity_map
from training.data.layouts import FolderLayout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from training.data.label_map import Colour

CITYSCAPES_IDS: dict[int, int] = dict.fromkeys(range(34), IGNORE_INDEX) | {
    label_id: train_id
    for train_id, label_id in enumerate(
        (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    )
}
"""Cityscapes' labelIds to its 19 train ids; the others are ignored."""

_IGNORE = "ignore"
_OTHERS = "*"


def read_meta(place: Path) -> dict[str, Any]:
    """The object in ``meta.json``.

    Raises:
        SourceError: it is missing, or is no JSON object.
    """
    try:
        meta = json.loads(place.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(
            f"cannot read {place}: {error}; it must name the classes, see the README"
        ) from error
    if not isinstance(meta, dict):
        raise SourceError(f"{place} holds a {type(meta).__name__}; expected an object")
    return meta


def label_map_of(place: Path, meta: Mapping[str, Any], default_name: str) -> LabelMap:
    """The label map that the object of ``meta.json`` spells out.

    Args:
        place: the file, for messages.
        meta: its content.
        default_name: of the label set, if the object has no ``name``.

    Raises:
        SourceError: the object is malformed.
    """
    if isinstance(meta.get("labels"), str) and meta["labels"] in LABEL_SETS:
        labels = LABEL_SETS[meta["labels"]]
        ids = identity_map(len(labels))
    else:
        labels, ids = _custom_labels(place, meta, default_name)
    colours = _colours(place, meta, labels, ids)
    other = None
    if "id_map" in meta:
        ids, other = _id_map(place, meta["id_map"], labels)
    masks = meta.get("masks", "ids")
    if masks not in ("ids", "colours"):
        raise SourceError(f"{place} has masks {masks!r}; expected 'ids' or 'colours'")
    return LabelMap(labels, ids, colours, other=other, expand_palette=masks == "colours")


def layout_of(root: Path, place: Path, meta: Mapping[str, Any]) -> FolderLayout:
    """Where the files lie, by ``images``, ``masks_in`` and ``label_suffix``.

    Raises:
        SourceError: one of them is no text, or a folder has no ``{split}`` in it.
    """
    names = {"images": "images", "masks_in": "labels", "label_suffix": "label_suffix"}
    given = {name: meta[key] for key, name in names.items() if key in meta}
    for name, value in given.items():
        if not isinstance(value, str) or (name != "label_suffix" and "{split}" not in value):
            raise SourceError(
                f"{place} has {name} {value!r}; expected text, with {{split}} in a folder's name"
            )
        if value.replace("{split}", "").count("{"):
            raise SourceError(f"{place} has {name} {value!r}; only {{split}} is filled in")
    return FolderLayout(root, **given)


def _custom_labels(
    place: Path, meta: Mapping[str, Any], default_name: str
) -> tuple[LabelSet, dict[int, int]]:
    """The label set of ``classes`` and ``palette``, and stored id -> train id."""
    classes, palette = meta.get("classes"), meta.get("palette")
    if not isinstance(classes, list) or not isinstance(palette, list):
        raise SourceError(
            f"{place} must have 'labels', one of {', '.join(LABEL_SETS)}, or lists 'classes' "
            "(names) and 'palette' (RGB colours)"
        )
    if len(classes) != len(palette):
        raise SourceError(f"{place} has {len(classes)} classes but {len(palette)} colours")
    ignored = meta.get("ignore_id", IGNORE_INDEX)
    if not isinstance(ignored, int) or not 0 <= ignored <= 255:
        raise SourceError(f"{place} has ignore_id {ignored!r}; expected a stored id 0..255")
    kept = [i for i in range(len(classes)) if i != ignored]
    names = tuple(str(classes[i]) for i in kept)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"{place} has the class {twice!r} twice; map ids together with id_map")
    colours = tuple(_colour(place, palette[i]) for i in kept)
    train_ids = {stored: train_id for train_id, stored in enumerate(kept)}
    train_ids[ignored] = IGNORE_INDEX
    known = next((known for known in LABEL_SETS.values() if known.names == names), None)
    try:
        labels = known or LabelSet(str(meta.get("name", default_name)), names, colours)
    except OptionError as error:
        raise SourceError(f"{place}: {error}") from error
    return labels, train_ids


def _colour(place: Path, value: object) -> Colour:
    """A colour as ``[r, g, b]`` or ``"#rrggbb"``."""
    if isinstance(value, str) and len(value) == 7 and value[0] == "#":
        try:
            red, green, blue = bytes.fromhex(value[1:])
            return red, green, blue
        except ValueError:
            pass
    if isinstance(value, list) and len(value) == 3 and all(isinstance(v, int) for v in value):
        red, green, blue = value
        if 0 <= min(value) <= max(value) <= 255:
            return red, green, blue
    raise SourceError(f"{place} has colour {value!r}; expected [r, g, b] of 0..255 or '#rrggbb'")


def _target(place: Path, labels: LabelSet, value: object) -> int:
    """The train id of a class name, or of ``ignore``."""
    if value is None or value == _IGNORE:
        return IGNORE_INDEX
    if isinstance(value, str) and value in labels.names:
        return labels.names.index(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(labels):
        return value
    raise SourceError(
        f"{place} maps to {value!r}; expected {_IGNORE!r}, a train id 0..{len(labels) - 1}, or one "
        f"of {', '.join(labels.names)}"
    )


def _id_map(place: Path, value: object, labels: LabelSet) -> tuple[dict[int, int], int | None]:
    """Stored id -> train id, and the train id of all others (None: they are unknown)."""
    if value == "cityscapes":
        if len(labels) != 19:
            raise SourceError(f"{place}: id_map 'cityscapes' gives 19 classes, not {len(labels)}")
        return CITYSCAPES_IDS, None
    if not isinstance(value, dict) or not value:
        raise SourceError(f"{place} has id_map {value!r}; expected {{'stored id': 'class name'}}")
    ids: dict[int, int] = {}
    other = None
    for key, target in value.items():
        train_id = _target(place, labels, target)
        if key == _OTHERS:
            other = train_id
        elif key.isdecimal() and int(key) <= 0xFFFF:
            ids[int(key)] = train_id
        else:
            raise SourceError(f"{place} maps the id {key!r}; expected 0..65535 or '{_OTHERS}'")
    return ids, other


def _colours(
    place: Path, meta: Mapping[str, Any], labels: LabelSet, ids: Mapping[int, int]
) -> dict[Colour, int]:
    """RGB colour -> train id, from the palette (in the order of `ids`) and ``colour_map``."""
    listed = meta.get("colour_map", {})
    if not isinstance(listed, dict):
        raise SourceError(f"{place} has colour_map {listed!r}; expected {{'#rrggbb': 'class'}}")
    # The folder's own palette, not that of a built-in set with the same names.
    palette = meta["palette"] if "classes" in meta else map(list, labels.palette)
    own = [_colour(place, value) for value in palette]
    stored = {i: train_id for i, train_id in ids.items() if i < len(own)}
    colours = {own[i]: train_id for i, train_id in stored.items()}
    if len(colours) < len(stored):
        colours = {}  # two classes share a colour: fine for viewing, useless for decoding
    for key, target in listed.items():
        colours[_colour(place, key)] = _target(place, labels, target)
    return colours
