"""The layouts of public data sets: Cityscapes and PASCAL VOC, as they are distributed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from training.data.layouts import Listing, Pair, read_lines, report_orphan

if TYPE_CHECKING:
    from training.data.pairs import Split


class CityscapesLayout:
    """``leftImg8bit/<split>/<city>/*_leftImg8bit.png`` and ``gtFine/...``, as distributed.

    Labels are ``*_gtFine_labelIds.png``, which every copy has, or without them
    ``*_gtFine_labelTrainIds.png``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stores_label_ids = any(root.glob("gtFine/*/*/*_gtFine_labelIds.png"))
        kind = "labelIds" if self.stores_label_ids else "labelTrainIds"
        self._label_end = f"_gtFine_{kind}.png"

    def has(self, split: Split) -> bool:
        """See `Layout.has`."""
        return (self.root / "leftImg8bit" / split).is_dir()

    def images(self, split: Split) -> list[Path]:
        """See `Layout.images`."""
        return sorted((self.root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))

    def listing(self, split: Split) -> Listing:
        """See `Layout.listing`."""
        listing = Listing(split)
        folder = self.root / "gtFine" / split
        labels = set(folder.glob(f"*/*{self._label_end}"))
        pairs = []
        for image in self.images(split):
            stem = image.name.removesuffix("_leftImg8bit.png")
            pairs.append(Pair(image, folder / image.parent.name / f"{stem}{self._label_end}"))
        listing.keep_existing(pairs)
        for orphan in sorted(labels - {pair.label for pair in pairs}):
            report_orphan(listing, orphan, self.root / "leftImg8bit" / split)
        if not pairs and not listing.problems:
            listing.report(
                "missing split",
                f"split {split!r} of {self.root} has no images; expected "
                f"leftImg8bit/{split}/<city>/*_leftImg8bit.png as Cityscapes is distributed",
            )
        return listing


class VocLayout:
    """PASCAL VOC 2012: stems in ``ImageSets/Segmentation``, palette PNG labels.

    Args:
        root: ``VOC2012``, ``VOCdevkit``, or the folder that holds it.
        augmented: train on ``trainaug.txt`` and ``SegmentationClassAug/``, the usual form of the
            SBD annotations as PNG files; val stays VOC's own.
    """

    def __init__(self, root: Path, *, augmented: bool = False) -> None:
        inner = (root, root / "VOC2012", root / "VOCdevkit/VOC2012")
        self.root = next((place for place in inner if (place / "JPEGImages").is_dir()), root)
        self._augmented = augmented

    def has(self, split: Split) -> bool:
        """See `Layout.has`."""
        return self._list(split).is_file()

    def images(self, split: Split) -> list[Path]:
        """See `Layout.images`."""
        pairs = self._pairs(Listing(split)) if self.has(split) else []
        return [pair.image for pair in pairs if pair.image.is_file()]

    def listing(self, split: Split) -> Listing:
        """See `Layout.listing`."""
        listing = Listing(split)
        place = self._list(split)
        if place.is_file():
            listing.keep_existing(self._pairs(listing))
        if not listing.pairs and not listing.problems:
            listing.report(
                "missing split",
                f"{place} does not exist or is empty; expected PASCAL VOC 2012's folders "
                "JPEGImages, SegmentationClass and ImageSets/Segmentation",
                place,
            )
        return listing

    def _uses_augmented(self, split: Split) -> bool:
        return self._augmented and split == "train"

    def _list(self, split: Split) -> Path:
        name = "trainaug" if self._uses_augmented(split) else split
        return self.root / "ImageSets/Segmentation" / f"{name}.txt"

    def _pairs(self, listing: Listing) -> list[Pair]:
        folder = f"SegmentationClass{'Aug' if self._uses_augmented(listing.split) else ''}"
        # trainaug.txt of some copies names files, "/JPEGImages/2007_000032.jpg ...": take the stem.
        stems = [
            Path(line.split()[0]).stem for _, line in read_lines(self._list(listing.split), listing)
        ]
        return [
            Pair(self.root / "JPEGImages" / f"{stem}.jpg", self.root / folder / f"{stem}.png")
            for stem in stems
        ]
