"""Channels-last maps, cut into bands, patches and tiles and put together again.

A map is (1, H, W, C). Its H x W pixels form gh x gw patches of ph x pw pixels, P = gh * gw. A band
is a row of patches; a tile is a patch with a halo of one pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def to_bands(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1, H, W, C) -> (gh, ph, W, C): the same values in the same order."""
    _, height, width, channels = x.shape
    return x.reshape(grid[0], height // grid[0], width, channels)


def to_patches(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """(gh, ph, W, C) -> (P, ph * pw, C)."""
    rows, columns = grid
    _, ph, width, channels = x.shape
    if (ph, width) == (1, columns):
        return x.reshape(rows * columns, 1, channels)
    x = x.reshape(rows, ph, columns, width // columns, channels)
    return x.transpose(1, 2).reshape(rows * columns, -1, channels)


def from_patches(x: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(P, ph * pw, C) -> (1, H, W, C)."""
    rows, columns = grid
    height, width = size
    if size == grid:
        return x.reshape(1, height, width, -1)
    x = x.reshape(rows, columns, height // rows, width // columns, -1)
    return x.transpose(1, 2).reshape(1, height, width, -1)


def tile_pixels(grid: tuple[int, int], size: tuple[int, int], *, in_patches: bool) -> Tensor:
    """The pixel that stands at each place of all tiles, as a row of the flattened map.

    Beyond the border of the map the halo is a reflection.

    Args:
        grid: (gh, gw).
        size: (H, W).
        in_patches: whether the map to be read is laid out in patches, (P, ph * pw, C).

    Returns:
        (P * (ph + 2) * (pw + 2),) int32, each 0 to H * W - 1.
    """
    pixels = torch.arange(size[0] * size[1], dtype=torch.int32).reshape(1, *size, 1)
    numbers = pixels
    if in_patches:
        order = to_patches(to_bands(pixels, grid), grid).flatten()
        numbers = torch.empty_like(order)
        numbers[order.long()] = pixels.flatten()
    plane = numbers.reshape(1, 1, *size).double()
    padded = F.pad(plane, (1, 1, 1, 1), mode="reflect")[0, 0].to(torch.int32)
    ph, pw = size[0] // grid[0], size[1] // grid[1]
    return padded.unfold(0, ph + 2, ph).unfold(1, pw + 2, pw).flatten()
