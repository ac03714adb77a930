"""Networks with random weights whose activations keep unit scale, as trained ones do."""

from __future__ import annotations

import torch
from torch import nn

from training.model.config import HyperSegConfig
from training.model.hyperseg import HyperSeg
from training.model.meta_block import ChannelBias
from training.model.signal_to_weights import SignalToWeights


def calibrated_network(config: HyperSegConfig, size: tuple[int, int]) -> HyperSeg:
    """Untrained, but with batch-norm statistics of a few unit-scale images.

    Without them activations of an untrained network decay to 1e-12 and everything looks equal. What
    starts at zero and is learned, generated parts above all, is random too.
    """
    torch.manual_seed(0)
    net = HyperSeg(config)
    rates = {}
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
        if isinstance(module, SignalToWeights) and module.conv.bias is not None:
            nn.init.normal_(module.conv.weight, std=0.05)
        if isinstance(module, ChannelBias):
            nn.init.normal_(module.bias)
        if isinstance(module, nn.Dropout):
            rates[module], module.p = module.p, 0.0
    with torch.no_grad():
        for _ in range(2):
            net.train()(torch.randn(2, 3, *size))
    for module, rate in rates.items():
        module.p = rate
    return net.eval()
