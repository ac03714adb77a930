"""The Lovász-softmax loss against the set function that it extends, written out slowly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.loss import make_loss
from training.lovasz import lovasz_softmax
from training.options import TrainOptions


def by_definition(logits, labels):
    """Over pixels, hardest first: their error times what they add to the Jaccard loss."""
    classes = logits.shape[1]
    probabilities = logits.softmax(dim=1).movedim(1, -1).reshape(-1, classes).double().numpy()
    ids = labels.flatten().numpy()
    probabilities, ids = probabilities[ids != 255], ids[ids != 255]
    losses = []
    for k in sorted(set(ids.tolist())):
        errors = np.abs((ids == k) - probabilities[:, k])
        wrong, before, total = np.zeros(len(ids), bool), 0.0, 0.0
        for place in np.argsort(-errors, kind="stable"):
            wrong[place] = True
            predicted = (ids == k) ^ wrong
            after = 1 - (predicted & (ids == k)).sum() / (predicted | (ids == k)).sum()
            total += errors[place] * (after - before)
            before = after
        losses.append(total)
    return np.mean(losses)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.1, 1.0, 6.0]))
def test_equals_its_definition(seed, spread):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 5, 6, 5, generator=generator) * spread
    labels = torch.randint(0, 4, (2, 6, 5), generator=generator)
    labels[torch.rand(2, 6, 5, generator=generator) < 0.2] = 255

    found = lovasz_softmax(logits, labels)

    assert found.item() == pytest.approx(by_definition(logits, labels), rel=1e-5)


def test_a_hard_prediction_gives_one_minus_its_miou():
    labels = torch.tensor([[[0, 0, 1, 1, 2, 255]]])
    predicted = torch.tensor([[[0, 1, 1, 1, 2, 0]]])
    logits = 1e4 * torch.nn.functional.one_hot(predicted, 3).permute(0, 3, 1, 2).float()

    found = lovasz_softmax(logits, labels)

    assert found.item() == pytest.approx(1 - (1 / 2 + 2 / 3 + 1) / 3)


def test_only_as_many_pixels_as_asked_are_drawn_and_the_draw_can_be_repeated():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 40, 40, generator=generator, requires_grad=True)
    labels = torch.randint(0, 3, (1, 40, 40), generator=generator)

    torch.manual_seed(1)
    loss = lovasz_softmax(logits, labels, pixels=100)
    loss.backward()
    torch.manual_seed(1)
    again = lovasz_softmax(logits, labels, pixels=100)

    assert 0 < logits.grad.abs().sum(dim=1).count_nonzero() <= 100
    assert torch.equal(loss, again)


def test_nothing_labelled_is_no_loss_and_no_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)

    loss = lovasz_softmax(logits, torch.full((1, 4, 4), 255))
    loss.backward()

    assert loss.item() == 0
    assert not logits.grad.any()


def test_the_option_adds_it_to_the_loss():
    torch.manual_seed(3)
    logits, labels = torch.randn(2, 4, 8, 8), torch.randint(0, 4, (2, 8, 8))
    plain = make_loss(TrainOptions("edge-n", "folder:x", loss="ce"))(logits, labels)

    both = make_loss(TrainOptions("edge-n", "folder:x", loss="ce", lovasz=0.5))(logits, labels)

    assert both.item() == pytest.approx((plain + 0.5 * lovasz_softmax(logits, labels)).item())
