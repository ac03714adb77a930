"""Neighbouring frames never meet in two splits, and no split stays empty."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.importers.splitting import Ratios, assign


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
