"""Folding of batch norms into the convolutions before them: exact in eval mode."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.model.meta_block import ChannelBias

if TYPE_CHECKING:
    from training.model.hyperseg import HyperSeg

Module = TypeVar("Module", bound=nn.Module)


def bn_scale_shift(bn: nn.BatchNorm2d | ChannelBias) -> tuple[Tensor, Tensor]:
    """The affine map a batch norm is in eval mode: ``scale * x + shift``, each (C,)."""
    if isinstance(bn, ChannelBias):
        return torch.ones_like(bn.bias), bn.bias
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return scale, bn.bias - bn.running_mean * scale


def fold_batch_norms(module: Module) -> Module:
    """A copy of `module` in which every norm right behind a convolution is part of it.

    Generated weights are not convolutions with parameters; their norms are left alone here
    (`export.deploy` folds them into the layers that generate the weights).
    """
    folded = copy.deepcopy(module)
    for parent in folded.modules():
        if not isinstance(parent, nn.Sequential):
            continue
        names = list(parent._modules)
        for before, after in itertools.pairwise(names):
            conv, norm = parent._modules[before], parent._modules[after]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parent._modules[before] = fuse_conv_bn_eval(conv, norm)
                parent._modules[after] = nn.Identity()
    return folded


def inference_copy(net: HyperSeg) -> HyperSeg:
    """A float64 eval copy with folded norms: folding in float64 costs no accuracy."""
    with torch.no_grad():
        return fold_batch_norms(copy.deepcopy(net).double().eval())
