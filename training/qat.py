"""Quantisation-aware training: the INT8 grid of the deployed graph, felt while training.

`prepare_qat` takes a trained network and the ``qat`` table of a calibration report, folds batch
norms, and puts a fake quantiser exactly where `calibration.policy` put a Q/DQ pair: the table is
written from the same placement. Rounding passes gradients straight through, and ranges are learned
with the weights. Afterwards `finish_qat` gives back an ordinary network, which is exported as any
other, and `save_qat_ranges` writes the ranges for the Q/DQ pairs of that export.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import TYPE_CHECKING, Any, cast

import msgspec
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edge_runtime.artifacts import sha256_of
from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.range_table import RangeTable, write_ranges

if TYPE_CHECKING:
    from pathlib import Path

    from training.model.hyperseg import HyperSeg

WEIGHT_STEPS = 127


class QatSite(msgspec.Struct, frozen=True):
    """One quantised tensor, told by the convolutions around it (see `calibration.sites`)."""

    tensor: str
    group: str
    amax: float
    bound: float | None
    steps: int
    """Levels above zero: 127, or 255 for tensors that are never negative."""
    low: int
    """Lowest level: -128 or 0."""
    inputs_of: list[str]
    outputs_of: list[str]
    residual_of: list[str]


class QatTable(msgspec.Struct, frozen=True):
    """Where a network is quantised, and with which ranges it starts."""

    policy: str
    weights: list[str]
    sites: list[QatSite]
    untrained: list[str] = []


class _Report(msgspec.Struct):
    qat: QatTable


def read_table(path: Path) -> QatTable:
    """The table in the JSON report of ``hyperseg calibrate --report``.

    Raises:
        ArtifactError: the file is missing or no such report.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Report).qat
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactError(
            f"{path} is no calibration report ({error}); make one with `hyperseg calibrate "
            "--report`"
        ) from error


