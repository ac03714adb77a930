"""The published networks and our own, as values.

`preset` gives one by name, or a variant of one: another backbone, a static decoder, another patch
grid, no coordinates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from edge_runtime.errors import OptionError
from edge_runtime.labels import CAMVID_12, CITYSCAPES_19, STREET_8, VOC_21
from edge_runtime.suggest import suggestion
from training.model.config import DecoderConfig, EncoderConfig, HyperSegConfig, LevelConfig

if TYPE_CHECKING:
    from edge_runtime.labels import LabelSet

LITE_MEAN = (0.498, 0.498, 0.498)
LITE_STD = (0.502, 0.502, 0.502)
"""Normalisation EfficientNet-Lite's ImageNet weights were trained with."""


def _levels(
    channels: tuple[int, ...], kernels: tuple[int, ...], groups: tuple[int, ...]
) -> tuple[LevelConfig, ...]:
    return tuple(
        LevelConfig(channel, 1 if kernel == 1 else 3, group)
        for channel, kernel, group in zip(channels, kernels, groups, strict=True)
    )


_EDGE_LOGITS = 4.0
"""See `DecoderConfig.logit_scale`."""

_LEVELS_M = (64, 32, 16, 16, 16)

PRESETS: dict[str, HyperSegConfig] = {
    # Published: Cityscapes HyperSeg-M, S; CamVid HyperSeg-S, L; PASCAL VOC HyperSeg-L.
    "cityscapes-m": HyperSegConfig(
        19,
        DecoderConfig(_levels(_LEVELS_M, (1, 1, 1, 3, 3), (32, 16, 8, 16, 4)), wiring="shared"),
        EncoderConfig(tap_channels=(None, 6, 10, 28, 80)),
        labels=CITYSCAPES_19.name,
        train_size=(512, 1024),
    ),
    "cityscapes-s": HyperSegConfig(
        19,
        DecoderConfig(
            _levels((32, 16, 8, 8, 8), (1, 1, 1, 3, 3), (32, 16, 8, 16, 4)), joint_levels=2
        ),
        EncoderConfig(tap_channels=(None, 4, 8, 28, 128)),
        labels=CITYSCAPES_19.name,
        train_size=(768, 1536),
    ),
    "camvid-s": HyperSegConfig(
        12,
        DecoderConfig(_levels(_LEVELS_M, (1, 1, 1, 3, 3), (64, 32, 32, 16, 8)), wiring="shared"),
        labels=CAMVID_12.name,
        train_size=(576, 768),
    ),
    "camvid-l": HyperSegConfig(
        12,
        DecoderConfig(
            _levels((*_LEVELS_M, 16), (1, 1, 1, 3, 3, 3), (64, 32, 32, 16, 8, 8)), wiring="shared"
        ),
        labels=CAMVID_12.name,
        train_size=(768, 1024),
    ),
    "voc-l": HyperSegConfig(
        21,
        DecoderConfig(
            _levels((96, 34, 12, 8, 6, 21), (1, 1, 3, 3, 3, 3), (16,) * 6),
            coords=True,
            wiring="nested",
            halo="map",
        ),
        EncoderConfig("efficientnet-b3", tap_channels=(6, 8, 12, 34, 96)),
        context="nested",
        context_levels=3,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        labels=VOC_21.name,
        train_size=(512, 512),
    ),
    # Ours: ReLU6, no squeeze-excite, widths in eights, logits at stride 4. The smallest has a
    # pruned encoder and only pointwise generated weights: a depthwise level at stride 4 would cost
    # half as much again (docs/speed.md).
    "edge-n": HyperSegConfig(
        11,
        DecoderConfig(
            _levels((32, 32), (1, 1), (16, 16)),
            pyramid_taps=4,
            pyramid_channels=32,
            coords=False,
            base_weights=True,
            identity_start=True,
            logit_scale=_EDGE_LOGITS,
        ),
        EncoderConfig(
            "efficientnet-lite0",
            expansions=(1, 2, 3, 4, 4, 3, 3),
            head_channels=256,
            tap_channels=(None,) * 5,
        ),
        mean=LITE_MEAN,
        std=LITE_STD,
        labels="camvid-11",
        train_size=(384, 512),
    ),
    # A deeper encoder, wider levels, and a finer grid of pixels.
    "edge-s": HyperSegConfig(
        11,
        DecoderConfig(
            _levels((96, 64, 48, 32), (1, 1, 1, 3), (16, 16, 16, 16)), logit_scale=_EDGE_LOGITS
        ),
        EncoderConfig(
            "efficientnet-lite1", head_channels=640, tap_channels=(None, None, 40, 64, 128)
        ),
        mean=LITE_MEAN,
        std=LITE_STD,
        labels="camvid-11",
        train_size=(576, 768),
    ),
    # The same with half the channels: the demo's network, trained from scratch in minutes.
    "street-n": HyperSegConfig(
        8,
        DecoderConfig(
            _levels((48, 32, 24, 24), (1, 1, 1, 3), (16, 16, 16, 16)), logit_scale=_EDGE_LOGITS
        ),
        EncoderConfig(
            "efficientnet-lite0", width=0.5, head_channels=512, tap_channels=(None, 16, 16, 32, 64)
        ),
        mean=LITE_MEAN,
        std=LITE_STD,
        labels=STREET_8.name,
        train_size=(384, 512),
    ),
}
"""Every preset by name."""

