"""The presets are the published networks in size and work, and every variant runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edge_runtime.errors import DependencyError, OptionError
from edge_runtime.labels import CAMVID_11
from training.model.config import DecoderConfig, LevelConfig, check_size
from training.model.encoders import ENCODER_NAMES, build_encoder
from training.model.encoders.base import parameter_count
from training.model.encoders.efficientnet import static_padding
from training.model.hyperseg import HyperSeg
from training.model.patchwise import merge_tiles, patchwise_conv, split_into_tiles
from training.presets import _ENCODERS, PRESETS, PUBLISHED, VARIATIONS, preset, variant

MEASURED = {  # millions of parameters, giga multiply-accumulates at the preset's size
    "cityscapes-m": (10.311, 7.685),
    "cityscapes-s": (10.041, 16.324),
    "camvid-s": (9.949, 6.039),
    "camvid-l": (9.969, 12.261),
    "voc-l": (39.680, 7.830),
}


@pytest.mark.parametrize(
    ("name", "tensors"),
    [("cityscapes-m", 598), ("cityscapes-s", 597), ("camvid-s", 604), ("camvid-l", 620),
     ("voc-l", 702)],
)  # fmt: skip
def test_as_many_tensors_as_the_published_state_dicts(name, tensors):
    """The published counts less the cached coordinates."""
    assert len(HyperSeg(preset(name)).state_dict()) == tensors


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs_of_the_published_networks(name):
    net = HyperSeg(preset(name)).eval()
    with torch.device("meta"):
        image = torch.zeros(1, 3, *net.config.train_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.to("meta")(image)
    found = (
        round(parameter_count(net) / 1e6, 3), round(counter.get_total_flops() / 2e9, 3)
    )  # fmt: skip
    assert found == MEASURED[name]


VARIANTS = {
    "resnet18": lambda c: variant(c, encoder="resnet18"),
    "pspnet18": lambda c: variant(c, encoder="pspnet18"),
    "pspnet50": lambda c: variant(c, encoder="pspnet50"),
    "static": lambda c: variant(c, static=True),
    "grid 1": lambda c: variant(c, patch_grid=1),
    "grid 2": lambda c: variant(c, patch_grid=2),
    "grid 4": lambda c: variant(c, patch_grid=4),
    "grid 8": lambda c: variant(c, patch_grid=8),
    "grid 16": lambda c: variant(c, patch_grid=16),
    "no coordinates": lambda c: variant(c, coords=False),
    "wired": lambda c: variant(c, wiring="sliced"),
    "11 classes": lambda c: variant(c, labels=CAMVID_11),
    "pyramid": lambda c: variant(c, fpn_width=32),
}


@pytest.mark.parametrize("change", VARIANTS)
def test_variants_learn(change):
    # given a variant of a published network
    config = VARIANTS[change](preset("camvid-s"))
    net = HyperSeg(config)
    side = 512 if change == "grid 16" else 256 if change == "grid 8" else 128
    image = torch.randn(2, 3, side, side)

    # when it takes a step
    logits = net(image)
    logits.square().mean().backward()

    # then it has an answer for every pixel, and a gradient reaches the first convolution
    assert logits.shape == (2, config.num_classes, side, side)
    first = next(net.backbone.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["edge-n", "edge-s", "street-n", "cityscapes-s", "voc-l"])
def test_our_presets_and_other_generations_learn(name):
    net = HyperSeg(PRESETS[name])
    logits = net(torch.randn(2, 3, 128, 256))
    logits.square().mean().backward()
    assert logits.shape == (2, PRESETS[name].num_classes, 128, 256)
    assert all(block is not None for block in net.decoder.levels)


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_logits_of_the_edge_family_start_wide_enough_to_be_learned(kernel):
    levels = (LevelConfig(8, 1, 4), LevelConfig(8, kernel, 4))
    decoder = DecoderConfig(levels, logit_scale=4.0)
    net = HyperSeg(replace(preset("edge-n"), decoder=decoder))
    spread = net(torch.randn(2, 3, 128, 128)).std()
    published = HyperSeg(replace(preset("edge-n"), decoder=replace(decoder, logit_scale=1.0)))
    assert spread > 3 * published(torch.randn(2, 3, 128, 128)).std()


@pytest.mark.parametrize("name", ["edge-n", "edge-s"])
def test_the_plain_head_reads_the_same_encoder_down_to_the_same_stride(name):
    ours, plain = HyperSeg(preset(name)), HyperSeg(preset(f"{name}+fpn=64"))
    assert plain.backbone.state_dict().keys() == ours.backbone.state_dict().keys()
    assert len(plain.decoder.laterals) == 4
    assert plain.config.size_multiple == 32


def test_generated_levels_behind_a_pyramid_begin_as_ordinary_ones_and_depart_by_patch():
    # given the edge decoder as it starts: the learned base weights alone
    torch.manual_seed(0)
    net = HyperSeg(preset("edge-n")).eval()
    taps, head = net.encode(torch.randn(1, 3, 128, 192))
    levels = [*reversed(taps), torch.zeros(1, 3, 128, 192)]
    assert net.decoder.pyramid(levels).shape == (1, 32, 32, 48)
    with torch.no_grad():
        signals = [torch.randn(1, head.shape[1], 4, 6) for _ in range(2)]
        plain = [net.decoder(levels, signal) for signal in signals]
        # and after some training
        for generator in net.decoder.generators:
            generator.conv.weight.normal_(std=0.05)
        generated = [net.decoder(levels, signal) for signal in signals]
        # and one patch's signal changed
        signals[0][:, :, 1, 2] += 1.0
        moved = net.decoder(levels, signals[0])
    # then
    assert torch.equal(*plain)
    assert not torch.equal(*generated)
    changed = (moved != generated[0]).any(1)[0]
    assert changed.any()
    assert not changed.index_fill(0, torch.arange(8, 16), False).any()
    assert not changed.index_fill(1, torch.arange(16, 24), False).any()


def test_the_last_pointwise_level_puts_out_logits_of_either_sign():
    """A ReLU there would leave a tie, and no gradient, where all classes are unlikely."""
    torch.manual_seed(0)
    config = preset("edge-n")
    for decoder in (config.decoder, replace(config.decoder, weights="static")):
        logits = HyperSeg(replace(config, decoder=decoder))(torch.randn(2, 3, 128, 128))
        assert (logits < 0).float().mean() > 0.1


def test_whole_patches_are_asked_for_where_there_are_patches():
    # twelve rows at stride 32 make no eight patches, 96 at stride 4 do
    check_size(preset("edge-n+grid=8"), 384, 512)
    for plain in ("edge-n+static+grid=8", "edge-n+fpn=32+grid=8", "camvid-s+static+grid=8"):
        check_size(preset(plain), 384, 512)
    with pytest.raises(OptionError, match="multiples of 256"):
        check_size(preset("camvid-s+grid=8"), 384, 512)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pyramid_taps": 6}, "pyramid_taps is 6; an encoder has 5 taps"),
        ({"pyramid_channels": 0}, "pyramid_channels is 0; expected 1 or more"),
    ],
)
def test_a_pyramid_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(OptionError, match=message):
        replace(preset("edge-n").decoder, **wrong)


@pytest.mark.parametrize(
    "name", ["edge-n", "edge-n+static", "edge-n+coords", "street-n+pyramid=24"]
)
def test_a_decoder_that_starts_as_the_identity_starts_as_the_plain_head(name):
    # given: coordinates must not move what the identity passes on
    torch.manual_seed(0)
    net = HyperSeg(preset(name)).eval()
    taps, head = net.encode(torch.randn(1, 3, 128, 192))
    levels = [*reversed(taps), torch.zeros(1, 3, 128, 192)]

    # when
    with torch.no_grad():
        pyramid = net.decoder.pyramid(levels)
        weights = net.decoder.generate_weights(torch.randn(1, head.shape[1], 4, 6))
        between = net.decoder.levels[0](net.decoder.level_input(0, levels, None), weights[0])
        logits = net.decoder(levels, torch.randn(1, head.shape[1], 4, 6))

    # then: the classifier alone is between the pyramid and the logits
    torch.testing.assert_close(between, pyramid)
    classifier = net.decoder.levels[-1](net.decoder.level_input(1, levels, pyramid), weights[1])
    torch.testing.assert_close(logits, classifier)
    assert logits.std() > 0.01


def test_a_level_that_cannot_be_the_identity_starts_as_before():
    levels = (LevelConfig(8, 1, 4), LevelConfig(8, 3, 4), LevelConfig(8, 1, 4))
    decoder = DecoderConfig(
        levels, coords=False, base_weights=True, identity_start=True, pyramid_taps=4
    )
    between = HyperSeg(replace(preset("edge-n"), decoder=decoder)).decoder.levels
    assert isinstance(between[0].bn, torch.nn.BatchNorm2d)  # 32 channels to 8
    assert isinstance(between[1].bn3, torch.nn.BatchNorm2d)  # a depthwise level
    with pytest.raises(OptionError, match="says how base_weights start"):
        DecoderConfig(levels, identity_start=True)


def test_shared_wiring_ignores_what_comes_back_from_below():
    """The released v1_0 weights were trained so; repairing it would make them wrong."""
    torch.manual_seed(0)
    net = HyperSeg(preset("camvid-s")).eval()
    image = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        before = net(image)
        for parameter in net.context_head.up_blocks.parameters():
            parameter.add_(1.0)
        assert torch.equal(net(image), before)


def test_sliced_wiring_reads_it():
    torch.manual_seed(0)
    net = HyperSeg(preset("cityscapes-s"))
    image = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        before = net(image)
        net.context_head.up_blocks[0][1].bias.add_(1.0)
        assert not torch.allclose(net(image), before)


def test_a_patch_is_convolved_with_its_own_weights():
    """Against the definition: a matrix product per patch, by hand."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    weights = torch.randn(2 * 2 * 3, 5 * 3, dtype=torch.float64)
    tiles = patchwise_conv(split_into_tiles(x, (2, 3)), weights, 5)
    found = merge_tiles(tiles, (2, 3))
    for image in range(2):
        for row in range(2):
            for column in range(3):
                patch = x[image, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
                kernel = weights[image * 6 + row * 3 + column].reshape(5, 3)
                expected = torch.einsum("oc,chw->ohw", kernel, patch)
                piece = found[image, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
                torch.testing.assert_close(piece, expected)


def test_tiles_overlap_by_the_halo_and_reflect_at_the_border():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    tiles = split_into_tiles(x, (2, 2), halo=1)
    assert tiles.shape == (4, 1, 4, 4)
    assert tiles[0, 0, 0].tolist() == [5.0, 4.0, 5.0, 6.0]
    assert tiles[3, 0, 0].tolist() == [5.0, 6.0, 7.0, 6.0]
    torch.testing.assert_close(merge_tiles(split_into_tiles(x, (2, 2)), (2, 2)), x)


@pytest.mark.parametrize(
    ("nominal", "kernel", "stride", "expected"),
    [
        (240, 3, 2, (0, 1, 0, 1)),
        (60, 5, 2, (1, 2, 1, 2)),
        (75, 5, 2, (2, 2, 2, 2)),
        (15, 5, 2, (2, 2, 2, 2)),
        (30, 5, 1, (2, 2, 2, 2)),
    ],
)
def test_padding_follows_the_nominal_size(nominal, kernel, stride, expected):
    assert static_padding(nominal, kernel, stride) == expected


@pytest.mark.parametrize(
    ("name", "size", "hint"),
    [
        ("camvid-s", (360, 480), "multiples of 64; .* 320x448 and 384x512"),
        ("cityscapes-m", (720, 1280), "704x1280 and 768x1280"),
        ("voc-l", (576, 960), "multiples of 128; .* 512x896 and 640x1024"),
        ("camvid-s", (0, 64), "64x64"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_the_next_ones(name, size, hint):
    with pytest.raises(OptionError, match=hint):
        check_size(preset(name), *size)


@pytest.mark.parametrize(("name", "size"), [("camvid-s", (576, 960)), ("voc-l", (512, 512))])
def test_sizes_that_fit(name, size):
    check_size(preset(name), *size)


def test_the_smallest_size_runs():
    """64x64 leaves a single cell below stride 32; it is its own mean."""
    assert HyperSeg(preset("camvid-s")).eval()(torch.randn(1, 3, 64, 64)).shape[2:] == (64, 64)


def test_variants_by_name():
    named = preset("camvid-s+resnet18+grid=4+no-coords")
    assert named == variant(preset("camvid-s"), encoder="resnet18", patch_grid=4, coords=False)
    assert preset("camvid-s+static+wired").decoder.weights == "static"
    finest = preset("edge-n+depthwise").decoder
    assert [level.kernel for level in finest.levels] == [1, 3]
    assert finest.expansion == 1
    assert preset("edge-n+coords+no-base").decoder.coords
    bare = preset("edge-n+coords+no-base").decoder
    assert (bare.base_weights, bare.identity_start) == (False, False)
    assert preset("edge-n+no-identity").decoder.base_weights
    assert preset("edge-n+pyramid=32") == preset("edge-n")
    assert preset("street-n+pyramid=48").decoder.strides == (4, 4)
    for change in ("coords", "no-base", "depthwise", "static", "grid=4"):  # in either order
        assert preset(f"street-n+{change}+pyramid=32") == preset(f"street-n+pyramid=32+{change}")
        assert preset(f"edge-n+{change}+pyramid=32") == preset(f"edge-n+{change}")
    with pytest.raises(OptionError, match="pyramid_taps is 6"):
        preset("camvid-l+pyramid=16")
    assert _ENCODERS == ENCODER_NAMES
    for name in VARIATIONS:  # none is refused
        preset(f"edge-n+{name}{'4' if name.endswith('=') else ''}")
    for wrong in ("camvid-s+grid=x", "camvid-s+resnet19", "camvid-s+"):
        with pytest.raises(OptionError, match="no variation"):
            preset(wrong)


def test_unknown_names_are_refused():
    with pytest.raises(OptionError, match="no preset 'camvid-xl'; did you mean 'camvid-l'"):
        preset("camvid-xl")
    with pytest.raises(OptionError, match="no encoder 'resnet19'"):
        build_encoder("resnet19")
    with pytest.raises(OptionError, match="width multiplier"):
        build_encoder("resnet18", width=0.5)


def test_a_missing_or_broken_timm_is_explained(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(DependencyError, match="needs timm, which does not import here"):
        build_encoder("timm:resnet26")


@pytest.mark.parametrize(
    "make",
    [
        lambda: DecoderConfig(levels=()),
        lambda: DecoderConfig((LevelConfig(8, 1, 8),), joint_levels=2),
        lambda: DecoderConfig((LevelConfig(8, 1, 8),), patch_grid=0),
        lambda: replace(preset("camvid-s"), num_classes=300),
    ],
)
def test_configurations_that_cannot_work_are_refused(make):
    with pytest.raises(OptionError):
        make()