class FakeQuantize(nn.Module):
    """Rounds to the grid ``scale * q``, ``q`` from `low` to `steps`; its range is a parameter.

    The gradient of rounding is taken as 1. So the range's gradient is that of learned step sizes
    (Esser et al., ICLR 2020): what is clipped widens it, rounding errors move it either way.
    """

    def __init__(self, amax: float, steps: int, low: int, bound: float | None) -> None:
        super().__init__()
        self.log_amax = nn.Parameter(torch.tensor(math.log(amax)))
        self.steps, self.low, self.bound = steps, low, bound

    @property
    def amax(self) -> Tensor:
        """() the largest value that is represented; never beyond what the graph allows."""
        amax = self.log_amax.exp()
        return amax if self.bound is None else amax.clamp(max=self.bound)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same, on the grid."""
        scale = self.amax / self.steps
        return (straight_through_round(x / scale).clamp(self.low, self.steps)) * scale


class FakeQuantizeWeight(nn.Module):
    """Rounds a weight to 127 steps of the largest weight of each output channel."""

    def forward(self, weight: Tensor) -> Tensor:
        """(out, ...) -> the same, on the grid."""
        amax = weight.detach().abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
        scale = torch.where(amax > 0, amax / WEIGHT_STEPS, torch.ones_like(amax))
        return straight_through_round(weight / scale) * scale


def straight_through_round(x: Tensor) -> Tensor:
    """To the nearest integer, halves to even as ONNX does, with gradient 1."""
    return x + (x.round() - x).detach()


def prepare_qat(net: HyperSeg, table: QatTable) -> HyperSeg:
    """A copy of `net` with folded batch norms and fake quantisers, to be trained on.

    Batch norms that belong to generated weights stay as they are.

    Args:
        net: trained; calibrated after export, which gave `table`.
        table: see `read_table`.

    Raises:
        OptionError: the table is of another network, or quantises what training cannot reach.
    """
    if table.untrained:
        raise OptionError(
            f"policy {table.policy!r} quantises {len(table.untrained)} tensors that no learned "
            f"convolution makes, such as {table.untrained[0]!r}: calibrate without --dynamic, for "
            "trt-gpu or ort-cpu"
        )
    prepared = fold(net)
    modules = dict(prepared.named_modules())
    for name in table.weights:
        parametrize.register_parametrization(
            _convolution(modules, name), "weight", FakeQuantizeWeight()
        )
    quantizers: dict[str, FakeQuantize] = {}
    tensors: dict[str, str] = {}
    for site in table.sites:
        if site.group not in quantizers:
            quantizers[site.group] = FakeQuantize(site.amax, site.steps, site.low, site.bound)
        tensors[site.tensor] = site.group
        _attach(modules, site, quantizers[site.group])
    # Names of tensors may hold dots, which names of modules may not.
    prepared.fake_quantizers = nn.ModuleList(quantizers.values())
    prepared.qat_tensors = {  # type: ignore[assignment]  # a plain dictionary beside the modules
        tensor: list(quantizers).index(group) for tensor, group in tensors.items()
    }
    return prepared


def qat_ranges(net: HyperSeg) -> dict[str, float]:
    """Tensor of the exported graph -> learned range, for `calibration.qdq.insert`."""
    quantizers = cast("nn.ModuleList", net.fake_quantizers)
    indices = cast("dict[str, int]", net.qat_tensors)
    return {
        tensor: float(cast("FakeQuantize", quantizers[index]).amax.detach())
        for tensor, index in indices.items()
    }


def save_qat_ranges(net: HyperSeg, table: QatTable, checkpoint: Path, target: Path) -> None:
    """Write the learned ranges for ``hyperseg calibrate --ranges``.

    Args:
        net: trained with quantisers.
        table: what `net` was prepared with.
        checkpoint: the finished network as it was saved; only its exports may use the ranges.
        target: where the table goes.
    """
    found = RangeTable(
        made_by=f"learned by QAT with {checkpoint.name}",
        learned=True,
        policy=table.policy,
        model_sha256=sha256_of(checkpoint),
        ranges=qat_ranges(net),
    )
    write_ranges(target, found)


def finish_qat(net: HyperSeg) -> HyperSeg:
    """The trained network without quantisers, with batch norms that do nothing but hold the bias.

    It has the parameters of any other network of its configuration: it is saved, exported and
    evaluated like one.
    """
    from training.model.hyperseg import HyperSeg as Plain

    plain = Plain(net.config).eval()
    trained = {
        name.replace(".parametrizations.weight.original", ".weight"): value
        for name, value in net.state_dict().items()
        if not name.startswith("fake_quantizers.")
    }
    state = plain.state_dict()
    for conv, norm in _foldable(plain):
        bias = trained.pop(f"{conv}.bias")
        eps = cast("nn.BatchNorm2d", plain.get_submodule(norm)).eps
        trained[f"{norm}.weight"] = torch.full_like(bias, math.sqrt(1 + eps))
        trained[f"{norm}.bias"] = bias
        trained[f"{norm}.running_mean"] = torch.zeros_like(bias)
        trained[f"{norm}.running_var"] = torch.ones_like(bias)
        trained[f"{norm}.num_batches_tracked"] = state[f"{norm}.num_batches_tracked"]
    plain.load_state_dict(trained)
    return plain


def fold(net: HyperSeg) -> HyperSeg:
    """A copy whose learned convolutions have taken in the batch norms right behind them."""
    folded = copy.deepcopy(net).eval()
    with torch.no_grad():
        for conv, norm in _foldable(folded):
            fused = fuse_conv_bn_eval(
                cast("nn.Conv2d", folded.get_submodule(conv)).double(),
                cast("nn.BatchNorm2d", folded.get_submodule(norm)).double(),
            )
            folded.set_submodule(conv, fused.float())
            folded.set_submodule(norm, nn.Identity())
    return folded


def _foldable(net: nn.Module) -> list[tuple[str, str]]:
    """(convolution, batch norm) by name, wherever the second follows the first."""
    found = []
    for name, parent in net.named_modules():
        if isinstance(parent, nn.Sequential):
            for (one, conv), (two, norm) in itertools.pairwise(parent.named_children()):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    found.append((f"{name}.{one}", f"{name}.{two}"))
    return found


def _convolution(modules: dict[str, nn.Module], name: str) -> nn.Conv2d:
    found = modules.get(name)
    if not isinstance(found, nn.Conv2d):
        raise OptionError(
            f"the table quantises {name!r}, which is no convolution of this network; calibrate an "
            "export of this checkpoint"
        )
    return found


def _attach(modules: dict[str, nn.Module], site: QatSite, quantize: FakeQuantize) -> None:
    """Let a tensor pass through its quantiser wherever the network uses it."""
    for name in site.inputs_of:
        _convolution(modules, name).register_forward_pre_hook(_InputHook(quantize))
    for name in site.outputs_of:
        _behind(modules, name).register_forward_hook(_OutputHook(quantize))
    for name in site.residual_of:
        _convolution(modules, name)
        _block(modules, name).register_forward_pre_hook(_InputHook(quantize))


class _InputHook:
    """A class, not a closure: networks with hooks are copied, and each copy has its quantisers."""

    def __init__(self, quantize: FakeQuantize) -> None:
        self.quantize = quantize

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.quantize(inputs[0]), *inputs[1:])


class _OutputHook:
    """As `_InputHook`, for what a module puts out."""

    def __init__(self, quantize: FakeQuantize) -> None:
        self.quantize = quantize

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        quantized: Tensor = self.quantize(output)
        return quantized


def _behind(modules: dict[str, nn.Module], name: str) -> nn.Module:
    """The convolution, or the last of the activation and folded norm right behind it; or a sum."""
    parent_name, _, own = name.rpartition(".")
    if parent_name.endswith(".sums"):
        return modules[name]
    last: nn.Module = _convolution(modules, name)
    parent = modules[parent_name]
    if isinstance(parent, nn.Sequential):
        children = list(parent.named_children())
        index = next(i for i, (child, _) in enumerate(children) if child == own)
        for _, child in children[index + 1 :]:
            if not isinstance(child, (nn.Identity, nn.ReLU, nn.ReLU6)):
                break
            last = child
    return last


def _block(modules: dict[str, nn.Module], name: str) -> nn.Module:
    """The residual block that a convolution ends, or what a pyramid adds to its output."""
    parts = name.split(".")
    if parts[-2:-1] == ["laterals"]:
        return modules[".".join((*parts[:-2], "resized", parts[-1]))]
    for end in range(len(parts) - 1, 0, -1):
        found = modules[".".join(parts[:end])]
        if getattr(found, "residual", False):
            return found
    raise OptionError(f"{name!r} ends no residual block of this network; calibrate its own export")
