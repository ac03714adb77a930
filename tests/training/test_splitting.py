"""Neighbouring frames never meet in two splits, and no split stays empty."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.importers.splitting import Ratios, assign

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("names", "how"),
    [
        ([f"city{i % 10}/frame{i}" for i in range(60)], "by folder"),
        ([f"s{i % 10}_f{i:05}" for i in range(60)], "by sequence"),
        ([f"img_{i}" for i in range(60)], "in blocks"),
    ],
)
def test_neighbours_stay_in_one_split(names: list[str], how: str) -> None:
    splits, said = assign(names, Ratios(0.6, 0.2, 0.2), seed=1, group_by="auto")

    assert said.startswith(how)
    assert {split: splits.count(split) for split in splits} == {"train": 36, "val": 12, "test": 12}
    if how == "in blocks":
        assert sum(a != b for a, b in pairwise(splits)) == 2
    else:
        groups = [name.partition("/")[0].partition("_")[0] for name in names]
        assert len(set(zip(groups, splits, strict=True))) == 10
    assert assign(names, Ratios(0.6, 0.2, 0.2), seed=1, group_by="auto")[0] == splits


def test_some_photos_beside_drives_cut_no_drive() -> None:
    drives = [f"drive{d}_{i:04}" for d in "ABCDEFGHIJ" for i in range(50)]
    photos = [f"photo{name}" for name in "abcdefghijk"]

    splits, said = assign([*drives, *photos], Ratios(), seed=0, group_by="auto")

    assert said == "by sequence, of which there are 21"
    assert all(len(set(splits[50 * d : 50 * d + 50])) == 1 for d in range(10))


def test_blocks_take_one_drive_after_another() -> None:
    names = [f"drive{d}-{i:02}-{kind}" for d in "AB" for i in range(30) for kind in ("x", "y")]

    splits, said = assign(names, Ratios(0.5, 0.5, 0.0), seed=0, group_by="auto")

    assert {split for name, split in zip(names, splits, strict=True) if "driveA" in name} == {
        "train"
    }, said


def md5_like(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


@pytest.mark.parametrize(
    "name",
    [
        lambda i: f"drive_{i:04}_jpg.rf.{md5_like(i)}",
        lambda i: f"cam/drive_{i}_PNG.rf.{md5_like(i)}",
        lambda i: f"{md5_like(i)[:8]}-frame_{i:04}",
        lambda i: f"day1/{md5_like(i)[:8]}-frame_{i}",
        lambda i: f"drive_{i:06}_front_camera_undistorted",
        lambda i: f"drive_{i:06}_cam2_v3",
        lambda i: f"frame_{i:04}/rgb",
    ],
)
def test_neighbours_stay_together_whatever_stands_around_their_numbers(
    name: Callable[[int], str],
) -> None:
    names = sorted(name(i) for i in range(60))
    number = {name(i): i for i in range(60)}

    splits, said = assign(names, Ratios(0.6, 0.2, 0.2), seed=1, group_by="auto")

    in_order = [split for _, split in sorted(zip(map(number.get, names), splits, strict=True))]
    assert in_order == ["train"] * 36 + ["val"] * 12 + ["test"] * 12
    assert said == "in blocks of neighbouring names"


@pytest.mark.parametrize(
    "name",
    [
        lambda drive, i: f"drive{drive}_{i:06}_front_camera_undistorted",
        lambda drive, i: f"drive{drive}_{i:04}_jpg.rf.{md5_like(100 * drive + i)}",
        lambda drive, i: f"{md5_like(100 * drive + i)[:8]}-drive{drive}_{i:04}",
        lambda drive, i: f"2023010{drive}-frame_{i:04}",  # a date, not a tool's eight digits
    ],
)
def test_sequences_are_seen_through_what_tools_add_to_names(
    name: Callable[[int, int], str],
) -> None:
    drives = {name(drive, i): drive for drive in range(10) for i in range(6)}

    splits, said = assign(list(drives), Ratios(0.6, 0.2, 0.2), seed=1, group_by="auto")

    assert said == "by sequence, of which there are 10"
    assert len(set(zip(drives.values(), splits, strict=True))) == 10


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(3, 80),
    groups=st.integers(1, 9),
    shares=st.tuples(*[st.floats(0.05, 1)] * 3),
    seed=st.integers(0, 99),
)
def test_every_wanted_split_gets_images(
    count: int, groups: int, shares: tuple[float, float, float], seed: int
) -> None:
    names = [f"g{i % groups}x_{i:03}" for i in range(count)]

    for group_by in ("auto", "none", *(["sequence"] if groups >= 3 and count >= groups else [])):
        splits, _ = assign(names, Ratios(*shares), seed=seed, group_by=group_by)

        assert set(splits) == {"train", "val", "test"}
