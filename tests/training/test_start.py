"""What a new run's network has of the checkpoint that it starts from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from edge_runtime.cli import main
from edge_runtime.errors import OptionError
from edge_runtime.street import write_dataset
from training.checkpoint import load_checkpoint, save_checkpoint
from training.model.hyperseg import HyperSeg
from training.presets import preset
from training.start import start_from_checkpoint

DEPENDING = {
    "edge-n": [
        "decoder.levels.1.bn.bias",
        "decoder.generators.0.conv.weight",  # another part of the signal
        "decoder.generators.1.conv.weight",
        "decoder.generators.1.conv.bias",
    ],
    "edge-n+static": ["decoder.levels.1.bn.bias", "decoder.generators.1.weight"],
    "edge-n+fpn=32": ["decoder.classify.weight", "decoder.classify.bias"],
}
"""Tensors that mean something else with another number of classes."""


def with_classes(name, count):
    """A network of a preset whose every tensor differs from any other network's."""
    net = HyperSeg(replace(preset(name), num_classes=count, labels="some"))
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return net


@pytest.fixture
def checkpoint(tmp_path):
    def make(net):
        path = tmp_path / "start.safetensors"
        save_checkpoint(path, net, name="before")
        return str(path)

    return make


@pytest.mark.parametrize("name", DEPENDING)
def test_other_classes_keep_all_that_does_not_depend_on_them(name, checkpoint):
    # given
    trained, net = with_classes(name, 11), with_classes(name, 4)
    start = {key: value.clone() for key, value in net.state_dict().items()}
    lines: list[str] = []

    # when
    start_from_checkpoint(net, checkpoint(trained), lines.append)

    # then
    weights = trained.state_dict()
    for key, value in net.state_dict().items():
        assert torch.equal(value, start[key] if key in DEPENDING[name] else weights[key]), key
    assert lines[1] == (
        "it has 11 classes, not 4: what depends on their number begins anew, "
        f"{len(DEPENDING[name])} of {len(start)} tensors"
    )


@pytest.mark.parametrize("name", ["street-n", "cityscapes-s", "camvid-l", "voc-l", "camvid-s"])
def test_no_generator_goes_on_reading_another_part_of_the_signal(name, checkpoint):
    # given
    trained, net = with_classes(name, 19), with_classes(name, 5)
    before = dict(trained.named_modules())

    # when
    start_from_checkpoint(net, checkpoint(trained), lambda line: None)

    # then: what was kept reads what it has read
    kept = 0
    for key, generator in enumerate(net.decoder.generators):
        former = before[f"decoder.generators.{key}"]
        if torch.equal(generator.conv.weight[:1], former.conv.weight[:1]):
            kept += 1
            assert (generator.offset, generator.channels) == (former.offset, former.channels)
    assert kept < len(net.decoder.generators)
    assert torch.equal(next(net.backbone.parameters()), next(trained.backbone.parameters()))


def test_the_same_number_of_classes_takes_every_tensor(checkpoint):
    trained, net = with_classes("edge-n", 4), with_classes("edge-n", 4)
    lines: list[str] = []
    start_from_checkpoint(net, checkpoint(trained), lines.append)
    weights = trained.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    assert lines == ["starting from before, start.safetensors"]


@pytest.mark.parametrize("other", ["edge-s", "edge-n+fpn=64", "street-n", "edge-n+no-base"])
def test_another_network_is_refused_whatever_its_classes(other, checkpoint):
    net = with_classes("edge-n", 4)
    start = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(OptionError, match="whose weights do not fit efficientnet-lite0 with 4"):
        start_from_checkpoint(net, checkpoint(with_classes(other, 11)), lambda line: None)
    assert all(torch.equal(value, start[key]) for key, value in net.state_dict().items())


def test_ranges_go_with_the_classes_they_were_found_for(checkpoint):
    source = checkpoint(with_classes("edge-n", 11))
    with pytest.raises(OptionError, match="with 4 classes as asked for"):
        start_from_checkpoint(
            with_classes("edge-n", 4), source, lambda line: None, other_classes=False
        )


@pytest.mark.slow
def test_a_network_is_trained_on_for_classes_of_ones_own(tmp_path, capsys):
    # given: a street network of 8 classes, and data with 2 of its own
    write_dataset(tmp_path / "street", seeds=range(3), frames_per_seed=2, size=(64, 128))
    meta = {"classes": ["road", "rest"], "palette": [[128, 64, 128], [0, 0, 0]]}
    meta["id_map"] = {"2": "road", "*": "rest"}
    (tmp_path / "street" / "meta.json").write_text(json.dumps(meta))
    start = tmp_path / "start.safetensors"
    torch.manual_seed(1)
    save_checkpoint(start, HyperSeg(preset("street-n")), name="street")
    run = tmp_path / "run"
    arguments = [
        "train", "--preset", "street-n", "--data", f"folder:{tmp_path / 'street'}", "--run",
        str(run), "--init", str(start), "--batch", "2", "--crop", "64x64", "--lr", "1e-6",
        "--warmup", "0", "--threads", "1", "--device", "cpu",
    ]  # fmt: skip

    # when: begun, and its end continued
    assert main([*arguments, "--steps", "2", "--minutes", "1e-9"]) == 0
    assert "it has 8 classes, not 2: what depends on their number" in capsys.readouterr().out
    assert main(["train", "--run", str(run), "--resume", "--minutes", "100"]) == 0

    # then: it answers the two, on the encoder it was given
    net, manifest = load_checkpoint(run / "last.safetensors")
    assert manifest.labels.names == ("road", "rest")
    before, _ = load_checkpoint(start)
    for mine, other in zip(net.backbone.parameters(), before.backbone.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-4)
    torch.manual_seed(0)
    fresh = next(HyperSeg(net.config).backbone.parameters())
    assert (fresh - next(net.backbone.parameters())).abs().max() > 0.01
