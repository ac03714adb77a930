"""The depthwise convolution of a training step computes what torch's own does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from training.model.depthwise import depthwise_conv2d
from training.model.encoders.efficientnet import PaddedConv

CASES = [
    (kernel, stride, padding, size)
    for kernel in (3, 5)
    for stride in (1, 2)
    for padding in (0, 1, 2)
    for size in ((11, 14), (12, 13), (5, 5))
]


def _tensors(
    kernel: int, size: tuple[int, int], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, *size, dtype=dtype, generator=generator)
    weight = torch.randn(4, 1, kernel, kernel, dtype=dtype, generator=generator)
    return x.requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), CASES)
def test_output_and_gradients_equal_those_of_torch(
    kernel: int, stride: int, padding: int, size: tuple[int, int]
) -> None:
    # Given a map and weights in float64
    x, weight = _tensors(kernel, size, torch.float64)
    reference = F.conv2d(x, weight, None, stride, padding, groups=4)
    upstream = torch.randn_like(reference)
    expected = torch.autograd.grad(reference, (x, weight), upstream)

    # When convolved by our function
    found = depthwise_conv2d(x, weight, stride=stride, padding=padding)
    gradients = torch.autograd.grad(found, (x, weight), upstream)

    # Then the output is the same, and so are both gradients up to rounding
    torch.testing.assert_close(found, reference, rtol=0, atol=0)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_gradients_are_as_close_to_float64_as_torchs(kernel: int, stride: int) -> None:
    # Given the gradients of torch in float64 and in bfloat16
    x, weight = _tensors(kernel, (24, 26), torch.float64)
    exact = F.conv2d(x, weight, None, stride, kernel // 2, groups=4)
    upstream = torch.randn_like(exact)
    truth = torch.autograd.grad(exact, (x, weight), upstream)
    low = [tensor.detach().bfloat16().requires_grad_() for tensor in (x, weight)]
    plain = F.conv2d(*low, None, stride, kernel // 2, groups=4)
    theirs = torch.autograd.grad(plain, low, upstream.bfloat16())

    # When ours are computed in bfloat16
    y = depthwise_conv2d(*low, stride=stride, padding=kernel // 2)
    ours = torch.autograd.grad(y, low, upstream.bfloat16())

    # Then their error is no larger than torch's own rounding explains
    for found, other, exactly in zip(ours, theirs, truth, strict=True):
        error = (found.double() - exactly).norm()
        assert error <= 1.5 * (other.double() - exactly).norm() + 1e-3 * exactly.norm()


def test_a_training_step_under_autocast_keeps_float32_gradients_of_the_weights() -> None:
    # Given a padded depthwise layer of an encoder in training
    layer = PaddedConv(8, 8, 5, stride=2, size=64, groups=8).train()
    x = torch.randn(2, 8, 64, 64)

    # When run and differentiated under autocast
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().square().mean().backward()

    # Then the map is bfloat16 and the weight's gradient is a float32 near the exact one
    assert y.dtype is torch.bfloat16
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype is torch.float32
    found = layer.weight.grad.clone()
    layer.weight.grad = None
    layer(x).square().mean().backward()
    assert (found - layer.weight.grad).norm() < 0.02 * layer.weight.grad.norm()
