"""The losses against their definitions, written out slowly."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from training.loss import (
    bootstrapped_cross_entropy,
    cross_entropy,
    make_loss,
    ohem_cross_entropy,
)
from training.options import TrainOptions


def case(seed: int, size: tuple[int, int] = (12, 10), spread: float = 3.0, ignored: float = 0.2):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, *size, generator=generator) * spread
    labels = torch.randint(0, 4, (2, *size), generator=generator)
    labels[torch.rand(2, *size, generator=generator) < ignored] = 255
    return logits, labels


def by_sorting(logits, labels, threshold, minimum):
    """The published definition: sort, look at rank `minimum`, average what is hard."""
    means = []
    for image, ids in zip(logits, labels, strict=True):
        losses = F.cross_entropy(image[None], ids[None], ignore_index=255, reduction="none")
        ranked = losses.flatten().sort(descending=True).values
        rank = min(minimum, len(ranked) - 1)
        hard = ranked[ranked > threshold] if ranked[rank] > threshold else ranked[:minimum]
        means.append(hard.mean())
    return torch.stack(means).mean()


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    minimum=st.integers(1, 200),
)
def test_bootstrapped_equals_its_definition(seed, spread, minimum):
    logits, labels = case(seed, spread=spread)

    found = bootstrapped_cross_entropy(logits, labels, threshold=0.3, minimum=minimum)

    assert found == pytest.approx(by_sorting(logits, labels, 0.3, minimum).item(), rel=1e-5)


def test_image_smaller_than_the_minimum_uses_all_pixels():
    logits, labels = case(0, size=(3, 3), spread=0.1, ignored=0)

    found = bootstrapped_cross_entropy(logits, labels, minimum=4096)

    assert found == pytest.approx(F.cross_entropy(logits, labels).item())


def test_class_weights_weigh_the_mean_but_do_not_choose_pixels():
    # given: with minimum 1 and threshold 0, every labelled pixel is hard
    logits, labels = case(1)
    weight = torch.tensor([1.0, 5.0, 0.5, 2.0])

    found = bootstrapped_cross_entropy(logits[:1], labels[:1], weight, threshold=0.0, minimum=1)

    expected = F.cross_entropy(logits[:1], labels[:1], weight, ignore_index=255)
    assert found == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 5.0, 0.5, 2.0])])
def test_cross_entropy_equals_torch(weight):
    logits, labels = case(2)

    expected = F.cross_entropy(logits, labels, weight, ignore_index=255)

    assert cross_entropy(logits, labels, weight) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["ce", "bootstrapped", "ohem"])
def test_only_ignored_pixels_give_zero_loss_and_zero_gradient(name):
    logits = torch.randn(1, 4, 6, 6, requires_grad=True)
    loss = make_loss(TrainOptions("tiny", "street:", loss=name))(logits, torch.full((1, 6, 6), 255))

    loss.backward()

    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_easy_pixels_get_no_gradient_when_enough_are_hard():
    # given: the left half is certain and right, the right half is undecided
    logits = torch.zeros(1, 4, 4, 8)
    logits[:, 0, :, :4] = 9.0
    logits.requires_grad_()

    bootstrapped_cross_entropy(
        logits, torch.zeros(1, 4, 8, dtype=torch.int64), minimum=4
    ).backward()

    assert logits.grad[..., :4].abs().max() == 0
    assert logits.grad[..., 4:].abs().min() > 0


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    minimum=st.integers(1, 80),
)
def test_ohem_equals_its_definition(seed, spread, minimum):
    logits, labels = case(seed, spread=spread)

    found = ohem_cross_entropy(logits, labels, threshold=0.3, minimum=minimum)

    losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")[labels != 255]
    ranked = losses.sort(descending=True).values
    hard = ranked[ranked > 0.3]
    expected = (hard if len(hard) >= 2 * minimum else ranked[: 2 * minimum]).mean()
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_ohem_may_take_all_its_pixels_from_one_image():
    # given: the first image is certain and right everywhere, the second undecided
    logits = torch.zeros(2, 4, 4, 4)
    logits[0, 0] = 9.0
    logits.requires_grad_()

    ohem_cross_entropy(logits, torch.zeros(2, 4, 4, dtype=torch.int64), minimum=8).backward()

    assert logits.grad[0].abs().max() == 0
    assert logits.grad[1].abs().min() > 0


@pytest.mark.parametrize("name", ["ce", "ohem", "bootstrapped"])
def test_smoothing_is_torchs(name):
    # given: with minimum 1 and threshold 0, every labelled pixel is hard
    logits, labels = case(5, ignored=0)
    options = TrainOptions(
        "p", "d", loss=name, label_smoothing=0.2, hard_min=1, hard_threshold=1e-9
    )

    found = make_loss(options)(logits, labels)

    expected = F.cross_entropy(logits, labels, ignore_index=255, label_smoothing=0.2)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_amount_is_what_the_mean_is_over():
    _, labels = case(6)
    weight = torch.tensor([1.0, 5.0, 0.5, 2.0])

    by_pixel = make_loss(TrainOptions("p", "d", loss="ce"), weight).amount(labels)
    by_image = make_loss(TrainOptions("p", "d", loss="bootstrapped"), weight).amount(labels)

    assert by_pixel == pytest.approx(weight[labels[labels != 255]].sum().item(), rel=1e-5)
    assert by_image == 2


@pytest.mark.parametrize("loss", [cross_entropy, bootstrapped_cross_entropy, ohem_cross_entropy])
def test_classes_of_no_weight_alone_give_a_loss_of_nothing(loss):
    logits, labels = case(0, ignored=0)
    logits.requires_grad_()

    found = loss(logits, torch.zeros_like(labels), torch.tensor([0.0, 1.0, 1.0, 1.0]))
    found.backward()

    assert found == 0
    assert not logits.grad.any()
