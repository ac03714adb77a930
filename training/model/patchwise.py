"""Dynamic patch-wise convolution, the reference form: a convolution per patch with its own weights.

Written to be read and to be compared with; `export.deploy` holds the fast form.

Shapes: a map is (N, C, H, W); the patch grid is (gh, gw) with patches of ph x pw pixels, so
H = gh * ph and W = gw * pw; a stack of tiles is (T, C, th, tw) with T = N * gh * gw, row-major over
image, patch row, patch column; generated weights are (N, p, gh, gw).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def split_into_tiles(x: Tensor, grid: tuple[int, int], halo: int = 0) -> Tensor:
    """Cut a map into the patches of `grid`, each with `halo` more pixels of its surroundings.

    Beyond the border of the map the halo is its reflection (without repeating the border pixel).

    Args:
        x: (N, C, H, W).
        grid: (gh, gw); both must divide H and W.
        halo: pixels added on each side.

    Returns:
        (N * gh * gw, C, H / gh + 2 * halo, W / gw + 2 * halo)
    """
    images, channels, height, width = x.shape
    patch_h, patch_w = height // grid[0], width // grid[1]
    if halo:
        x = F.pad(x, (halo, halo, halo, halo), mode="reflect")
    tile_h, tile_w = patch_h + 2 * halo, patch_w + 2 * halo
    tiles = x.unfold(2, tile_h, patch_h).unfold(3, tile_w, patch_w)  # (N, C, gh, gw, th, tw)
    tiles = tiles.permute(0, 2, 3, 1, 4, 5)  # (N, gh, gw, C, th, tw)
    return tiles.reshape(images * grid[0] * grid[1], channels, tile_h, tile_w)


def merge_tiles(tiles: Tensor, grid: tuple[int, int]) -> Tensor:
    """Undo `split_into_tiles` without a halo: (N * gh * gw, C, ph, pw) -> (N, C, H, W)."""
    _, channels, patch_h, patch_w = tiles.shape
    x = tiles.reshape(-1, grid[0], grid[1], channels, patch_h, patch_w)
    x = x.permute(0, 3, 1, 4, 2, 5)  # (N, C, gh, ph, gw, pw)
    return x.reshape(x.shape[0], channels, grid[0] * patch_h, grid[1] * patch_w)


def weights_by_tile(weights: Tensor) -> Tensor:
    """Generated weights (N, p, gh, gw) as one row a tile: (N * gh * gw, p)."""
    return weights.permute(0, 2, 3, 1).reshape(-1, weights.shape[1])


def patchwise_conv(tiles: Tensor, weights: Tensor, out_channels: int) -> Tensor:
    """A 1x1 convolution with separate weights for every tile.

    Args:
        tiles: (T, C, th, tw).
        weights: (T, out_channels * C), output channel major.
        out_channels: O.

    Returns:
        (T, O, th, tw)
    """
    count, channels, height, width = tiles.shape
    if weights.requires_grad:  # training: the same as a matrix product a tile, at half the time
        product = torch.bmm(
            weights.reshape(count, out_channels, channels), tiles.reshape(count, channels, -1)
        )
        return product.reshape(count, out_channels, height, width)
    kernel = weights.reshape(count * out_channels, channels, 1, 1)
    # One group a tile: the tiles stand side by side as channels of a single image.
    flat = F.conv2d(tiles.reshape(1, count * channels, height, width), kernel, groups=count)
    return flat.reshape(count, out_channels, height, width)


def patchwise_depthwise(tiles: Tensor, weights: Tensor) -> Tensor:
    """A valid depthwise 3x3 convolution with separate weights for every tile.

    Args:
        tiles: (T, C, ph + 2, pw + 2).
        weights: (T, C * 9), row then column.

    Returns:
        (T, C, ph, pw)
    """
    count, channels, height, width = tiles.shape
    kernel = weights.reshape(count * channels, 1, 3, 3)
    flat = F.conv2d(
        tiles.reshape(1, count * channels, height, width), kernel, groups=count * channels
    )
    return flat.reshape(count, channels, height - 2, width - 2)
