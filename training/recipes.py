"""How each preset is trained when the command line does not say otherwise.

The published presets have the paper's recipe, with these differences: an epoch shows every image
once instead of drawing with replacement, areas that a rotation uncovers are ignored instead of
labelled as background, and the weights are chosen on the val split, never on test. ImageNet weights
of their encoders are not packaged: give a file with ``--encoder-weights``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.presets import PRESETS, names_encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAPER: dict[str, Any] = {
    "optimizer": "adam",
    "betas": (0.5, 0.999),
    "lr": 1e-3,
    "encoder_lr_scale": 1.0,
    "weight_decay": 0.0,
    "schedule": "poly",
    "warmup": 0,
    "loss": "bootstrapped",
    "hard_threshold": 0.3,
    "hard_min": 4096,
    "class_weights": 0.0,
    "clip": 0.0,
    "ema": 0.0,
    "scale_law": "uniform",
    "scale_probability": 0.5,
    "flip": 0.5,
    "jitter": 0.0,
    "blur": 0.0,
    "noise": 0.0,
    "validate_every": 1000,
}
_CITYSCAPES = {**_PAPER, "steps": 90_000, "batch": 16, "poly_power": 0.9}
_CAMVID = {**_PAPER, "poly_power": 2.0}
_EDGE: dict[str, Any] = {"encoder_weights": "imagenet", "lr": 1.5e-3}

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "cityscapes-m": {**_CITYSCAPES, "scale": (0.25, 2.0), "crop": (512, 1024)},
    "cityscapes-s": {
        **_CITYSCAPES,
        "scale": (0.375, 1.5),
        "crop": (768, 768),
        "jitter": 0.25,
        "hue": 0.25,
    },
    "camvid-s": {
        **_CAMVID,
        "steps": 120_000,
        "batch": 2,
        "scale": (0.5, 2.0),
        "crop": (576, 576),
    },
    "camvid-l": {
        **_CAMVID,
        "steps": 15_000,
        "batch": 16,
        "scale": (0.75, 2.0),
        "crop": (768, 768),
    },
    "voc-l": {
        **_PAPER,
        "steps": 100_000,
        "batch": 32,
        "lr": 1e-4,
        "poly_power": 3.0,
        "lr_hold": 625,  # an epoch of 20,000 samples
        "loss": "ce",
        "scale": (0.25, 0.9),
        "crop": (512, 512),
        "rotate": 30.0,
        "jitter": 0.5,
        "hue": 0.5,
    },
    "edge-n": {**_EDGE, "steps": 3000},
    "edge-s": {**_EDGE, "steps": 4500, "batch": 4, "crop": (384, 576)},
    "street-n": {
        "steps": 3200,
        "scale": (0.6, 1.8),
        "class_mix": 0.25,
        "lovasz": 0.5,
        "jitter": 0.4,
        "hue": 0.05,
        "weight_decay": 0.01,
        "lr": 2e-3,
        "encoder_lr_scale": 1.0,
        "ema": 0.995,
        "validate_every": 800,
        "save_every": 100,
    },
}
"""Values of `training.options.TrainOptions`, flat, by preset; all else keeps its default."""


def recipe(preset: str) -> dict[str, Any]:
    """The recipe of a preset or of a variant of one, as flat option values.

    A variant has the recipe of its base, but no pre-trained weights if it has another encoder.
    """
    base, *variations = preset.split("+")
    values = dict(RECIPES.get(base, {}))
    if base not in PRESETS or any(map(names_encoder, variations)):
        values.pop("encoder_weights", None)
    return values