_ENCODERS = (
    "efficientnet-b1",
    "efficientnet-b3",
    "efficientnet-lite0",
    "efficientnet-lite1",
    "resnet18",
    "pspnet18",
    "pspnet50",
)
"""As `training.model.encoders.ENCODER_NAMES`, which cannot be read without torch."""

_NUMBERED = {"grid": "patch_grid", "fpn": "fpn_width", "pyramid": "pyramid_width"}
"""Variations that are given a number, as arguments of `variant`."""
_NAMED: dict[str, dict[str, Any]] = {
    "static": {"static": True},
    "no-coords": {"coords": False},
    "coords": {"coords": True},
    "wired": {"wiring": "sliced"},
    "depthwise": {"depthwise": True},
    "no-base": {"base_weights": False},
    "no-identity": {"identity_start": False},
}
VARIATIONS = (*_NAMED, *(f"{name}=" for name in _NUMBERED), *_ENCODERS, "timm:")
"""What may stand behind a preset's ``+``, or how it begins."""

PUBLISHED = ("cityscapes-m", "cityscapes-s", "camvid-s", "camvid-l", "voc-l")
"""Presets whose weights exist as the authors' checkpoints."""


def preset(name: str) -> HyperSegConfig:
    """The configuration of that name, with the variations written behind it.

    ``camvid-s`` is a preset; ``camvid-s+resnet18``, ``camvid-s+static``, ``voc-l+grid=4``,
    ``edge-n+depthwise``, ``edge-s+pyramid=64`` and ``camvid-l+wired`` are variants of one, and may
    be combined.

    Raises:
        OptionError: there is no such preset, variation or encoder.
    """
    base, *variations = name.split("+")
    # It puts a whole decoder there, which the others change, wherever it stands.
    variations.sort(key=lambda variation: not variation.startswith("pyramid="))
    if base not in PRESETS:
        raise OptionError(f"no preset {base!r}; {suggestion(base, PRESETS)}")
    config = PRESETS[base]
    for variation in variations:
        config = variant(config, **_variation(variation))
    return config


def _variation(text: str) -> dict[str, Any]:
    """One variation as an argument of `variant`."""
    key, _, value = text.partition("=")
    if key in _NUMBERED and value.isdecimal():
        return {_NUMBERED[key]: int(value)}
    if text in _NAMED:
        return _NAMED[text]
    if names_encoder(text):
        return {"encoder": text}
    raise OptionError(
        f"no variation {text!r}; append {', '.join(f'+{name}' for name in _NAMED)}, "
        f"{', '.join(f'+{name}=N' for name in _NUMBERED)}, or an encoder: "
        f"{', '.join(_ENCODERS)}, timm:<name>"
    )


