"""Which sample belongs to which step depends on seed and step alone."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import SourceError
from training.loader import batches, load_batch, sample_position


def test_every_epoch_has_every_sample_once_in_another_order():
    epochs = [[sample_position(10, 3, e * 10 + i) for i in range(10)] for e in range(3)]

    for number, epoch in enumerate(epochs):
        assert {place[0] for place in epoch} == {number}
        assert sorted(place[1] for place in epoch) == list(range(10))
    assert epochs[0] != [(0, index) for _, index in epochs[1]]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_come_in_order_from_any_first_step(toy, workers):
    dataset, options = toy.ToyDataset("train"), toy.options(workers=workers)

    found = list(batches(dataset, options, first_step=3))

    assert len(found) == 5
    for step, batch in enumerate(found, 3):
        assert batch.images.shape == (4, 16, 24, 3)
        np.testing.assert_array_equal(batch.images, load_batch(dataset, options, step).images)
        np.testing.assert_array_equal(batch.labels, load_batch(dataset, options, step).labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_error_of_a_worker_reaches_the_loop(toy, workers):
    class Broken(toy.ToyDataset):
        def read(self, epoch, index):
            raise SourceError("broken.png cannot be read")

    with pytest.raises(SourceError, match=r"broken\.png cannot"):
        next(batches(Broken("train"), toy.options(workers=workers), first_step=0))
