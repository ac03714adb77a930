"""Depthwise convolution with a fast gradient on the CPU.

The library's own gradients are fine except in two cases, which took half of a training step of the
edge networks: the weight gradient of 5x5 kernels in bfloat16 (4 times the float32 one) and the
input gradient at stride 2 (8 times the stride-1 one of the same map). The first is computed in
float32, the second as a stride-1 convolution of the gradient spread out with zeros.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class DepthwiseConv2d(torch.autograd.Function):
    """Depthwise convolution of (N, C, H, W) by (C, 1, k, k), without bias; see the module."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w), zero padding on all sides."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of input and weight."""
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        wanted = ctx.needs_input_grad
        grad_x = _input_gradient(grad, x, weight, ctx.stride, ctx.padding) if wanted[0] else None
        grad_weight = None
        if wanted[1]:
            grad_weight = _weight_gradient(grad, x, weight, ctx.stride, ctx.padding)
        return grad_x, grad_weight, None, None


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The transposed convolution, as a convolution of the spread gradient."""
    kernel = weight.shape[2]
    border = kernel - 1 - padding
    if stride == 1:
        return F.conv2d(grad, weight.flip(2, 3), None, 1, border, groups=x.shape[1])
    images, channels, height, width = x.shape
    spread = torch.empty(
        (images, channels, height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1),
        dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last,
    ).zero_()  # fmt: skip
    rows, columns = grad.shape[2], grad.shape[3]
    spread[:, :, : rows * stride : stride, : columns * stride : stride] = grad
    return F.conv2d(spread, weight.flip(2, 3), None, 1, border, groups=channels)


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    dtype = weight.dtype
    if weight.shape[2] > 3 and dtype is torch.bfloat16:
        grad, x, weight = grad.float(), x.float(), weight.float()
    gradients = torch.ops.aten.convolution_backward(
        grad, x, weight, [0], [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], x.shape[1],
        [False, True, False],
    )  # fmt: skip
    found: Tensor = gradients[1].to(dtype)
    return found


def depthwise_conv2d(x: Tensor, weight: Tensor, *, stride: int, padding: int) -> Tensor:
    """A depthwise convolution as a training step on the CPU wants it, autocast included.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, k, k), odd k.
        stride: of both axes.
        padding: zeros on all sides, at most k - 1.

    Returns:
        (N, C, h, w)
    """
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    y: Tensor = DepthwiseConv2d.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return y
