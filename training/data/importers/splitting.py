"""Which image goes into which split, so that neighbours stay together.

Frames of one video are nearly the same picture: scored against a network that was trained on their
neighbours they measure memory. So whole folders or sequences go into a split, and where there are
too few of those, blocks of neighbouring names.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_runtime.errors import OptionError
from training.data.pairs import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.data.pairs import Split

GroupBy = Literal["auto", "folder", "sequence", "none"]

_FRAME_NUMBER = re.compile(r"[\W_]*[a-zA-Z]?\d+\D{0,40}$")
"""The frame's number at the end of a name, as in ``Seq05VD_f00120`` or ``drive_000120_rgb``."""
_ROBOFLOW = re.compile(r"_[a-zA-Z]{3,4}\.rf\.[0-9a-zA-Z]{8,}$")
"""What Roboflow appends: another one for each image, and each of its augmented copies."""
_LABEL_STUDIO = re.compile(r"(?:.*/)?([0-9a-f]{8})-(?=.)")
"""What Label Studio puts in front: another one for each image."""
_FAR_OFF = 0.5
"""Automatic grouping is given up if a split gets less than this part of its share."""


@dataclass(frozen=True)
class Ratios:
    """Shares of train, val and test.

    Raises:
        OptionError: a share is negative, or train has none.
    """

    train: float = 0.8
    val: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        if min(self.shares) < 0 or self.train <= 0 or not sum(self.shares) < float("inf"):
            raise OptionError(
                f"split {'/'.join(map(str, self.shares))} is not understood; expected shares of "
                "train/val/test such as 0.8/0.1/0.1, the first above 0"
            )

    @property
    def shares(self) -> tuple[float, float, float]:
        """In the order of `SPLITS`."""
        return self.train, self.val, self.test


def parse_ratios(text: str) -> Ratios:
    """``0.8/0.1/0.1``, or without the last shares.

    Raises:
        OptionError: it is something else.
    """
    try:
        values = [float(part) for part in text.split("/")]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 3:
        raise OptionError(
            f"split {text!r} is not understood; expected shares of train/val/test such as "
            "0.8/0.1/0.1"
        )
    return Ratios(*values, *[0.0] * (3 - len(values)))


def assign(
    names: Sequence[str], ratios: Ratios, *, seed: int, group_by: GroupBy
) -> tuple[list[Split], str]:
    """The split of each name, and in words how it was found.

    Args:
        names: relative names without suffix, with ``/`` between folders.
        ratios: the shares wanted.
        seed: of the shuffling of groups.
        group_by: what stays together; ``auto`` takes folders, sequences or blocks, whichever first
            gives shares near those wanted and puts most images beside others.

    Raises:
        OptionError: there are too few images or groups.
    """
    wanted = [split for split, share in zip(SPLITS, ratios.shares, strict=True) if share > 0]
    if len(names) < len(wanted):
        raise OptionError(
            f"{len(names)} images cannot fill {', '.join(wanted)}; give other shares with --split"
        )
    if group_by == "none":
        return _by_groups(names, ratios, seed, lambda name: name), "image by image"
    names = _as_they_were(names)
    keys: dict[str, Callable[[str], str]] = {"folder": _folder, "sequence": _sequence}
    for kind, key in keys.items():
        if group_by not in ("auto", kind):
            continue
        members = Counter(key(name) for name in names)
        groups = len(members)
        if group_by == "auto" and 2 * sum(n == 1 for n in members.values()) > len(names):
            continue  # the names say each frame's own number elsewhere: neighbours would part
        splits = _by_groups(names, ratios, seed, key)
        share = {split: splits.count(split) / len(names) for split in SPLITS}
        total = sum(ratios.shares)
        near = all(
            share[split] >= _FAR_OFF * part / total
            for split, part in zip(SPLITS, ratios.shares, strict=True)
        )
        if near or (group_by == kind and groups >= len(wanted)):
            return splits, f"by {kind}, of which there are {groups}"
    if group_by != "auto":
        raise OptionError(
            f"there are fewer groups by {group_by} than splits ({', '.join(wanted)}); take "
            "--group auto"
        )
    return _by_blocks(names, ratios), "in blocks of neighbouring names"


def _as_they_were(names: Sequence[str]) -> list[str]:
    """Names without what annotation tools add to each, which hides the frames' order."""
    plain = [_ROBOFLOW.sub("", name) for name in names]
    found = [match for name in plain if (match := _LABEL_STUDIO.match(name))]
    prefixes = {match[1] for match in found}
    # Dates look like it, but one stands before many images, and none has letters.
    if 2 * len(prefixes) <= len(names) or all(prefix.isdecimal() for prefix in prefixes):
        return plain
    return [
        name[: match.start(1)] + name[match.end() :]
        if (match := _LABEL_STUDIO.match(name))
        else name
        for name in plain
    ]


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _sequence(name: str) -> str:
    return _FRAME_NUMBER.sub("", name)


def _by_groups(
    names: Sequence[str], ratios: Ratios, seed: int, key: Callable[[str], str]
) -> list[Split]:
    """Whole groups, the largest first, each to the split that lacks most; none stays empty."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        members[key(name)].append(index)
    groups = [members[name] for name in sorted(members)]
    order = np.random.default_rng(seed).permutation(len(groups))
    lacking = [len(names) * share / sum(ratios.shares) for share in ratios.shares]
    empty = {place for place, share in enumerate(ratios.shares) if share > 0}
    splits: list[Split] = ["train"] * len(names)
    for rank, group in enumerate(sorted((groups[i] for i in order), key=len, reverse=True)):
        open_to = empty if len(groups) - rank <= len(empty) else range(len(SPLITS))
        place = max(open_to, key=lambda place: lacking[place])
        lacking[place] -= len(group)
        empty.discard(place)
        for index in group:
            splits[index] = SPLITS[place]
    return splits


def _by_blocks(names: Sequence[str], ratios: Ratios) -> list[Split]:
    """The first names in natural order are train, then come val and test; none is empty."""
    order = sorted(range(len(names)), key=lambda index: _natural(names[index]))
    shares = np.array(ratios.shares) / sum(ratios.shares)
    counts = (shares > 0).astype(int)
    counts += np.floor(shares * (len(names) - counts.sum())).astype(int)
    counts[0] += len(names) - counts.sum()
    splits: list[Split] = ["train"] * len(names)
    for rank, index in enumerate(order):
        splits[index] = SPLITS[int(np.searchsorted(np.cumsum(counts), rank, side="right"))]
    return splits


def _natural(name: str) -> list[tuple[str, int]]:
    """Sort key in which frame 10 comes after frame 9, and one drive after another."""
    return [(text, int(part or 0)) for text, part in re.findall(r"(\D*)(\d*)", name)]
