"""The deployment form: the same function as the reference network, laid out for fast inference.

What differs from `training.model`, each step exact up to rounding (proven in
``tests/export/test_deploy.py``, measured by ``benchmarks/forms.py``):

- Batch norms are folded: in the encoder into its convolutions, in the decoder their scale into the
  rows of signal-to-weights and their shift into a constant bias.
- The branch of the context head that no level reads (``wiring="shared"``) is left out.
- Decoder maps are channels-last: cutting a map into patches moves whole runs of pixels, a patch's
  convolution is one matrix product, and the transpose between channels-last and the channel-major
  depthwise convolution is part of that product.
- The generated weights leave a batched matrix product patch by patch instead of channel by channel.
- Coordinates are constants of the size; tiles with their halo are one gather of whole pixels.
- Normalisation goes in front (uint8 frame in), upsampling and argmax behind (uint8 mask out).
- Biases are added in long runs, or by the convolution in front of them.

What each step gains stands in ``docs/speed.md``. Only operators that TensorRT's ONNX importer knows
are used, with static shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.deploy_blocks import DynamicConv, DynamicInvertedResidual, StaticBlock
from export.fold import inference_copy
from export.layout import from_patches, to_bands
from training.model.config import check_size
from training.model.context_head import UNetContextHead
from training.model.decoder import coordinates
from training.model.fpn import FpnDecoder
from training.model.meta_block import MetaConv

if TYPE_CHECKING:
    from edge_runtime.artifacts import Head
    from training.model.decoder import Decoder
    from training.model.hyperseg import HyperSeg
    from training.model.signal_to_weights import StaticWeights


class DeployHyperSeg(nn.Module):
    """One network at one size, frame in, mask or logits out.

    `forward` maps (1, H, W, 3) uint8 RGB frames to a (1, H, W) uint8 mask of train ids (head
    ``mask``) or to (1, C, H, W) float32 logits (head ``logits``).

    Raises:
        OptionError: the size does not fit the network.
    """

    def __init__(self, net: HyperSeg, size: tuple[int, int], head: Head) -> None:
        super().__init__()
        check_size(net.config, *size)
        self.size, self.head = size, head
        self.network = DeployNetwork(net, size)
        # (W * 3,), a value a byte of a row: one a channel would be applied three values at a time.
        mean, std = (torch.tensor(v).repeat(size[1]) for v in (net.config.mean, net.config.std))
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1.0 / (255.0 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, frame: Tensor) -> Tensor:
        """See the class."""
        # TensorRT accepts a uint8 input only if a cast is all that reads it.
        rows = frame.to(self.scale.dtype).reshape(self.size[0], -1) * self.scale + self.shift
        image = rows.reshape(1, *self.size, 3).permute(0, 3, 1, 2)
        if self.head == "logits":
            logits: Tensor = self.network(image)
            return logits
        return self.network.mask(image)


class DeployNetwork(nn.Module):
    """Normalised (1, 3, H, W) image to (1, C, H, W) logits."""

    def __init__(self, net: HyperSeg, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        folded = inference_copy(net)
        dtype = next(net.parameters()).dtype
        decoder = folded.decoder
        self.backbone, self.reductions = folded.backbone, folded.reductions
        # Under the network's own names, by which calibration and training know convolutions.
        self.decoder: FpnDecoder | nn.ModuleDict | None = None
        self.channels_last = False
        if isinstance(decoder, FpnDecoder):  # ordinary convolutions: nothing to lay out anew
            self.decoder = decoder
            self.to(dtype)
            return
        if decoder.pyramid is not None:
            self.decoder = nn.ModuleDict({"pyramid": decoder.pyramid})
        self.strides = decoder.config.strides
        static = decoder.config.weights == "static"
        self.context_head = None if static else _context_head(folded.context_head, decoder)
        self.patch_grid = decoder.config.patch_grid
        self.grid = (self.patch_grid,) * 2 if self.patch_grid else (size[0] // 32, size[1] // 32)
        self.blocks = nn.ModuleList(
            _static_block(decoder, index)
            if static
            else _dynamic_block(decoder, index, self.grid, self._level_size(index))
            for index in range(len(decoder.levels))
        )
        self.channels_last = not static
        self.coords: list[str] = []
        if decoder.config.coords:
            for index in range(len(self.blocks)):
                planes = coordinates(*self._level_size(index), torch.zeros(1)).double()
                self.coords.append(f"coords_{index}")
                self.register_buffer(self.coords[-1], self._part(planes).contiguous())
        self.to(dtype)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        return self._upsample(self._map(self._finest(image)))

    def mask(self, image: Tensor) -> Tensor:
        """Normalised (1, 3, H, W) image to the (1, H, W) uint8 class of its largest logit."""
        logits = self._map(self._finest(image))
        if tuple(logits.shape[2:]) == self.size:
            return logits.argmax(1).to(torch.uint8)
        logits = self._upsample(logits)
        # The largest of neighbours in memory. Flat, as ONNX Runtime would move a transpose right
        # in front of the argmax behind it, and then interpolate and compare channel by channel.
        flat = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
        # TensorRT makes a uint8 output only by a cast right in front of it.
        return flat.argmax(1).reshape(1, *self.size).to(torch.uint8)

    def _finest(self, image: Tensor) -> Tensor:
        """What the last level puts out: patches if `channels_last`, else (1, C, h, w)."""
        features, head = self.backbone(image)
        taps = [reduce(tap) for reduce, tap in zip(self.reductions, features, strict=True)]
        levels = [*reversed(taps), image]
        if isinstance(self.decoder, FpnDecoder):
            logits: Tensor = self.decoder(levels)
            return logits
        signal = self._signal(head)
        out: Tensor | None = None
        for index, block in enumerate(self.blocks):
            x = self._level_input(index, levels, out)
            out = block(x, signal) if signal is not None else block(x)
        assert out is not None
        return out

    def _level_size(self, index: int) -> tuple[int, int]:
        return self.size[0] // self.strides[index], self.size[1] // self.strides[index]

    def _map(self, out: Tensor) -> Tensor:
        """What a level puts out, as an ordinary map (1, C, h, w)."""
        if not self.channels_last:
            return out
        pixels = out.shape[0] * out.shape[1]
        sizes = [self._level_size(index) for index in range(len(self.blocks))]
        size = next(size for size in sizes if size[0] * size[1] == pixels)
        return from_patches(out, self.grid, size).permute(0, 3, 1, 2)

    def _upsample(self, logits: Tensor) -> Tensor:
        if tuple(logits.shape[2:]) == self.size:
            return logits
        return F.interpolate(logits, self.size, mode="bilinear", align_corners=False)

    def _signal(self, head: Tensor) -> Tensor | None:
        if self.context_head is None:
            return None
        signal: Tensor = self.context_head(head)
        if self.patch_grid is not None:
            signal = F.adaptive_avg_pool2d(signal, self.patch_grid)
        return signal

    def _level_input(self, index: int, taps: list[Tensor], previous: Tensor | None) -> Tensor:
        """Coordinates, tap and the upsampled previous output: in bands unless static.

        Behind a pyramid the first level reads its map, and the others what the one before put out,
        which stays in patches where nothing has to be joined to it.
        """
        size = self._level_size(index)
        parts = [getattr(self, self.coords[index])] if self.coords else []
        if not isinstance(self.decoder, nn.ModuleDict):
            parts.append(self._part(taps[index]))
        elif previous is None:
            parts.append(self._part(self.decoder["pyramid"](taps)))
        elif not self.coords and isinstance(self.blocks[index], DynamicConv):
            return previous
        if previous is not None:
            before = self._map(previous)
            if tuple(before.shape[2:]) != size:
                before = F.interpolate(before, size, mode="bilinear", align_corners=False)
            parts.append(self._part(before))
        return torch.cat(parts, 3 if self.channels_last else 1)

    def _part(self, x: Tensor) -> Tensor:
        """(1, C, h, w) as the levels read it.

        Cut into bands before the concatenation: ONNX Runtime would put it in front of a transpose.
        """
        return to_bands(x.permute(0, 2, 3, 1), self.grid) if self.channels_last else x


def _static_block(decoder: Decoder, level: int) -> nn.Module:
    weights = cast("StaticWeights", decoder.generators[level])
    return StaticBlock(decoder.meta_blocks()[level], weights.weight.flatten())


def _dynamic_block(
    decoder: Decoder, level: int, grid: tuple[int, int], size: tuple[int, int]
) -> nn.Module:
    block = decoder.meta_blocks()[level]
    generator, start = decoder.generator_of(level)
    if isinstance(block, MetaConv):
        return DynamicConv(block, generator, start, grid, size)
    return DynamicInvertedResidual(block, generator, start, grid, size)


def _context_head(head: nn.Module | None, decoder: Decoder) -> nn.Module:
    """The context head, or only the part of it that a decoder with shared wiring reads."""
    assert head is not None
    if decoder.config.wiring != "shared" or not isinstance(head, UNetContextHead):
        return head
    levels = range(len(decoder.levels))
    rows = max(decoder.generator_of(level)[0].channels for level in levels)
    full = cast("nn.Conv2d", head.in_conv[0])
    if rows > full.out_channels:
        return head
    pruned = nn.Conv2d(full.in_channels, rows, 1).to(full.weight.dtype)
    assert full.bias is not None
    assert pruned.bias is not None
    with torch.no_grad():
        pruned.weight.copy_(full.weight[:rows])
        pruned.bias.copy_(full.bias[:rows])
    return nn.Sequential(pruned, nn.ReLU())
