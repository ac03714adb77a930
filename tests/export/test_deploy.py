"""The deployment form is the same function as the reference network, for every kind of network."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_runtime.errors import OptionError
from export.counts import count_macs
from export.deploy import DeployHyperSeg, DeployNetwork
from export.fold import fold_batch_norms
from export.layout import from_patches, tile_pixels, to_bands, to_patches
from training.model.config import DecoderConfig, HyperSegConfig, LevelConfig
from training.model.encoders.base import parameter_count
from training.model.hyperseg import HyperSeg
from training.model.patchwise import split_into_tiles
from training.official import load_official
from training.presets import PRESETS, preset, variant

spec = importlib.util.spec_from_file_location(
    "calibrated", Path(__file__).with_name("calibrated.py")
)
calibrated = importlib.util.module_from_spec(spec)
spec.loader.exec_module(calibrated)

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
SIZE = (128, 128)
CASES = {
    **PRESETS,
    "resnet18": variant(preset("camvid-s"), encoder="resnet18"),
    "pspnet18": variant(preset("camvid-s"), encoder="pspnet18"),
    "static": variant(preset("camvid-s"), static=True),
    "grid 1": variant(preset("camvid-s"), patch_grid=1),
    "grid 2": variant(preset("camvid-s"), patch_grid=2),
    "no coordinates": variant(preset("cityscapes-s"), coords=False),
    "wired": variant(preset("camvid-l"), wiring="sliced"),
    "no base": variant(preset("edge-n"), base_weights=False),
    "no identity": variant(preset("edge-n"), identity_start=False),
    "static behind a pyramid": variant(preset("edge-n"), static=True),
    "coordinates behind a pyramid": variant(preset("edge-n"), coords=True),
    "depthwise behind a pyramid": variant(preset("edge-n"), depthwise=True),
    "base of a joint layer": variant(preset("cityscapes-s"), base_weights=True),
    "another preset behind a pyramid": preset("cityscapes-s+pyramid=16"),
    "plain head": variant(preset("edge-n"), fpn_width=32),
    "one level": HyperSegConfig(5, DecoderConfig((LevelConfig(8, 3, 16),))),
}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_reference_in_float64(case):
    """Rounding alone separates the two, so it must stay within a few of its own noise floors."""
    net = calibrated.calibrated_network(CASES[case], SIZE)
    image = torch.randn(1, 3, *SIZE)
    double = copy.deepcopy(net).double()
    with torch.no_grad():
        expected = double(image.double())
        found = DeployNetwork(double, SIZE)(image.double())
        floor = (net(image) - expected).abs().max()
    error = (found - expected).abs().max()
    assert found.shape == expected.shape
    assert error <= 20 * floor * 2.0**-29, (float(error), float(floor))


@pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="reference tensors are not beside the repository"
)
@pytest.mark.parametrize(
    ("case", "name"), [("camvid_s", "camvid-s"), ("city_s", "cityscapes-s"), ("voc_l", "voc-l")]
)
def test_equal_to_the_authors_network(case, name, tmp_path):
    weights_spec = importlib.util.spec_from_file_location(
        "generated_weights", REFERENCE / "generated_weights.py"
    )
    weights = importlib.util.module_from_spec(weights_spec)
    weights_spec.loader.exec_module(weights)
    state = weights.state_dict(REFERENCE / f"{case}.npz")
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
    torch.save({"state_dict": tensors}, tmp_path / "official.pth")
    with np.load(REFERENCE / f"{case}.npz") as stored:
        size = tuple(int(side) for side in stored["size"])
        image = torch.from_numpy(weights.image(int(stored["seed"]), *size)).double()
        expected = stored["logits"]
    net = load_official(tmp_path / "official.pth", name).double()
    with torch.no_grad():
        found = DeployNetwork(net, size)(image)[..., ::4, ::4].numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_mistake_in_the_rewriting_would_show():
    """The comparison above can fail: one weight changed is seen."""
    net = calibrated.calibrated_network(preset("camvid-s"), SIZE).double()
    image = torch.randn(1, 3, *SIZE).double()
    deployed = DeployNetwork(net, SIZE)
    with torch.no_grad():
        expected = net(image)
        deployed.blocks[2].weights.weight[0, 0, 0] += 1e-3
        assert (deployed(image) - expected).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("grid", "size"), [((2, 3), (8, 12)), ((1, 1), (4, 4)), ((3, 4), (3, 4)), ((2, 1), (2, 5))]
)
def test_tiles_of_a_gather_equal_tiles_of_unfolding(grid, size):
    x = torch.randn(1, *size, 5)
    expected = split_into_tiles(x.permute(0, 3, 1, 2), grid, halo=1).permute(0, 2, 3, 1)
    patches = to_patches(to_bands(x, grid), grid)
    for source, in_patches in ((x, False), (patches, True)):
        rows = tile_pixels(grid, size, in_patches=in_patches)
        assert torch.equal(source.reshape(-1, 5)[rows.long()].reshape(expected.shape), expected)
    assert torch.equal(from_patches(patches, grid, size), x)


@pytest.mark.parametrize(
    "case", ["camvid-s", "camvid-l", "voc-l", "static", "edge-n", "plain head"]
)
def test_the_mask_is_the_largest_logit_everywhere(case):
    """However the tail is laid out: in patches, channels-last or channel by channel."""
    net = calibrated.calibrated_network(CASES[case], SIZE).double()
    image = torch.randn(1, 3, *SIZE).double()
    with torch.no_grad():
        found = DeployNetwork(net, SIZE).mask(image)
        expected = net(image).argmax(1)
    assert found.dtype == torch.uint8
    assert torch.equal(found.long(), expected)


def test_pruning_removes_exactly_what_nothing_reads():
    net = HyperSeg(preset("camvid-s"))
    deployed = DeployNetwork(net, (576, 768))
    assert len(list(deployed.context_head.children())) == 2
    assert deployed.context_head[0].out_channels == 448
    assert parameter_count(deployed) < parameter_count(net) - 2_600_000
    assert count_macs(deployed, (576, 768)).total < count_macs(net, (576, 768)).total


def test_multiplications_are_counted_whether_gradients_are_wanted_or_not():
    # a static decoder hands its learned weights on without a gradient of their own
    net = HyperSeg(preset("edge-n+static"))
    counted = count_macs(net, (384, 512))
    assert counted == count_macs(net.requires_grad_(False), (384, 512))
    assert counted.total < count_macs(HyperSeg(preset("edge-n")), (384, 512)).total


def test_no_batch_norm_is_left():
    for name in ("camvid-s", "voc-l"):
        deployed = DeployNetwork(HyperSeg(preset(name)), (128, 128))
        assert not [m for m in deployed.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_folding_leaves_the_original_alone():
    net = HyperSeg(preset("edge-n")).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    fold_batch_norms(net)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("head", ["mask", "logits"])
def test_frame_in_answer_out(head):
    net = calibrated.calibrated_network(preset("street-n"), SIZE)
    frame = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8)
    with torch.no_grad():
        answer = DeployHyperSeg(net, SIZE, head)(frame)
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (net.config.mean, net.config.std))
        logits = net((frame.permute(0, 3, 1, 2) / 255.0 - mean) / std)
    if head == "logits":
        torch.testing.assert_close(answer, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max()))
    else:
        assert answer.dtype == torch.uint8
        assert (answer == logits.argmax(1)).float().mean() > 0.999


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(OptionError, match="320x448 and 384x512"):
        DeployHyperSeg(HyperSeg(preset("camvid-s")), (360, 480), "mask")
