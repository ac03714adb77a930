"""What one step is made of: parts, precision, an auxiliary head, weights of classes."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from edge_runtime.errors import OptionError
from training.model.encoders.base import Encoder
from training.optim import learning_rate, make_optimizer
from training.options import TrainOptions, parse_class_weights
from training.state import load_state
from training.trainee import Trainee


class TapEncoder(Encoder):
    """Five taps that are means of the image."""

    def __init__(self) -> None:
        super().__init__((8, 8, 8, 8, 8), 8)
        self.first = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image):
        features = self.first(image).relu()
        return [nn.functional.avg_pool2d(features, 2**i) for i in (0, 1, 2, 3, 3)], features


class TapNet(nn.Module):
    """The least that an auxiliary head needs."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = TapEncoder()
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, image):
        return self.head(self.backbone(image)[1])


def same_weights(one, other, **tolerance):
    first, second = load_state(one).net, load_state(other).net
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, **tolerance)


@pytest.mark.parametrize("loss", ["ce", "bootstrapped"])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_equal_the_whole(toy, tmp_path, loss, parts):
    toy.run(tmp_path / "whole", net=toy.SmoothNet, loss=loss)

    toy.run(tmp_path / "parts", net=toy.SmoothNet, loss=loss, accumulate=parts)

    same_weights(tmp_path / "whole", tmp_path / "parts", rtol=1e-4, atol=1e-5)


def test_batch_that_does_not_divide_into_parts_is_refused():
    with pytest.raises(OptionError, match="a batch of 6 does not divide into 4 equal parts"):
        TrainOptions("p", "d", batch=6, accumulate=4)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimiser_learns(toy, tmp_path, optimizer):
    lr = 0.1 if optimizer == "sgd" else 0.02
    outcome = toy.run(tmp_path, steps=60, validate_every=60, optimizer=optimizer, lr=lr)

    assert outcome.best_miou > 0.85


def test_optimiser_is_the_one_asked_for(toy):
    net = toy.ToyNet()

    adam = make_optimizer(net, toy.options(optimizer="adam", betas=(0.5, 0.999)))
    sgd = make_optimizer(net, toy.options(optimizer="sgd", betas=(0.8, 0.999)))

    assert type(adam) is torch.optim.Adam
    assert adam.param_groups[0]["betas"] == (0.5, 0.999)
    assert type(sgd) is torch.optim.SGD
    assert (sgd.param_groups[0]["momentum"], sgd.param_groups[0]["nesterov"]) == (0.8, True)


def test_rate_stands_still_for_an_epoch():
    options = TrainOptions("p", "d", steps=100, warmup=0, lr=1.0, poly_power=3.0, lr_hold=10)

    assert learning_rate(options, 30) == learning_rate(options, 39) == pytest.approx(0.7**3)
    assert learning_rate(options, 40) == pytest.approx(0.6**3)


def test_fp16_learns_keeps_its_scale_and_resumes_exactly(toy, tmp_path):
    # given
    outcome = toy.run(tmp_path / "whole", steps=60, validate_every=60, precision="fp16")
    assert outcome.best_miou > 0.85
    state = load_state(tmp_path / "whole")
    assert state.scaler["scale"] > 0
    assert state.scaler["_growth_tracker"] > 0
    assert all(value.dtype != torch.float16 for value in state.net.values())

    # when
    parts = tmp_path / "parts"
    toy.run(parts, steps=60, validate_every=60, precision="fp16", minutes=1e-9)
    toy.run(parts, steps=60, validate_every=60, precision="fp16", resume=True)

    # then
    same_weights(tmp_path / "whole", parts, rtol=0, atol=0)
    assert load_state(parts).scaler == state.scaler


def test_step_whose_gradients_overflow_in_fp16_changes_no_weight(toy, tmp_path):
    # given: gradients beyond half precision at the first, largest scale of the loss
    class Steep(toy.SmoothNet):
        def forward(self, image):
            return super().forward(image) * 1e4

    torch.manual_seed(0)
    start = Steep().state_dict()

    toy.run(tmp_path, net=Steep, precision="fp16", steps=1)

    state = load_state(tmp_path)
    assert state.scaler["scale"] == 2.0**15
    assert all(torch.equal(state.net[name], value) for name, value in start.items())


