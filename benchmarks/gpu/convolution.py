"""Dynamic patch-wise convolution in every form, forward and backward, at the presets' sizes.

Times are between two events on the GPU; ``backward`` is the gradient by tiles and weights alone,
without the forward pass. ``compiled`` forms come out of torch's compiler, as kernels of their own.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.gpu.account import arguments, conduct
from benchmarks.gpu.clock import (
    DRY_EFFORT,
    PRECISIONS,
    Effort,
    Precision,
    compiled,
    device_ms,
    numerics,
)
from benchmarks.gpu.conv_forms import EXACT, FORMS, LEVEL_FORMS, generated_levels, shapes_of
from training.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.gpu.account import Account
    from benchmarks.gpu.conv_forms import GeneratedLevel, Shape

COMPILED = {"shifted": "shifted, compiled"}
"""Forms that are also measured compiled: nine operations become one kernel."""
LARGEST_JOINED_BYTES = 8 << 30
DRY_JOINED_BYTES = 256 << 20
DEFAULT_PRESETS = ["edge-s", "camvid-s", "edge-n", "cityscapes-s", "camvid-l"]


def passes(
    call: Callable[..., Tensor], inputs: tuple[Tensor, ...], effort: Effort
) -> dict[str, Any]:
    """Forward without gradients, and backward alone."""
    device = inputs[0].device
    with torch.no_grad():
        forward = device_ms(lambda: call(*inputs), device, effort)
    wanted = [value.detach().requires_grad_() for value in inputs]
    y = call(*wanted)
    gradient = torch.ones_like(y)
    backward = device_ms(
        lambda: torch.autograd.grad(y, wanted, gradient, retain_graph=True), device, effort
    )
    return {"forward": forward, "backward": backward}


def errors(
    call: Callable[..., Tensor], inputs: tuple[Tensor, ...], exact: Callable[..., Tensor]
) -> dict[str, float]:
    """Largest difference from `exact` in float64, relative to the largest value."""
    with torch.no_grad():
        truth = exact(*(value.double() for value in inputs))
        found = call(*inputs).double()
    return {"relative_error": float((found - truth).abs().max() / truth.abs().max())}


def measure_shape(
    account: Account, shape: Shape, precision: Precision, options: argparse.Namespace
) -> None:
    """Every form of one convolution in one number format."""
    forms, exact = FORMS[shape.kind], EXACT[shape.kind]
    names = {**{name: name for name in forms}, **{v: k for k, v in COMPILED.items() if k in forms}}
    with numerics(precision) as dtype:
        tiles = _random(shape.tiles, shape.inputs, shape.height, shape.width)
        weights = _random(shape.tiles, shape.weights) / shape.inputs**0.5
        inputs = tuple(value.to(account.device, dtype) for value in (tiles, weights))
        for shown, name in names.items():
            account.check_time()
            call = forms[name] if shown == name else compiled(forms[name], account.device)
            _one(account, shape.name, f"{shown} {precision}", call, inputs, exact, options)


def measure_level(
    account: Account, level: GeneratedLevel, precision: Precision, options: argparse.Namespace
) -> None:
    """A level with its generation, both ways round."""
    limit = DRY_JOINED_BYTES if account.dry else LARGEST_JOINED_BYTES
    exact = next(iter(LEVEL_FORMS.values()))
    with numerics(precision) as dtype:
        x = _random(level.tiles, level.inputs, level.pixels)
        signal = _random(level.groups, level.share, level.tiles)
        weight = _random(level.groups, level.outputs // level.groups, level.inputs, level.share)
        inputs = tuple(
            value.to(account.device, dtype) for value in (x, signal, weight / level.inputs**0.5)
        )
        for name, call in LEVEL_FORMS.items():
            account.check_time()
            needed = level.joined_elements * inputs[0].element_size()
            if call is not exact and needed > limit:
                reason = f"signal times map would take {needed / 2**30:.1f} GiB"
                account.skip(level.name, f"{name} {precision}", reason)
                continue
            _one(account, level.name, f"{name} {precision}", call, inputs, exact, options)


def _one(
    account: Account, table: str, name: str, call: Callable[..., Tensor],
    inputs: tuple[Tensor, ...], exact: Callable[..., Tensor], options: argparse.Namespace,
) -> None:  # fmt: skip
    effort = DRY_EFFORT if account.dry else Effort(runs=options.runs, limit_s=options.limit_s)
    try:
        row = {**passes(call, inputs, effort), **errors(call, inputs, exact)}
    except RuntimeError as error:  # a form that torch cannot compute here is a finding
        reason = " ".join(str(error).split())[:500]
        account.skip(table, name, f"{type(error).__name__}: {reason}")
    else:
        account.row(table, name, **row)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def measure(options: argparse.Namespace, account: Account) -> None:
    """Every size once, in every number format."""
    torch.backends.cudnn.benchmark = not account.dry  # convolutions the fastest way there is
    shapes = {shape: None for name in options.presets for shape in shapes_of(name)}
    account.figures["presets"] = {
        name: [shape.name for shape in shapes_of(name)] for name in options.presets
    }
    for precision in options.precisions:
        for shape in shapes:
            measure_shape(account, shape, precision, options)
    for name in options.presets:
        levels, left_out = generated_levels(name)
        for number, reason in left_out.items():
            account.skip("static times signal", f"{name} level {number}", reason)
        for precision in options.precisions:
            for level in levels:
                measure_level(account, level, precision, options)


def main() -> int:
    """Measure presets."""
    parser = arguments(__doc__, 8)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=", ".join(PRESETS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--limit-s", type=float, default=3.0, help="of one series of runs")
    options = parser.parse_args()
    if not options.presets:
        options.presets = ["street-n"] if options.dry_run else DEFAULT_PRESETS
    return conduct("convolution", options, measure)


if __name__ == "__main__":
    sys.exit(main())
