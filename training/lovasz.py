"""The Lovász-softmax loss: a surrogate of 1 - mIoU that can be differentiated.

M. Berman, A. R. Triki, M. B. Blaschko, "The Lovász-Softmax loss: a tractable surrogate for the
optimization of the intersection-over-union measure in neural networks", CVPR 2018, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from edge_runtime.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from torch import Tensor

PIXELS = 65_536
"""Most pixels that are looked at: sorting all of a batch takes as long as the network's forward."""


def lovasz_softmax(logits: Tensor, labels: Tensor, *, pixels: int = PIXELS) -> Tensor:
    """1 - IoU, extended to probabilities, averaged over the classes that occur in the batch.

    Where more than `pixels` are labelled, so many are drawn from torch's random numbers.

    Args:
        logits: (N, C, H, W) float.
        labels: (N, H, W) int64 train ids; 255 is ignored.
        pixels: most pixels to sort.

    Returns:
        Scalar in 0..1; 0 without a labelled pixel.
    """
    labelled = (labels != IGNORE_INDEX).flatten().nonzero()[:, 0]
    if len(labelled) > pixels:
        drawn = torch.randint(len(labelled), (pixels,))
        labelled = labelled[drawn.to(labelled.device)]
    image = labelled.div(labels[0].numel(), rounding_mode="floor")
    place = labelled - image * labels[0].numel()
    chosen = logits.flatten(2)[image, :, place].float()  # (P, C)
    truth = F.one_hot(labels.flatten()[labelled], logits.shape[1]).T.to(chosen.dtype)  # (C, P)
    present = truth.any(dim=1)
    if not present.any():
        return logits.sum() * 0
    truth, errors = truth[present], (truth - chosen.softmax(dim=1).T).abs()[present]
    errors, order = errors.sort(dim=1, descending=True)
    return (errors * _jaccard_steps(truth.gather(1, order))).sum(dim=1).mean()


def _jaccard_steps(truth: Tensor) -> Tensor:
    """How much each of (C, P) pixels, taken as wrong one after the other, adds to 1 - IoU."""
    size = truth.sum(dim=1, keepdim=True)
    intersection = size - truth.cumsum(dim=1)
    union = size + (1 - truth).cumsum(dim=1)
    lost = 1 - intersection / union
    return lost.diff(dim=1, prepend=torch.zeros_like(size))
