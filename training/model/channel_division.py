"""Algorithm 1 of the paper: how the signal's channels are divided among the weight layers.

Every decoder layer generates ``p`` weights from its share of the signal. Layers with more weights
get more channels, in units that every layer's grouped convolution can divide.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def divide_channels(channels: int, weights: Sequence[int], unit: int) -> list[int]:
    """Share of each weight layer, as generations v1_0 and v1_0_unify of HyperSeg divide.

    Equal counts form a group, every group starts with one unit a member, and the rest goes to the
    larger groups first in proportion to their weights; the smallest group takes the remainder.

    Args:
        channels: signal channels to give away.
        weights: generated weights per layer, coarse level first.
        unit: channels are given in multiples of this (the largest of the weight groups).

    Returns:
        Channels per layer, in the order of `weights`.

    Raises:
        ValueError: `channels` is no multiple of `unit`, or too few for one unit a layer.
    """
    units, groups = _prepare(channels, weights, unit)
    ratio = units / sum(weights)
    given = [len(members) for _, members in groups]
    left = units - sum(given)
    for number, (count, members) in enumerate(groups[:-1]):
        size = len(members)
        wanted = max(count * size * ratio, size)
        extra = min(math.floor(wanted / size) * size - size, left)
        given[number] += extra
        left -= extra
        if left == 0:
            break
    given[-1] += left
    return _spread(given, groups, unit, len(weights))


def divide_channels_legacy(channels: int, weights: Sequence[int], unit: int) -> list[int]:
    """As `divide_channels`, by the rule of generation v0_1: no initial unit per member."""
    units, groups = _prepare(channels, weights, unit)
    ratio = units / sum(weights)
    given = []
    for count, members in groups[:-1]:
        size = len(members)
        given.append(math.floor(max(count * size * ratio, 1) / size) * size)
    given.append(units - sum(given))
    return _spread(given, groups, unit, len(weights))


def _prepare(
    channels: int, weights: Sequence[int], unit: int
) -> tuple[int, list[tuple[int, list[int]]]]:
    """Units to give, and the groups of equal counts as (count, layer indices), largest first."""
    if channels % unit or channels // unit < len(weights):
        raise ValueError(
            f"{channels} signal channels cannot be divided among {len(weights)} layers in units "
            f"of {unit}; use a multiple of {unit}, at least {unit * len(weights)}"
        )
    ascending = sorted(range(len(weights)), key=lambda index: weights[index])
    groups = [(count, list(members)) for count, members in groupby(ascending, lambda i: weights[i])]
    # Stable: groups of equal total size keep their ascending order.
    groups.sort(key=lambda group: group[0] * len(group[1]), reverse=True)
    return channels // unit, groups


def _spread(
    given: Sequence[int], groups: Sequence[tuple[int, list[int]]], unit: int, layers: int
) -> list[int]:
    """Each member's share of its group, in channels."""
    shares = [0] * layers
    for units, (_, members) in zip(given, groups, strict=True):
        for index in members:
            shares[index] = units // len(members) * unit
    return shares
