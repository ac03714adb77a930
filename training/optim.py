"""What turns gradients into weights: parameter groups, learning-rate schedule, averaged weights."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from training.options import TrainOptions

ENCODER_PREFIX = "backbone."


def make_optimizer(
    net: nn.Module, options: TrainOptions, auxiliary: nn.Module | None = None
) -> torch.optim.Optimizer:
    """The optimiser of the options over up to four groups: encoder or not, decayed or not.

    Each group has ``lr_scale``, its learning rate relative to the schedule's. Only tensors of two
    or more dimensions (convolution and linear weights) decay.

    Args:
        net: parameters named ``backbone.*`` are the encoder's.
        options: the recipe.
        auxiliary: a head that is trained along with it.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    extra = [] if auxiliary is None else auxiliary.named_parameters("auxiliary")
    for name, parameter in (*net.named_parameters(), *extra):
        key = (name.startswith(ENCODER_PREFIX), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    described: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr_scale": options.encoder_lr_scale if encoder else 1.0,
            "weight_decay": options.weight_decay if decays else 0.0,
        }
        for (encoder, decays), parameters in groups.items()
    ]
    if options.optimizer == "sgd":
        momentum = options.betas[0]
        return torch.optim.SGD(
            described, lr=options.lr, momentum=momentum, nesterov=momentum > 0, fused=True
        )
    kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    return kind(described, lr=options.lr, betas=options.betas, fused=True)


def learning_rate(options: TrainOptions, step: int) -> float:
    """The learning rate of `step` (from 0): linear warm-up, then poly or cosine down to 0.

    A pure function of the step, so a resumed run cannot restart it.
    """
    if step < options.warmup_steps:
        return options.lr * (step + 1) / (options.warmup_steps + 1)
    step -= step % options.lr_hold
    done = max(step - options.warmup_steps, 0)
    remaining = 1 - done / (options.steps - options.warmup_steps)
    if options.schedule == "poly":
        return options.lr * float(remaining**options.poly_power)
    return options.lr * 0.5 * (1 - math.cos(math.pi * remaining))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set every group to `value` times its own ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = value * group["lr_scale"]


class AveragedWeights:
    """An exponential moving average of a network's parameters and BatchNorm statistics, in fp32.

    The decay grows from 0.1 towards `decay`, so the random first weights are soon forgotten.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.net = deepcopy(net).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged = self.net.state_dict()
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                averaged[name].lerp_(value, 1 - decay)
            else:
                averaged[name].copy_(value)
