"""Where a data set keeps its images and labels, paired by stem.

A listing never stops at the first mistake: it holds the good pairs and every problem found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from training.data.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from training.data.pairs import Split

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"))


@dataclass(frozen=True)
class Pair:
    """An image and its label file."""

    image: Path
    label: Path


@dataclass
class Listing:
    """The pairs of one split, and what is wrong with the rest."""

    split: Split
    pairs: list[Pair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def report(self, kind: Kind, message: str, file: Path | str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(kind, message, self.split, str(file)))

    def keep_existing(self, pairs: Iterable[Pair]) -> None:
        """Add the pairs of which both files exist, and report the others."""
        for pair in pairs:
            gone = [path for path in (pair.image, pair.label) if not path.is_file()]
            for path in gone:
                self.report(
                    "missing file",
                    f"{path} does not exist but its pair is in split {self.split!r}; restore it, "
                    "or take the pair out",
                    path,
                )
            if not gone:
                self.pairs.append(pair)


class Layout(Protocol):
    """The files of a data set."""

    root: Path

    def has(self, split: Split) -> bool:
        """The (stored) split exists, complete or not."""
        ...

    def images(self, split: Split) -> list[Path]:
        """The existing images of a split, labelled or not; none if there is no such split."""
        ...

    def listing(self, split: Split) -> Listing:
        """The pairs of a split, in a fixed order, and every problem with them."""
        ...


class FolderLayout:
    """``<split>.txt`` names a pair a line; without it ``<split>/`` and ``<split>_labels/`` match.

    A line is ``<image> <label>``, relative to the folder, with a tab between names that contain
    spaces. A label has the stem of its image, or that and ``_L``.

    Args:
        root: the data set's folder.
        images: another folder of images, such as ``images/{split}``.
        labels: another folder of labels, such as ``masks/{split}``.
        label_suffix: what a label's stem has more than its image's; ``_L`` and nothing always do.
    """

    def __init__(
        self,
        root: Path,
        *,
        images: str = "{split}",
        labels: str = "{split}_labels",
        label_suffix: str = "_L",
    ) -> None:
        self.root = root
        self._images, self._labels, self._suffixes = images, labels, ("", "_L", label_suffix)

    def has(self, split: Split) -> bool:
        """See `Layout.has`."""
        return self._list(split).is_file() or self._image_folder(split).is_dir()

    def images(self, split: Split) -> list[Path]:
        """See `Layout.images`."""
        if self._list(split).is_file():
            paths = [pair.image for pair in self._listed(Listing(split))]
            return [path for path in paths if path.is_file()]
        folder = self._image_folder(split)
        return pictures_in(folder) if folder.is_dir() else []

    def listing(self, split: Split) -> Listing:
        """See `Layout.listing`."""
        listing = Listing(split)
        find = self._listed if self._list(split).is_file() else self._found
        listing.keep_existing(find(listing))
        if not listing.pairs and not listing.problems:
            listing.report("missing split", f"split {split!r} of {self.root} has no images")
        return listing

    def _list(self, split: Split) -> Path:
        return self.root / f"{split}.txt"

    def _image_folder(self, split: Split) -> Path:
        return self.root / self._images.format(split=split)

    def _listed(self, listing: Listing) -> list[Pair]:
        place = self._list(listing.split)
        pairs = []
        for number, line in read_lines(place, listing):
            names = [name.strip() for name in line.split("\t")] if "\t" in line else line.split()
            if len(names) != 2:
                listing.report(
                    "bad list",
                    f"{place}, line {number}: {line!r}; expected '<image> <label>'",
                    place,
                )
                continue
            stem, label_stem = (Path(name).stem for name in names)
            if label_stem not in {stem + suffix for suffix in self._suffixes}:
                listing.report(
                    "stem mismatch",
                    f"{place}: {names[0]} is paired with {names[1]}; expected {stem}.png or "
                    f"{stem}_L.png, as pairs must share their stem",
                    self.root / names[1],
                )
                continue
            pairs.append(Pair(self._listed_file(names[0]), self._listed_file(names[1])))
        return pairs

    def _listed_file(self, name: str) -> Path:
        """Where a listed file is; a name from the root of another machine is read below ours.

        CamVid's lists say ``/SegNet/CamVid/train/NAME`` wherever they are unpacked.
        """
        place = self.root / name
        near = self.root.joinpath(*place.parts[-2:])
        foreign = Path(name).is_absolute() and not place.parent.exists()
        return near if foreign and near.parent.is_dir() else place

    def _found(self, listing: Listing) -> list[Pair]:
        images = self._image_folder(listing.split)
        labels = self.root / self._labels.format(split=listing.split)
        if not (images.is_dir() and labels.is_dir()):
            listing.report(
                "missing split",
                f"{self.root} has neither {listing.split}.txt nor folders "
                f"{images.relative_to(self.root)} and {labels.relative_to(self.root)}; write a "
                "list of '<image> <label>' lines, or make the folders",
                self.root,
            )
            return []
        return match_stems(
            pictures_in(images), pictures_in(labels), self._suffixes, listing, images
        )


def match_stems(
    images: list[Path],
    labels: list[Path],
    suffixes: tuple[str, ...],
    listing: Listing,
    where: Path,
) -> list[Pair]:
    """Pairs of images and labels with one stem, or the image's stem and one of `suffixes`.

    An image without label is paired with the file that is missing; labels left over and images
    that share a stem are reported.
    """
    by_stem = {path.stem: path for path in labels}
    pairs, owners = [], dict[Path, Path]()
    for image in images:
        stem = image.stem
        found = next((by_stem[stem + s] for s in suffixes if stem + s in by_stem), None)
        label = found or (labels[0].parent if labels else where) / f"{image.stem}{suffixes[-1]}.png"
        if label in owners:
            listing.report(
                "stem mismatch",
                f"{image} and {owners[label]} share the label {label.name}; give every image a "
                "stem of its own",
                image,
            )
            continue
        owners[label] = image
        pairs.append(Pair(image, label))
    for orphan in labels:
        if orphan not in owners:
            report_orphan(listing, orphan, where)
    return pairs


def report_orphan(listing: Listing, label: Path, images: Path) -> None:
    """Report a label that has no image."""
    listing.report(
        "label without image",
        f"{label} labels no image in {images}; restore the image or delete it",
        label,
    )


def pictures_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted; hidden ones are none."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def read_lines(place: Path, listing: Listing) -> list[tuple[int, str]]:
    """Numbered lines of a list that are not blank; none, and a problem, if it is unreadable."""
    try:
        lines = place.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        listing.report("bad list", f"cannot read {place}: {error}", place)
        return []
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
