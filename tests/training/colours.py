"""A network that is right by construction for the toy's colours, and its predictors."""

from __future__ import annotations

import torch
from torch import nn

from training.evaluation.options import EvalOptions
from training.evaluation.predictors import LogitsPredictor, NetPredictor, TorchNetwork

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.5, 0.2)


class ArgmaxOfColour(nn.Module):
    """The logits are the picture's own channels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(STD).view(1, 3, 1, 1))
        self.shift = nn.Parameter(torch.tensor(MEAN).view(1, 3, 1, 1))
        self.seen: list[tuple[int, int]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(image.shape[2:]))
        return image * self.scale + self.shift


def net_predictor(labels, size) -> NetPredictor:
    """The network as training sees it."""
    return NetPredictor(ArgmaxOfColour(), labels, size, MEAN, STD)


def viewed(
    labels, options: EvalOptions, size: tuple[int, int] = (24, 32), multiple: int = 1
) -> tuple[LogitsPredictor, list[tuple[int, int]]]:
    """The network in the given views, and the list of sizes that it will have been shown."""
    net = ArgmaxOfColour()
    network = TorchNetwork(net, labels, MEAN, STD)
    return LogitsPredictor(network, size, "stretch", options, multiple), net.seen