def names_encoder(variation: str) -> bool:
    """Whether a variation of a preset is another backbone."""
    return variation in _ENCODERS or variation.startswith("timm:")


def variant(
    base: HyperSegConfig,
    *,
    encoder: str | None = None,
    patch_grid: int | Literal["same"] | None = "same",
    static: bool | None = None,
    coords: bool | None = None,
    wiring: Literal["sliced", "shared", "nested"] | None = None,
    depthwise: bool = False,
    base_weights: bool | None = None,
    identity_start: bool | None = None,
    pyramid_width: int | None = None,
    fpn_width: int | None = None,
    labels: LabelSet | None = None,
) -> HyperSegConfig:
    """A preset with one or more of the paper's ablations; no published weights fit a variant.

    Args:
        base: where to start.
        encoder: another backbone, for instance ``resnet18`` or ``pspnet50``.
        patch_grid: patches per side; 1 is one weight set per image; None one patch per 32 pixels.
        static: ordinary learned weights instead of generated ones.
        coords: with or without positional channels.
        wiring: ``sliced`` lets every level read its own share of the signal.
        depthwise: a generated 3x3 inside the finest level, as narrow as the level's input.
        base_weights: with or without learned weights below the generated ones; without, nothing
            starts as the identity.
        identity_start: whether levels between start as the identity.
        pyramid_width: two pointwise levels of so many channels, over learned weights, behind a
            pyramid as wide that ends at the same stride: the decoder of ``edge-n``, to which the
            other changes are made.
        fpn_width: a plain feature pyramid of so many channels as the head, the baseline.
        labels: other classes.

    Returns:
        The changed configuration.
    """
    if pyramid_width is not None:
        base = _behind_pyramid(base, pyramid_width)
    if base_weights is False:
        identity_start = False
    simple = {
        "coords": coords,
        "wiring": wiring,
        "base_weights": base_weights,
        "identity_start": identity_start,
    }
    decoder: dict[str, Any] = {name: value for name, value in simple.items() if value is not None}
    if patch_grid != "same":
        decoder["patch_grid"] = patch_grid
    if static is not None:
        decoder["weights"] = "static" if static else "patch"
    if depthwise:
        finest = replace(base.decoder.levels[-1], kernel=3)
        decoder |= {"levels": (*base.decoder.levels[:-1], finest), "expansion": 1}
    config = replace(base, decoder=replace(base.decoder, **decoder))
    if fpn_width is not None:
        config = _with_fpn(config, fpn_width)
    if encoder is not None:
        config = replace(config, encoder=replace(config.encoder, name=encoder))
    if labels is not None:
        config = replace(config, num_classes=len(labels), labels=labels.name)
    return config


def _behind_pyramid(config: HyperSegConfig, width: int) -> HyperSegConfig:
    """The same encoder, read without reductions, under the decoder of ``edge-n``."""
    taps = config.decoder.pyramid_taps or len(config.decoder.levels)
    levels = tuple(replace(level, channels=width, kernel=1) for level in config.decoder.levels[-2:])
    decoder = replace(
        config.decoder,
        levels=levels,
        pyramid_taps=taps,
        pyramid_channels=width,
        coords=False,
        base_weights=True,
        identity_start=True,
        joint_levels=0,
        wiring="sliced",
    )
    encoder = replace(config.encoder, tap_channels=(None,) * 5)
    return replace(config, decoder=decoder, encoder=encoder)


def _with_fpn(config: HyperSegConfig, width: int) -> HyperSegConfig:
    """The same encoder, read without reductions, under a plain pyramid down to the same stride."""
    if width < 1:
        raise OptionError(f"fpn={width}: the pyramid needs at least one channel")
    levels = (*config.decoder.levels[:-1], replace(config.decoder.levels[-1], channels=width))
    return replace(
        config,
        decoder=replace(config.decoder, weights="fpn", levels=levels),
        encoder=replace(config.encoder, tap_channels=(None,) * 5),
    )
