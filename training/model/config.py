"""Configuration of a HyperSeg network: plain frozen values, stored in every checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edge_runtime.errors import OptionError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncoderConfig:
    """The backbone and its reductions."""

    name: str = "efficientnet-b1"
    """See `training.model.encoders`."""
    width: float = 1.0
    """Channel multiplier on top of the variant's own."""
    expansions: tuple[int, ...] | None = None
    """Hidden over input channels in the blocks of each stage (EfficientNet only); None: its own.
    Where it is less than the variant's own, packaged weights are pruned to fit
    (`training.model.encoders.pruning`)."""
    head_channels: int | None = None
    """Channels of the map the context head reads, before width scaling; None: the usual number."""
    tap_channels: tuple[int | None, ...] = (4, 6, 10, 28, 80)
    """Channels at strides 2..32 after the 1x1 reduction; None keeps the map as it is."""

    def __post_init__(self) -> None:
        if len(self.tap_channels) != 5:
            raise OptionError(
                f"tap_channels needs one entry for each of strides 2..32, got {self.tap_channels}"
            )


@dataclass(frozen=True)
class LevelConfig:
    """One decoder level: a meta block whose weights come from the signal."""

    channels: int
    """Output channels; the last level's are the classes, whatever stands here."""
    kernel: Literal[1, 3]
    """1: patch-wise 1x1 convolution; 3: inverted residual with a depthwise 3x3 inside."""
    weight_groups: int
    """Groups of the signal-to-weights convolution."""


@dataclass(frozen=True)
class DecoderConfig:
    """The multi-scale decoder."""

    levels: tuple[LevelConfig, ...]
    """Coarse to fine, from stride 32, unless behind a pyramid. A sixth level works on the image."""
    weights: Literal["patch", "static", "fpn"] = "patch"
    """``patch``: generated from the signal, per patch; ``static``: ordinary learned ones; ``fpn``:
    a plain feature pyramid of the last level's channels instead of meta blocks (the baseline)."""
    patch_grid: int | None = None
    """Patches per side; None: one patch for each cell at stride 32 (the published networks)."""
    coords: bool = True
    """Join two coordinate planes to every level's input."""
    wiring: Literal["sliced", "shared", "nested"] = "sliced"
    """How layers read the signal. ``sliced``: each its own channels, as the paper says
    (v1_0_unify); ``shared``: all from channel 0, as the released v1_0 weights were trained;
    ``nested``: slices by the older division (v0_1)."""
    joint_levels: int = 0
    """The last n levels get their weights from one joint layer (v1_0_unify: 2)."""
    halo: Literal["tile", "map"] = "tile"
    """Where a patch's 3x3 border comes from. ``tile``: the neighbour's input under the patch's own
    weights (v1); ``map``: the neighbour's hidden values (v0_1)."""
    expansion: int = 2
    """Hidden over input channels of an inverted residual."""
    base_weights: bool = False
    """Add learned weights, the same for every patch and image, to the generated ones: the decoder
    then starts as an ordinary one, and the signal learns how each patch departs from it. Logits of
    a pointwise last level, static or not, then have a bias in the place of the batch norm that
    generated weights of any size need: it would give a rare class the spread of a frequent one.
    `logit_scale` then says nothing."""
    identity_start: bool = False
    """Pointwise levels between, as wide as what they read, start as the identity: base weights that
    are one, and a bias in the place of the batch norm. Behind a pyramid the decoder then is the
    plain head when training begins, and departs from it. Needs `base_weights`."""
    pyramid_taps: int = 0
    """0: each level has its own tap and stride (the published networks). Otherwise all levels stand
    at one stride, behind an ordinary feature pyramid of so many taps from stride 32 on
    (`training.model.fpn.FeaturePyramid`): 4 for stride 4."""
    pyramid_channels: int = 32
    """Of that pyramid."""
    logit_scale: float = 1.0
    """Initial gain of the last batch norm, whose output the logits are. At 1 all logits start
    within about +-2 and Adam moves the gain by at most the learning rate a step: a short training
    ends before rare classes can win. The published networks were trained from 1."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps the levels put out, coarse first."""
        if self.pyramid_taps:
            return (64 >> self.pyramid_taps,) * len(self.levels)
        return tuple(32 >> level for level in range(len(self.levels)))

    def __post_init__(self) -> None:
        if not 1 <= len(self.levels) <= 6:
            raise OptionError(f"a decoder has 1 to 6 levels, got {len(self.levels)}")
        if not 0 <= self.joint_levels <= len(self.levels):
            raise OptionError(f"cannot join {self.joint_levels} of {len(self.levels)} levels")
        if self.logit_scale <= 0:
            raise OptionError(f"logit_scale is {self.logit_scale}; expected a positive number")
        if self.identity_start and not self.base_weights:
            raise OptionError("identity_start says how base_weights start, and there are none")
        if not 0 <= self.pyramid_taps <= 5:
            raise OptionError(f"pyramid_taps is {self.pyramid_taps}; an encoder has 5 taps")
        if self.pyramid_channels < 1:
            raise OptionError(f"pyramid_channels is {self.pyramid_channels}; expected 1 or more")
        if self.patch_grid is not None and self.patch_grid < 1:
            raise OptionError(f"patch_grid is {self.patch_grid}; at least one patch is needed")


@dataclass(frozen=True)
class HyperSegConfig:
    """Everything needed to build the network and to feed it."""

    num_classes: int
    decoder: DecoderConfig
    encoder: EncoderConfig = EncoderConfig()
    context: Literal["unet", "nested"] = "unet"
    """Form of the context head: ``unet`` (v1) or ``nested`` (v0_1)."""
    context_levels: int = 2
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Of RGB in 0..1."""
    std: tuple[float, float, float] = IMAGENET_STD
    labels: str = ""
    """Name of the label set the classes belong to."""
    train_size: tuple[int, int] = (576, 768)
    """(height, width) the published figures were taken at."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_classes <= 255:
            raise OptionError(f"num_classes is {self.num_classes}; 1 to 255 fit a uint8 mask")

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this."""
        if self.decoder.weights != "patch":
            return 32
        return 32 << (self.context_levels - 1)


def check_size(config: HyperSegConfig, height: int, width: int) -> None:
    """Refuse a size the network cannot take, naming the next ones that fit.

    Raises:
        OptionError: height or width is no multiple, too small, or not divided by the patch grid.
    """
    step = config.size_multiple
    decoder = config.decoder
    if decoder.patch_grid is not None and decoder.weights == "patch":
        # The coarsest level must divide into whole patches.
        step = math.lcm(step, decoder.strides[0] * decoder.patch_grid)
    if height >= 1 and width >= 1 and height % step == 0 and width % step == 0:
        return
    below = f"{max(height // step, 1) * step}x{max(width // step, 1) * step}"
    above = f"{max(-(-height // step), 1) * step}x{max(-(-width // step), 1) * step}"
    raise OptionError(
        f"size {height}x{width} (HxW) does not fit: both must be multiples of {step}; the next "
        f"sizes that do are {below} and {above}"
    )
