"""Counting images: in order, read ahead, whole or in shares, in constant memory."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import CAMVID_11
from edge_runtime.metrics import ConfusionMatrix
from training.evaluation.evaluate import confusion, evaluate, read_ahead


class Strongest:
    """Right by construction for the toy's colours: each pixel's strongest channel."""

    def __init__(self, labels) -> None:
        self.labels = labels

    def predict(self, image):
        return image.argmax(axis=2).astype(np.uint8)


class Worse(Strongest):
    """Wrong in a pattern that differs from image to image."""

    def predict(self, image):
        mask = super().predict(image)
        mask[::2] = int(image[0, 0].sum()) % 3
        return mask


@pytest.fixture
def dataset(toy):
    return toy.ToyDataset("val", 9)


class Slow:
    """A data set whose even images come late and whose `broken` image cannot be read."""

    def __init__(self, dataset, broken=None) -> None:
        self.labels, self.name, self.split, self.license = dataset.labels, "slow", "val", ""
        self.threads = set()
        self._dataset, self._broken = dataset, broken

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, epoch, index):
        self.threads.add(threading.get_ident())
        time.sleep(0.01 * (index % 2 == 0))
        if index == self._broken:
            raise SourceError(f"cannot read image {index}")
        return self._dataset.read(epoch, index)


def test_right_predictions_score_one(toy, dataset):
    scores = evaluate(Strongest(toy.LABELS), dataset)

    assert scores.miou == pytest.approx(1.0)
    assert scores.images == 9


def test_wrong_predictions_score_low(toy, dataset):
    class Shifted(Strongest):
        def predict(self, image):
            return (super().predict(image) + 1) % 3

    assert evaluate(Shifted(toy.LABELS), dataset).miou < 0.01


def test_other_classes_are_refused(dataset):
    with pytest.raises(OptionError, match=r"predicts camvid-11 \(11 classes\) but toy val"):
        evaluate(Strongest(CAMVID_11), dataset)


@pytest.mark.parametrize("readers", [1, 2, 5])
def test_reading_ahead_changes_nothing(toy, dataset, readers):
    slow = Slow(dataset)

    here = confusion(Worse(toy.LABELS), dataset, readers=0)
    ahead = confusion(Worse(toy.LABELS), slow, readers=readers)

    assert ahead.counts.tolist() == here.counts.tolist()
    assert ahead.images == here.images == 9
    assert threading.get_ident() not in slow.threads


@pytest.mark.parametrize("readers", [0, 3])
def test_images_pass_in_order_with_what_belongs_to_them(toy, dataset, readers):
    seen = []

    confusion(Worse(toy.LABELS), Slow(dataset), observers=[seen.append], readers=readers)

    assert [scored.index for scored in seen] == list(range(9))
    for scored in seen:
        sample = dataset.read(0, scored.index)
        assert (scored.sample.image == sample.image).all()
        assert (scored.prediction == Worse(toy.LABELS).predict(sample.image)).all()
        assert scored.counts.sum() == (sample.labels != 255).sum()


def test_shares_of_the_images_add_up_to_all_of_them(toy, dataset):
    # given: what two processes would count
    whole = confusion(Worse(toy.LABELS), dataset)
    shares = [confusion(Worse(toy.LABELS), dataset, indices=range(i, 9, 2)) for i in (0, 1)]

    # when
    total = ConfusionMatrix(toy.LABELS)
    for share in shares:
        total.add(share.counts, share.images)

    # then
    assert [share.images for share in shares] == [5, 4]
    assert total.scores() == whole.scores()


@pytest.mark.parametrize("readers", [0, 2])
def test_an_unreadable_image_is_named_after_those_before_it(toy, dataset, readers):
    seen = []

    with pytest.raises(SourceError, match="cannot read image 6"):
        confusion(Strongest(toy.LABELS), Slow(dataset, 6), observers=[seen.append], readers=readers)

    assert [scored.index for scored in seen] == [0, 1, 2, 3, 4, 5]


def test_no_reader_is_left_behind(dataset):
    before = threading.active_count()

    reading = read_ahead(Slow(dataset), range(9), 2)
    next(reading)
    reading.close()

    assert threading.active_count() == before


MEMORY = """
import resource, sys
import numpy as np
from edge_runtime.labels import CAMVID_11
from training.evaluation.evaluate import confusion
from training.evaluation.observers import Groups, LabelSizes, Worst
from training.data.pairs import Sample

SIZE = (480, 640)

class Pictures:
    labels, name, split, license = CAMVID_11, "pictures", "val", ""
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def image_name(self, index): return f"{index % 3}_{index}.png"
    def read(self, epoch, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        return Sample(image, rng.integers(0, 11, SIZE, np.uint8))

class Guess:
    labels = CAMVID_11
    def predict(self, image): return image[:, :, 0] % 11

def peak(images):
    worst = Worst(4)
    observers = [worst, Groups(CAMVID_11, "prefix"), LabelSizes()]
    assert confusion(Guess(), Pictures(images), observers=observers).images == images
    assert len(worst.ranked) == 4
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB

few = peak(int(sys.argv[1]))
print(peak(8 * int(sys.argv[1])) - few)
"""


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_number_of_images(repository):
    # given: 24 images, then 192; an image and its label take 1.2 MB, a mask 0.3 MB
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, "24"],
        cwd=repository, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    # then: keeping as much as the masks of the added ones would take 50 MB
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16 * 1024
