"""The loop learns, keeps the best, and says what is wrong."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from edge_runtime.errors import OptionError
from training.optim import AveragedWeights, learning_rate, make_optimizer, set_learning_rate
from training.options import AugmentOptions, TrainOptions
from training.runlog import Meter


def records(folder, kind):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": "ce", "schedule": "cosine", "ema": 0.0, "class_weights": 0.0, "workers": 0}],
)
def test_learns_to_tell_colours(toy, tmp_path, changes):
    outcome = toy.run(tmp_path, steps=60, validate_every=60, **changes)

    assert outcome.best_miou > 0.85
    assert outcome.stopped is None
    losses = [record["loss"] for record in records(tmp_path, "train")]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_bf16_learns_too(toy, tmp_path):
    outcome = toy.run(tmp_path, steps=60, validate_every=60, precision="bf16")

    assert outcome.best_miou > 0.85
    assert load_file(tmp_path / "last.safetensors")["head.1.weight"].dtype == torch.float32


def test_keeps_best_on_val_and_last(toy, tmp_path):
    # given: a learning rate that ruins the network after it has learned something
    outcome = toy.run(tmp_path, steps=30, validate_every=3, lr=0.5, ema=0.0, clip=1e9)

    scores = {record["step"]: record["miou"] for record in records(tmp_path, "val")}
    assert list(scores) == list(range(3, 31, 3))
    assert outcome.best_miou == max(scores.values())
    assert scores[outcome.best_step] == outcome.best_miou
    assert load_file(tmp_path / "checkpoint.safetensors")["step"] == outcome.best_step
    assert load_file(tmp_path / "last.safetensors")["step"] == 30


def test_reports_progress_and_scores(toy, tmp_path):
    lines = []

    toy.run(tmp_path, report=lines.append)

    assert lines[0].startswith("step       1/8  loss ")
    assert all(word in lines[0] for word in ("lr ", "img/s", "data wait", "eta 0:0"))
    assert sum(line.startswith("val ") for line in lines) == 3  # steps 3, 6 and the last
    assert "red" in [line for line in lines if line.startswith("val ")][-1]
    # What the toy writes is no checkpoint of ours, so there is no card of it; said once.
    assert "model card is not written" in lines[-1]


def test_worker_threads_change_nothing_but_speed(toy, tmp_path):
    for workers in (0, 3):
        toy.run(tmp_path / str(workers), workers=workers)

    none, three = (load_file(tmp_path / name / "last.safetensors") for name in ("0", "3"))
    assert all(torch.equal(none[key], three[key]) for key in none)


def test_loss_that_is_not_finite_ends_the_run_with_its_remedy(toy, tmp_path):
    with pytest.raises(OptionError, match=r"the loss is nan at step \d+; lower --lr"):
        toy.run(tmp_path, lr=1e38, clip=1e30, warmup=0, steps=20)


def test_absent_cuda_is_said(toy, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("CUDA is there")
    with pytest.raises(OptionError, match="use --device cpu"):
        toy.run(tmp_path, device="cuda")


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_learning_rate_rises_then_falls_to_zero(schedule):
    options = TrainOptions("p", "d", steps=200, warmup=50, lr=0.1, schedule=schedule)

    rates = [learning_rate(options, step) for step in range(200)]

    assert options.warmup_steps == 20
    assert rates[0] == pytest.approx(0.1 / 21)
    assert max(rates) == rates[20] == pytest.approx(0.1)
    assert all(a < b for a, b in pairwise(rates[:21]))
    assert all(a > b for a, b in pairwise(rates[20:]))
    assert 0 < rates[-1] < 0.002


def test_poly_and_cosine_follow_their_formulas():
    poly = TrainOptions("p", "d", steps=100, warmup=0, lr=1.0, poly_power=2.0)
    cosine = TrainOptions("p", "d", steps=100, warmup=0, lr=1.0, schedule="cosine")

    assert learning_rate(poly, 30) == pytest.approx(0.7**2)
    assert learning_rate(cosine, 25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_encoder_has_its_own_rate_and_only_convolutions_decay(toy):
    net = toy.ToyNet()
    optimizer = make_optimizer(net, toy.options(encoder_lr_scale=0.1, weight_decay=0.01))

    set_learning_rate(optimizer, 1.0)

    found = {
        name: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for name, parameter in net.named_parameters()
        if any(parameter is member for member in group["params"])
    }
    assert found == {
        "backbone.0.weight": (0.1, 0.01),
        "backbone.1.weight": (0.1, 0.0),
        "backbone.1.bias": (0.1, 0.0),
        "head.1.weight": (1.0, 0.01),
        "head.1.bias": (1.0, 0.0),
    }


def test_average_follows_its_formula_and_counts_are_copied(toy):
    net = toy.ToyNet()
    average = AveragedWeights(net, 0.5)
    first = net.head[1].bias.detach().clone()

    with torch.no_grad():
        net.head[1].bias += 1.0
        net.backbone[1].num_batches_tracked += 7
    average.update(net, step=0)  # decay 0.1: mostly the new weights
    average.update(net, step=1000)  # decay 0.5

    expected = first + (1 - 0.1 * 0.5)
    torch.testing.assert_close(average.net.head[1].bias, expected)
    assert average.net.backbone[1].num_batches_tracked == 7
    assert not any(parameter.requires_grad for parameter in average.net.parameters())


def test_meter_counts_only_what_it_is_given():
    meter = Meter()
    meter.add(loss=1.0, images=4, waited=0.5, seconds=1.0)
    meter.add(loss=3.0, images=4, waited=0.0, seconds=1.0)

    assert meter.summary() == {"loss": 2.0, "images_per_s": 4.0, "wait": 0.25}
    assert meter.seconds_per_step == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0; expected >= 1"),
        ({"lr": 0.0}, "lr is 0.0; expected > 0"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"minutes": 0.0}, "minutes must be positive"),
    ],
)
def test_options_refuse_what_cannot_work(changes, message):
    with pytest.raises(OptionError, match=message):
        TrainOptions("p", "d", **changes)


def test_options_survive_being_stored():
    options = TrainOptions("p", "d", augment=AugmentOptions(crop=(64, 96)), size=(64, 96))

    stored = json.loads(json.dumps(options.lineage()))

    assert TrainOptions.from_values(stored) == options
    assert TrainOptions.from_values({**stored, "crop": (32, 32)}).augment.crop == (32, 32)
