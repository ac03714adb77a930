"""Which sample belongs to which step depends on seed and step alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from edge_runtime.errors import SourceError
from training.data.loader import Feed, batches, sample_position
from training.distributed import Ranks


def test_every_epoch_has_every_sample_once_in_another_order():
    epochs = [[sample_position(10, 3, e * 10 + i) for i in range(10)] for e in range(3)]

    for number, epoch in enumerate(epochs):
        assert {place[0] for place in epoch} == {number}
        assert sorted(place[1] for place in epoch) == list(range(10))
    assert epochs[0] != [(0, index) for _, index in epochs[1]]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_come_in_order_from_any_first_step(toy, workers):
    dataset, options = toy.ToyDataset("train"), toy.options(workers=workers)

    feed = Feed(dataset, options)
    found = list(batches(feed, first_step=3))

    assert len(found) == 5
    for step, batch in enumerate(found, 3):
        assert batch.images.shape == (4, 16, 24, 3)
        np.testing.assert_array_equal(batch.images, feed.load(step).images)
        np.testing.assert_array_equal(batch.labels, feed.load(step).labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_error_of_a_worker_reaches_the_loop(toy, workers):
    class Broken(toy.ToyDataset):
        def read(self, epoch, index):
            raise SourceError("broken.png cannot be read")

    with pytest.raises(SourceError, match=r"broken\.png cannot"):
        next(batches(Feed(Broken("train"), toy.options(workers=workers)), first_step=0))


@pytest.mark.parametrize(("size", "parts"), [(2, 1), (4, 1), (2, 2), (3, 2)])
def test_processes_share_the_samples_of_one_part_by_part(toy, size, parts):
    dataset, options = toy.ToyDataset("train"), toy.options(batch=12, accumulate=parts)
    alone = Feed(dataset, options).positions(5)

    shares = [Feed(dataset, options, ranks=Ranks(rank, size)).positions(5) for rank in range(size)]

    assert alone == list(range(60, 72))
    assert sorted(chain.from_iterable(shares)) == alone
    for part in range(parts):  # the same images pass through the network together
        length = 12 // size // parts
        together = chain.from_iterable(
            share[part * length : (part + 1) * length] for share in shares
        )
        assert sorted(together) == alone[part * 12 // parts : (part + 1) * 12 // parts]


def test_class_mix_shows_two_pictures_in_one_and_depends_on_the_step_alone(toy):
    dataset, plain = toy.ToyDataset("train"), toy.options(workers=0)
    mixed = replace(plain, augment=replace(plain.augment, class_mix=1.0))

    batch, again = (Feed(dataset, mixed).load(2) for _ in range(2))

    np.testing.assert_array_equal(batch.images, again.images)
    np.testing.assert_array_equal(batch.labels, again.labels)
    assert (batch.labels != Feed(dataset, plain).load(2).labels).any()
