"""What a new run's network has of the checkpoint that it starts from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from edge_runtime.artifacts import read_manifest
from edge_runtime.cli import main
from edge_runtime.errors import OptionError
from edge_runtime.street import write_dataset
from training.checkpoint import labels_of, load_checkpoint, save_checkpoint
from training.model.hyperseg import HyperSeg
from training.presets import preset
from training.reports.card import write_card
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


def ignore(line: str) -> None:
    """Reports of no interest."""


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
    start_from_checkpoint(net, checkpoint(trained), labels_of(net.config), lines.append)

    # then
    weights = trained.state_dict()
    for key, value in net.state_dict().items():
        assert torch.equal(value, start[key] if key in DEPENDING[name] else weights[key]), key
    assert lines[1] == (
        "its 11 classes, of some, are not the 4 of some: what depends on them begins anew, "
        f"{len(DEPENDING[name])} of {len(start)} tensors"
    )


@pytest.mark.parametrize("name", ["street-n", "cityscapes-s", "camvid-l", "voc-l", "camvid-s"])
def test_no_generator_goes_on_reading_another_part_of_the_signal(name, checkpoint):
    # given
    trained, net = with_classes(name, 19), with_classes(name, 5)
    before = dict(trained.named_modules())

    # when
    start_from_checkpoint(net, checkpoint(trained), labels_of(net.config), ignore)

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
    start_from_checkpoint(net, checkpoint(trained), labels_of(net.config), lines.append)
    weights = trained.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    assert lines == ["starting from before, start.safetensors"]


@pytest.mark.parametrize("other", ["edge-s", "edge-n+fpn=64", "street-n", "edge-n+no-base"])
def test_another_network_is_refused_whatever_its_classes(other, checkpoint):
    net = with_classes("edge-n", 4)
    start = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(OptionError, match="whose weights do not fit efficientnet-lite0 with 4"):
        start_from_checkpoint(
            net, checkpoint(with_classes(other, 11)), labels_of(net.config), ignore
        )
    assert all(torch.equal(value, start[key]) for key, value in net.state_dict().items())


def test_as_many_classes_of_other_names_are_other_classes(checkpoint):
    # given: street-n's eight classes in another order, some in capitals
    trained, net = with_classes("street-n", 8), with_classes("street-n", 8)
    names = [labels_of(trained.config).names, ["Class 0", *(f"class {i}" for i in range(1, 8))]]
    labels = [replace(labels_of(net.config), name="mine", names=tuple(n)) for n in names]
    turned = replace(labels[0], names=(*labels[0].names[1:], labels[0].names[0]))
    source = checkpoint(trained)
    lines: list[str] = []

    # when
    start_from_checkpoint(net, source, labels[1], lines.append)
    weights = trained.state_dict()
    same = all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    start = with_classes("street-n", 8)
    fresh = {key: value.clone() for key, value in start.state_dict().items()}
    start_from_checkpoint(start, source, turned, lines.append)

    # then: capitals are no other class; another order begins the last level anew, and it alone
    assert same
    for key, value in start.state_dict().items():
        last = key.startswith(("decoder.levels.3.", "decoder.generators.3."))
        assert torch.equal(value, fresh[key] if last else weights[key]), key
    assert sum("begins anew" in line for line in lines) == 1


@pytest.mark.parametrize("other", [3, 8])
def test_ranges_go_with_the_classes_they_were_found_for(other, checkpoint):
    net = with_classes("street-n", other)
    source = checkpoint(with_classes("street-n", 8))
    mine = replace(labels_of(net.config), names=tuple(f"mine {i}" for i in range(other)))
    with pytest.raises(OptionError, match=r"has the classes class 0, class 1, .* the data mine 0"):
        start_from_checkpoint(net, source, mine, ignore, other_classes=False)


def test_a_preset_that_has_become_another_network_is_told(tmp_path):
    # given: a checkpoint of something that once was edge-n
    now = preset("edge-n")
    former = HyperSeg(replace(now, decoder=replace(now.decoder, pyramid_channels=24)))
    path = tmp_path / "former.safetensors"
    save_checkpoint(path, former, name="former", preset="edge-n")

    # when, then
    with pytest.raises(OptionError, match="holds the network that edge-n was in a former version"):
        start_from_checkpoint(HyperSeg(now), str(path), labels_of(now), ignore)


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
    assert "its 8 classes, of street-8, are not the 2 of street: what" in capsys.readouterr().out
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


def options_after(start, data, run, *more):
    """What is stored of a run that ended after its first step."""
    arguments = [
        "train", "--preset", "street-n", "--data", data, "--run", str(run), "--steps", "1",
        "--batch", "2", "--crop", "64x64", "--threads", "1", "--device", "cpu", *more,
    ]  # fmt: skip
    assert main([*arguments, *start]) == 0
    return read_manifest(run / "checkpoint.safetensors", kind="checkpoint")


@pytest.mark.slow
def test_terms_and_what_was_seen_go_on_with_the_weights(tmp_path, capsys):
    # given: free data; a network bound by its data, trained on the val split too; a bound teacher
    write_dataset(tmp_path / "street", seeds=range(3), frames_per_seed=2, size=(64, 128))
    data = f"folder:{tmp_path / 'street'}"
    first, teacher = tmp_path / "first.safetensors", tmp_path / "teacher.safetensors"
    trained = {"train_split": "trainval", "encoder_weights": "imagenet"}
    net = HyperSeg(preset("street-n"))
    save_checkpoint(first, net, name="a", license="CC BY-NC 4.0", options=trained)
    save_checkpoint(teacher, net, name="t", license="for research; as is")

    # when: trained on, twice, the second time by the teacher; then continued
    second = options_after(["--init", str(first)], data, tmp_path / "2")
    init = ["--init", str(tmp_path / "2/checkpoint.safetensors"), "--teacher", str(teacher)]
    third = options_after(init, data, tmp_path / "3", "--minutes", "1e-9")
    first.unlink()
    teacher.rename(tmp_path / "away")
    (tmp_path / "away").rename(teacher)
    assert main(["train", "--run", str(tmp_path / "3"), "--resume", "--minutes", "100"]) == 0
    last = read_manifest(tmp_path / "3/last.safetensors", kind="checkpoint")

    # then: each is bound as all before it, and its val figure says what it is worth
    assert second.license == "CC BY-NC 4.0"
    assert third.license == last.license == "CC BY-NC 4.0; for research; as is"
    for manifest in (second, third, last):
        assert manifest.options["training"]["encoder_weights"] == "imagenet"
        assert [metric.data for metric in manifest.metrics] == [
            "street-8 val, which was trained on"
        ]
    card = write_card(tmp_path / "2/checkpoint.safetensors").read_text()
    assert "> **Not for commercial use.** CC BY-NC 4.0." in card
    assert "the network it started from was trained on it" in " ".join(card.split())
    assert "val_known" not in card
    capsys.readouterr()


def test_two_starts_of_the_encoder_are_refused(tmp_path, capsys):
    write_dataset(tmp_path / "street", seeds=range(3), frames_per_seed=2, size=(64, 128))
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, HyperSeg(preset("street-n")), name="a")
    arguments = ["train", "--preset", "street-n", "--data", f"folder:{tmp_path / 'street'}"]
    arguments += ["--run", str(tmp_path / "run"), "--init", str(start)]
    assert main([*arguments, "--encoder-weights", "imagenet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has weights for the encoder too; give --init or --encoder-weights, not both" in line
