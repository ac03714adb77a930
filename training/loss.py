"""Cross-entropy over all pixels, or over the hard ones only; pixels labelled 255 never count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from edge_runtime.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from training.options import TrainOptions

    Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over labelled pixels; 0 when there is none.

    Args:
        logits: (N, C, H, W) float.
        labels: (N, H, W) int64 train ids; 255 is ignored.
        weight: (C,) class weights; the mean is weighted too.

    Returns:
        Scalar, nats.
    """
    summed = F.cross_entropy(logits, labels, weight, ignore_index=IGNORE_INDEX, reduction="sum")
    counted = _pixel_weights(labels, weight).sum()
    return summed / counted.clamp(min=torch.finfo(summed.dtype).tiny)


def bootstrapped_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    *,
    threshold: float = 0.3,
    minimum: int = 4096,
) -> Tensor:
    """Mean cross-entropy over each image's hard pixels, averaged over the batch.

    Hard are the pixels whose (unweighted) loss exceeds `threshold`, if they are more than
    `minimum`, else the `minimum` pixels of largest loss; ignored pixels have loss 0 and can only
    be among the latter. Images smaller than `minimum` use all their pixels.

    Args:
        logits: (N, C, H, W) float.
        labels: (N, H, W) int64 train ids; 255 is ignored.
        weight: (C,) class weights; they weigh the mean, not the choice of pixels.
        threshold: nats.
        minimum: pixels per image.

    Returns:
        Scalar, nats.
    """
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none").flatten(1)
    if weight is None:
        weights = torch.ones_like(losses)
    else:
        table = F.pad(weight.to(losses.dtype), (0, IGNORE_INDEX + 1 - len(weight)), value=1.0)
        weights = table[labels].flatten(1)  # (N, H * W)
    means = [
        _hard_mean(image, image_weights, threshold, minimum)
        for image, image_weights in zip(losses, weights, strict=True)
    ]
    return torch.stack(means).mean()


def _hard_mean(losses: Tensor, weights: Tensor, threshold: float, minimum: int) -> Tensor:
    """Weighted mean of the hard ones among (P,) losses."""
    # More than `minimum` losses above the threshold is what sorting and looking at rank `minimum`
    # would tell, at a fraction of its cost.
    hard = losses.detach() > threshold
    if int(hard.sum()) <= minimum:
        hard = torch.zeros_like(hard)
        hard[losses.detach().topk(min(minimum, len(losses))).indices] = True
    kept = weights * hard
    return (losses * kept).sum() / kept.sum()


def _pixel_weights(labels: Tensor, weight: Tensor | None) -> Tensor:
    """What each pixel contributes to the denominator of a weighted mean."""
    labelled = labels != IGNORE_INDEX
    if weight is None:
        return labelled.float()
    return weight[torch.where(labelled, labels, 0)] * labelled


def make_loss(options: TrainOptions, weight: Tensor | None = None) -> Loss:
    """The loss of the options, as a function of (logits, labels)."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        if options.loss == "ce":
            return cross_entropy(logits, labels, weight)
        return bootstrapped_cross_entropy(
            logits, labels, weight, threshold=options.hard_threshold, minimum=options.hard_min
        )

    return loss
