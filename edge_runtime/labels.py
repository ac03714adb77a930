"""Label sets: class names, train ids and palette together, so that no stage can disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IGNORE_INDEX = 255
"""Train id of pixels that are neither learned nor scored (*void*)."""


@dataclass(frozen=True)
class LabelSet:
    """The classes of a network, in the order of its output channels.

    Raises:
        OptionError: names and palette differ in length, more than 255 classes, or a bad colour.
    """

    name: str
    """Identifier, such as ``camvid-11``."""
    names: tuple[str, ...]
    """Class names; the index is the train id."""
    palette: tuple[tuple[int, int, int], ...]
    """One RGB colour (0..255) per class."""
    ignore_index: int = IGNORE_INDEX
    """Train id that is not scored."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= 255:
            raise OptionError(
                f"label set {self.name!r} has {len(self.names)} classes; 1 to 255 fit a uint8 mask"
            )
        if len(self.palette) != len(self.names):
            raise OptionError(
                f"label set {self.name!r} has {len(self.names)} names but {len(self.palette)} "
                "colours; give one RGB colour per class"
            )
        for colour in self.palette:
            if len(colour) != 3 or not all(0 <= channel <= 255 for channel in colour):
                raise OptionError(f"label set {self.name!r}: {colour} is not an RGB colour 0..255")

    def __len__(self) -> int:
        return len(self.names)

    def lookup_table(self, *, bgr: bool = False) -> NDArray[np.uint8]:
        """Colours by id, for ``table[mask]``: (256, 3) uint8; ids without a class are black."""
        import numpy as np

        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = np.array(self.palette, np.uint8)
        return np.ascontiguousarray(table[:, ::-1]) if bgr else table


CAMVID_11 = LabelSet(
    "camvid-11",
    ("Sky", "Building", "Pole", "Road", "Sidewalk", "Tree", "SignSymbol", "Fence", "Car",
     "Pedestrian", "Bicyclist"),
    ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0),
     (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)  # fmt: skip
"""The public CamVid protocol: 11 classes, Void ignored."""

CAMVID_12 = LabelSet(
    "camvid-12-authors", (*CAMVID_11.names, "Void"), (*CAMVID_11.palette, (0, 0, 0))
)
"""The HyperSeg authors' CamVid protocol: Void learned and scored as a twelfth class.

Its mIoU must never be compared with an 11-class figure.
"""

CITYSCAPES_19 = LabelSet(
    "cityscapes-19",
    ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
     "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
     "motorcycle", "bicycle"),
    ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
     (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
     (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
     (0, 80, 100), (0, 0, 230), (119, 11, 32)),
)  # fmt: skip
"""Cityscapes' 19 evaluated classes in train-id order."""

VOC_21 = LabelSet(
    "voc-21",
    ("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
     "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
     "train", "tvmonitor"),
    ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
     (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128),
     (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0),
     (128, 192, 0), (0, 64, 128)),
)  # fmt: skip
"""PASCAL VOC 2012: background and 20 objects."""

STREET_8 = LabelSet(
    "street-8",
    ("sky", "building", "road", "lane marking", "sidewalk", "vegetation", "vehicle", "pedestrian"),
    ((70, 130, 180), (150, 110, 90), (128, 64, 128), (240, 240, 240), (244, 35, 232),
     (107, 142, 35), (0, 60, 200), (220, 20, 60)),
)  # fmt: skip
"""The classes of the project's own procedural street scenes (`edge_runtime.street`)."""

LABEL_SETS = {
    labels.name: labels for labels in (CAMVID_11, CAMVID_12, CITYSCAPES_19, VOC_21, STREET_8)
}
"""Every built-in label set by name."""
