"""Trained inverted residuals made narrower: hidden channels that contribute least are left out.

The hidden channels of a block are nobody else's business: they can be dropped one by one without
touching another block (Li et al., ICLR 2017, prune filters the same way, by the norm of their
weights alone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_PROJECT = ".project.conv.weight"
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def prune_hidden(
    weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Weights whose blocks are as narrow as expected; those that fit already stay as they are.

    A channel's contribution to its block is the standard deviation of its activation, times the
    norm of the weights that read it. Behind a batch norm an activation is taken as ReLU6 of a
    normal variable with the norm's bias as mean and its weight as deviation.

    Args:
        weights: of a backbone of inverted residuals, ``blocks.N.project.conv.weight`` and so on.
        expected: tensors by name, of which only the shapes are read.

    Returns:
        All of `weights`, some with fewer hidden channels, their order kept.
    """
    pruned = dict(weights)
    for name, wanted in expected.items():
        project = weights.get(name)
        if not name.endswith(_PROJECT) or project is None or project.ndim != wanted.ndim:
            continue
        if wanted.shape[1] >= project.shape[1]:
            continue
        block = name.removesuffix(_PROJECT)
        gain, bias = (weights[f"{block}.depthwise.bn.{key}"] for key in ("weight", "bias"))
        contribution = _relu6_deviation(bias, gain) * project.flatten(2).norm(dim=(0, 2))
        kept = contribution.topk(wanted.shape[1]).indices.sort().values
        pruned[name] = project[:, kept]
        for layer in ("expand", "depthwise"):
            keys = [f"{block}.{layer}.conv.weight"]
            keys += [f"{block}.{layer}.bn.{key}" for key in _BATCH_NORM]
            pruned |= {key: weights[key][kept] for key in keys}
    return pruned


def _relu6_deviation(mean: Tensor, deviation: Tensor, points: int = 201) -> Tensor:
    """Standard deviation of ReLU6 of normal variables, by a sum over `points` of +-4 sigma."""
    grid = torch.linspace(-4.0, 4.0, points, dtype=torch.float64)
    density = torch.exp(-0.5 * grid.square())
    density /= density.sum()
    values = (mean.double()[:, None] + deviation.double().abs()[:, None] * grid).clamp(0.0, 6.0)
    first = (values * density).sum(1)
    second = (values.square() * density).sum(1)
    return (second - first.square()).clamp(min=0.0).sqrt()
