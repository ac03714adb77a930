"""Each preset is trained as its paper says, unless the command line says otherwise."""

from __future__ import annotations

import pytest

from training.options import TrainOptions
from training.presets import PRESETS, PUBLISHED, preset
from training.recipes import RECIPES, recipe


def options_of(name: str) -> TrainOptions:
    return TrainOptions.from_values({"preset": name, "data": "d", **recipe(name)})


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_recipe_that_fits_its_network(name):
    options = options_of(name)

    multiple = preset(name).size_multiple
    assert all(side % multiple == 0 for side in options.augment.crop)
    assert name in RECIPES


@pytest.mark.parametrize(
    ("name", "steps", "batch", "lr", "power", "crop", "scale"),
    [
        ("cityscapes-m", 90_000, 16, 1e-3, 0.9, (512, 1024), (0.25, 2.0)),
        ("cityscapes-s", 90_000, 16, 1e-3, 0.9, (768, 768), (0.375, 1.5)),
        ("camvid-s", 120_000, 2, 1e-3, 2.0, (576, 576), (0.5, 2.0)),
        ("camvid-l", 15_000, 16, 1e-3, 2.0, (768, 768), (0.75, 2.0)),
        ("voc-l", 100_000, 32, 1e-4, 3.0, (512, 512), (0.25, 0.9)),
    ],
)
def test_published_presets_have_the_papers_recipe(name, steps, batch, lr, power, crop, scale):
    options = options_of(name)

    assert (options.optimizer, options.betas, options.weight_decay) == ("adam", (0.5, 0.999), 0)
    assert (options.steps, options.batch, options.lr) == (steps, batch, lr)
    assert (options.schedule, options.poly_power, options.warmup) == ("poly", power, 0)
    assert (options.augment.crop, options.augment.scale) == (crop, scale)
    assert (options.augment.scale_law, options.augment.scale_probability) == ("uniform", 0.5)
    assert (options.ema, options.clip, options.class_weights) == (0, 0, 0)
    assert options.loss == ("ce" if name == "voc-l" else "bootstrapped")
    assert (options.hard_threshold, options.hard_min) == (0.3, 4096)
    assert options.lr_hold == (625 if name == "voc-l" else 1)
    assert set(PUBLISHED) <= RECIPES.keys()


def test_edge_presets_start_from_imagenet_and_variants_only_with_the_same_encoder():
    assert recipe("edge-n")["encoder_weights"] == "imagenet"
    assert recipe("edge-n+static")["encoder_weights"] == "imagenet"
    assert recipe("edge-n+fpn=128")["encoder_weights"] == "imagenet"
    assert recipe("edge-s+pyramid=64")["encoder_weights"] == "imagenet"
    assert "encoder_weights" not in recipe("edge-n+resnet18")
    assert recipe("camvid-s+resnet18") == recipe("camvid-s")


def test_a_recipe_is_a_copy():
    recipe("edge-n")["lr"] = 7.0

    assert recipe("edge-n")["lr"] == 1.5e-3
