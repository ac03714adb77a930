"""Cross-entropy over all pixels, or over the hard ones of each image or of the whole batch.

Pixels labelled 255 never count. `Criterion` adds a surrogate of the mIoU where it is asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from edge_runtime.labels import IGNORE_INDEX
from training.distributed import Ranks
from training.lovasz import lovasz_softmax

if TYPE_CHECKING:
    from torch import Tensor

    from training.options import TrainOptions


def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, *, smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy over labelled pixels; 0 when there is none.

    Args:
        logits: (N, C, H, W) float.
        labels: (N, H, W) int64 train ids; 255 is ignored.
        weight: (C,) class weights; the mean is weighted too.
        smoothing: share of the target that is spread over all classes.

    Returns:
        Scalar, nats.
    """
    summed = F.cross_entropy(
        logits,
        labels,
        weight,
        ignore_index=IGNORE_INDEX,
        reduction="sum",
        label_smoothing=smoothing,
    )
    counted = _pixel_weights(labels, weight).sum()
    return summed / counted.clamp(min=torch.finfo(summed.dtype).tiny)


def bootstrapped_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    *,
    threshold: float = 0.3,
    minimum: int = 4096,
    smoothing: float = 0.0,
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
        smoothing: share of the target that is spread over all classes.

    Returns:
        Scalar, nats; an image whose hard pixels all weigh 0 gives 0.
    """
    losses = _pixel_losses(logits, labels, smoothing)
    weights = _weights_of(labels, weight, losses)  # (N, H * W)
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
    return (losses * kept).sum() / kept.sum().clamp(min=torch.finfo(losses.dtype).tiny)


def ohem_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    *,
    threshold: float = 0.3,
    minimum: int = 4096,
    smoothing: float = 0.0,
    ranks: Ranks | None = None,
) -> Tensor:
    """Mean cross-entropy over the hard pixels of the whole batch (online hard example mining).

    Hard are the labelled pixels whose (unweighted) loss exceeds `threshold`, or, if they are fewer
    than `minimum` an image on average, as many of the largest losses. Unlike in the bootstrapped
    loss an easy image may give none. Pixels as hard as the last one chosen count too.

    Args:
        logits: (N, C, H, W) float.
        labels: (N, H, W) int64 train ids; 255 is ignored.
        weight: (C,) class weights; they weigh the mean, not the choice of pixels.
        threshold: nats.
        minimum: pixels per image.
        smoothing: share of the target that is spread over all classes.
        ranks: processes that have a share of the batch each; pixels are chosen among all, and the
            mean of what they return is the loss.

    Returns:
        Scalar, nats; 0 without a labelled pixel.
    """
    ranks = ranks or Ranks()
    losses = _pixel_losses(logits, labels, smoothing).flatten()
    labelled = labels.flatten() != IGNORE_INDEX
    difficulty = torch.where(labelled, losses.detach(), -1.0)
    hard = difficulty > threshold
    enough = minimum * len(labels) * ranks.size
    if ranks.sum(int(hard.sum()))[0] < enough:
        everywhere = ranks.join(difficulty)
        last = everywhere.topk(min(enough, len(everywhere))).values[-1]
        hard = labelled & (difficulty >= last)
    kept = _weights_of(labels, weight, losses).flatten() * hard
    total = ranks.add_up(kept.sum()) / ranks.size
    return (losses * kept).sum() / total.clamp(min=torch.finfo(losses.dtype).tiny)


def _pixel_losses(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """(N, H * W) cross-entropy, 0 where nothing is labelled."""
    return F.cross_entropy(
        logits, labels, ignore_index=IGNORE_INDEX, reduction="none", label_smoothing=smoothing
    ).flatten(1)


def _weights_of(labels: Tensor, weight: Tensor | None, losses: Tensor) -> Tensor:
    """(N, H * W) class weight of each pixel; 1 where nothing is labelled."""
    if weight is None:
        return torch.ones(labels.shape, dtype=losses.dtype, device=labels.device).flatten(1)
    table = F.pad(weight.to(losses.dtype), (0, IGNORE_INDEX + 1 - len(weight)), value=1.0)
    return table[labels].flatten(1)


def _pixel_weights(labels: Tensor, weight: Tensor | None) -> Tensor:
    """What each pixel contributes to the denominator of a weighted mean."""
    labelled = labels != IGNORE_INDEX
    if weight is None:
        return labelled.float()
    return weight[torch.where(labelled, labels, 0)] * labelled


class Criterion:
    """The loss of the options, as a function of (logits, labels).

    Args:
        options: which loss, and its parameters.
        weight: (C,) class weights.
        ranks: processes that have a share of each batch.
    """

    def __init__(
        self, options: TrainOptions, weight: Tensor | None = None, ranks: Ranks | None = None
    ) -> None:
        self._options, self._weight, self._ranks = options, weight, ranks or Ranks()

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of (N, C, H, W) logits and (N, H, W) int64 labels."""
        loss = self._of_pixels(logits, labels)
        if self._options.lovasz:
            loss = loss + self._options.lovasz * lovasz_softmax(logits, labels)
        return loss

    def _of_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        options, weight = self._options, self._weight
        smoothing = options.label_smoothing
        if options.loss == "ce":
            return cross_entropy(logits, labels, weight, smoothing=smoothing)
        threshold, minimum = options.hard_threshold, options.hard_min
        if options.loss == "ohem":
            return ohem_cross_entropy(
                logits,
                labels,
                weight,
                threshold=threshold,
                minimum=minimum,
                smoothing=smoothing,
                ranks=self._ranks,
            )
        return bootstrapped_cross_entropy(
            logits, labels, weight, threshold=threshold, minimum=minimum, smoothing=smoothing
        )

    def amount(self, labels: Tensor) -> float:
        """What the loss of these labels is a mean over: the weight of a part within its batch."""
        if self._options.loss == "ce":
            return float(_pixel_weights(labels, self._weight).sum())
        return float(len(labels))


def make_loss(
    options: TrainOptions, weight: Tensor | None = None, ranks: Ranks | None = None
) -> Criterion:
    """The loss of the options."""
    return Criterion(options, weight, ranks)
