"""The kinds of stored data sets: layout, label map and licence of a specification.

- ``camvid:DIR``: CamVid at 480x360 as distributed with SegNet; Void (id 11) is ignored
- ``camvid12:DIR``: the same with Void learned, the HyperSeg authors' protocol
- ``cityscapes:DIR``: leftImg8bit and gtFine; 19 classes
- ``voc:DIR``: PASCAL VOC 2012
- ``vocaug:DIR``: the same, trained on trainaug.txt and SegmentationClassAug (SBD)
- ``folder:DIR``: CamVid's layout with a meta.json that says what the ids or colours mean
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import CAMVID_11, CAMVID_12, CITYSCAPES_19, IGNORE_INDEX, VOC_21, LabelSet
from edge_runtime.suggest import hint
from training.data.folder_meta import CITYSCAPES_IDS, label_map_of, layout_of, read_meta
from training.data.label_map import LabelMap, identity_map
from training.data.layouts import FolderLayout
from training.data.pairs import StoredData
from training.data.public_layouts import CityscapesLayout, VocLayout

if TYPE_CHECKING:
    from collections.abc import Callable


def camvid(root: Path, labels: LabelSet = CAMVID_11) -> StoredData:
    """CamVid at 480x360; ids 0..11, of which 11 (Void) is ignored unless learned."""
    void = 11 if len(labels) == 12 else IGNORE_INDEX
    segnet = any((root / f"{split}annot").is_dir() for split in ("train", "val", "test"))
    label_map = LabelMap(labels, {i: i for i in range(11)} | {11: void})
    return StoredData(
        FolderLayout(root, labels="{split}annot") if segnet else FolderLayout(root),
        label_map,
        license="trained on CamVid: CC BY-NC 4.0, non-commercial use only",
    )


def cityscapes(root: Path) -> StoredData:
    """Cityscapes' fine annotations; ids beyond its 19 evaluated classes are ignored."""
    layout = CityscapesLayout(root)
    ids = CITYSCAPES_IDS if layout.stores_label_ids else identity_map(19)
    return StoredData(
        layout,
        LabelMap(CITYSCAPES_19, ids),
        license="trained on Cityscapes: non-commercial use only, see its licence",
    )


def voc(root: Path, *, augmented: bool = False) -> StoredData:
    """PASCAL VOC 2012; the border (255) is ignored.

    Masks of colours, as some copies hold them, are decoded by VOC's palette.
    """
    colours = {colour: i for i, colour in enumerate(VOC_21.palette)}
    label_map = LabelMap(VOC_21, identity_map(21), {**colours, (224, 224, 192): IGNORE_INDEX})
    return StoredData(
        VocLayout(root, augmented=augmented),
        label_map,
        license="trained on PASCAL VOC 2012, whose images fall under Flickr's terms of use",
    )


def folder(root: Path) -> StoredData:
    """A folder whose ``meta.json`` says what is stored; see `training.data.folder_meta`.

    Raises:
        SourceError: ``meta.json`` is missing or malformed.
    """
    place = root / "meta.json"
    meta = read_meta(place)
    return StoredData(
        layout_of(root, place, meta),
        label_map_of(place, meta, root.name),
        license=str(meta.get("license", "")),
    )


KINDS: dict[str, Callable[[Path], StoredData]] = {
    "camvid": camvid,
    "camvid12": partial(camvid, labels=CAMVID_12),
    "cityscapes": cityscapes,
    "voc": voc,
    "vocaug": partial(voc, augmented=True),
    "folder": folder,
}
"""How each kind of stored data set is opened."""

SPECS = ", ".join([*(f"{kind}:DIR" for kind in KINDS), "street: or street:HxW"])
"""Every specification, for messages."""


def open_stored(spec: str) -> StoredData:
    """The stored data set of a specification.

    Raises:
        OptionError: the specification is not understood.
        SourceError: its folder does not exist, or its description is malformed.
    """
    kind, _, place = spec.partition(":")
    if not place or kind not in KINDS:
        meant = "" if kind in KINDS else hint(kind, (*KINDS, "street"))
        raise OptionError(f"data {spec!r} is not understood; {meant}expected {SPECS}")
    root = Path(place).expanduser()
    if not root.is_dir():
        raise SourceError(f"data folder {root} does not exist")
    return KINDS[kind](root)


def guess_spec(place: str) -> str:
    """The specification of what is either one, or a folder that shows what it is.

    Raises:
        OptionError: the folder shows nothing.
    """
    if place.partition(":")[0] in (*KINDS, "street"):
        return place
    root = Path(place).expanduser()
    signs = {
        "folder": ("meta.json",),
        "cityscapes": ("leftImg8bit",),
        "voc": ("JPEGImages", "VOC2012/JPEGImages", "VOCdevkit/VOC2012/JPEGImages"),
    }
    for kind, names in signs.items():
        if any((root / name).exists() for name in names):
            return f"{kind}:{place}"
    if not root.is_dir():
        meant = hint(place.partition(":")[0], (*KINDS, "street")) if ":" in place else ""
        raise SourceError(
            f"data folder {root} does not exist; {meant}give a folder, or one of {SPECS}"
        )
    raise OptionError(
        f"{root} shows no known layout; add a meta.json that names the classes, say what it is "
        f"({SPECS}), or bring it in with `hyperseg data import`"
    )