def test_auxiliary_head_learns_changes_the_encoder_and_stays_out_of_the_weights(toy, tmp_path):
    toy.run(tmp_path / "without", net=TapNet)

    toy.run(tmp_path / "with", net=TapNet, aux=0.4)

    without, trained = load_state(tmp_path / "without"), load_state(tmp_path / "with")
    assert without.auxiliary == {}
    assert trained.auxiliary.keys() == {"weight", "bias"}
    assert trained.net.keys() == without.net.keys() == trained.averaged.keys()
    key = "backbone.first.weight"
    assert not torch.equal(trained.net[key], without.net[key])


def test_auxiliary_head_resumes_exactly(toy, tmp_path):
    toy.run(tmp_path / "whole", net=TapNet, aux=0.4)
    toy.run(tmp_path / "parts", net=TapNet, aux=0.4, minutes=1e-9)

    toy.run(tmp_path / "parts", net=TapNet, aux=0.4, resume=True)

    whole, parts = (load_state(tmp_path / name) for name in ("whole", "parts"))
    assert torch.equal(whole.auxiliary["weight"], parts.auxiliary["weight"])
    same_weights(tmp_path / "whole", tmp_path / "parts", rtol=0, atol=0)


def test_trainee_gives_both_logits_and_needs_taps(toy):
    image = torch.randn(2, 3, 16, 24)

    logits, auxiliary = Trainee(TapNet(), classes=3)(image)
    plain, nothing = Trainee(TapNet(), classes=None)(image)

    assert logits.shape == plain.shape == (2, 3, 16, 24)
    assert auxiliary.shape == (2, 3, 2, 3)
    assert nothing is None
    with pytest.raises(OptionError, match="SmoothNet has no encoder taps"):
        Trainee(toy.SmoothNet(), classes=3)


def test_listed_class_weights_are_used_and_must_match_the_classes(toy, tmp_path):
    toy.run(tmp_path / "even", net=toy.SmoothNet, class_weights=0.0)
    toy.run(tmp_path / "ones", net=toy.SmoothNet, class_weights=(1.0, 1.0, 1.0))
    toy.run(tmp_path / "other", net=toy.SmoothNet, class_weights=(1.0, 9.0, 0.1))

    same_weights(tmp_path / "even", tmp_path / "ones", rtol=1e-6, atol=1e-7)
    with pytest.raises(AssertionError):
        same_weights(tmp_path / "even", tmp_path / "other", rtol=1e-3, atol=1e-4)
    with pytest.raises(OptionError, match="--class-weights has 2 values for 3 classes"):
        toy.run(tmp_path / "few", class_weights=(1.0, 2.0))


def test_class_weights_are_a_power_a_list_or_a_file(tmp_path):
    place = tmp_path / "weights.json"
    place.write_text(json.dumps([1, 2.5, 0.5]))

    assert parse_class_weights("0.3") == 0.3
    assert parse_class_weights("1,2.5") == (1.0, 2.5)
    assert parse_class_weights(str(place)) == (1.0, 2.5, 0.5)
    for wrong in ("heavy", "1,,2"):
        with pytest.raises(OptionError, match="are not understood"):
            parse_class_weights(wrong)
    place.write_text('{"sky": 1}')
    with pytest.raises(OptionError, match="are not understood"):
        parse_class_weights(str(place))


def test_watcher_sees_every_step_instead_of_lines(toy, tmp_path):
    seen, lines = [], []

    toy.run(tmp_path, watch=seen.append, report=lines.append)

    assert [latest.step for latest in seen] == list(range(1, 9))
    assert all(latest.steps == 8 and latest.images == 4 for latest in seen)
    assert not any(line.startswith("step") for line in lines)
