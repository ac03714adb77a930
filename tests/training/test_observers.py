"""Groups of images, and the worst of them with their pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training.evaluation.evaluate import confusion
from training.evaluation.observers import Groups, LabelSizes, Worst, group_of
from training.evaluation.pictures import WRONG, draw_worst, error_map


class Spoiled:
    """Predicts the toy's colours, but the first `rows[i]` rows of image i as class 2."""

    def __init__(self, labels, rows) -> None:
        self.labels, self._rows = labels, iter(rows)

    def predict(self, image):
        mask = image.argmax(axis=2).astype(np.uint8)
        mask[: next(self._rows)] = 2
        return mask


def named(toy, names):
    class Named(toy.ToyDataset):
        def image_name(self, index):
            return names[index]

    return Named("val", len(names))


@pytest.mark.parametrize(
    ("name", "by", "group"),
    [
        ("test/0001TP_008550.jpg", "prefix", "0001TP"),
        ("test/Seq05VD_f00000.jpg", "prefix", "Seq05VD"),
        ("val/frankfurt/frankfurt_000000_000294_leftImg8bit.png", "prefix", "frankfurt"),
        ("val/frankfurt/frankfurt_000000_000294_leftImg8bit.png", "folder", "frankfurt"),
        ("plain.png", "prefix", "plain"),
        ("plain.png", "folder", ""),
    ],
)
def test_group_of_a_name(name, by, group):
    assert group_of(name, by) == group


def test_groups_add_up_to_the_whole(toy):
    dataset = named(toy, ["a_1", "b_1", "a_2", "a_3", "b_2"])
    groups = Groups(toy.LABELS, "prefix")

    whole = confusion(Spoiled(toy.LABELS, [9, 0, 3, 12, 1]), dataset, observers=[groups])

    assert {name: m.images for name, m in groups.matrices.items()} == {"a": 3, "b": 2}
    total = sum(m.counts for m in groups.matrices.values())
    assert (total == whole.counts).all()
    assert groups.matrices["a"].scores().miou < groups.matrices["b"].scores().miou


def test_the_worst_come_first_with_their_masks(toy):
    rows = [4, 20, 0, 9, 14]
    dataset = named(toy, ["a", "b", "c", "d", "e"])
    worst = Worst(3)

    confusion(Spoiled(toy.LABELS, rows), dataset, observers=[worst])

    assert [image.name for image in worst.ranked] == ["b", "e", "d"]
    assert [image.index for image in worst.ranked] == [1, 4, 3]
    assert worst.ranked[0].iou < worst.ranked[1].iou < worst.ranked[2].iou < 1
    for image in worst.ranked:
        assert (image.prediction[: rows[image.index]] == 2).all()


def test_nothing_is_kept_when_none_are_asked_for(toy):
    worst = Worst(0)

    confusion(Spoiled(toy.LABELS, [9, 9]), named(toy, ["a", "b"]), observers=[worst])

    assert worst.ranked == []


def test_label_sizes_are_distinct(toy):
    sizes = LabelSizes()

    confusion(Spoiled(toy.LABELS, [0, 0]), named(toy, ["a", "b"]), observers=[sizes])

    assert sizes.sizes == {(24, 32)}


def test_error_map_shows_wrong_unscored_and_right_pixels():
    image = np.full((1, 4, 3), 100, np.uint8)
    labels = np.array([[0, 1, 255, 255]], np.uint8)
    prediction = np.array([[0, 2, 0, 1]], np.uint8)

    errors = error_map(image, labels, prediction, 255)

    assert errors[0].tolist() == [[60, 60, 60], list(WRONG), [0, 0, 0], [0, 0, 0]]


def test_sheet_shows_label_prediction_and_errors_of_each_image(toy, tmp_path):
    # given
    dataset = named(toy, ["b/ä.png", "a.png"])
    worst = Worst(5)
    confusion(Spoiled(toy.LABELS, [12, 0]), dataset, observers=[worst])

    # when
    draw_worst(tmp_path / "worst.png", dataset, worst.ranked)

    # then: two rows of four panels, each row under a caption, a header above and a legend below
    with Image.open(tmp_path / "worst.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] > 4 * 400
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    found = {tuple(map(int, c)): int(n) for c, n in zip(colours, counts, strict=True)}
    wrong = (dataset.read(0, 0).labels[:12] != 2) & (dataset.read(0, 0).labels[:12] != 255)
    assert abs(found[WRONG] - wrong.sum()) < 0.02 * wrong.sum() + 40  # right ones mistaken by noise
    assert found[0, 0, 255] > 12 * 32  # class 2 in label and prediction
    assert list(tmp_path.iterdir()) == [tmp_path / "worst.png"]


def test_large_pictures_are_scaled_down_and_no_class_colour_is_invented(toy, tmp_path):
    class Large(toy.ToyDataset):
        def read(self, epoch, index):
            sample = super().read(epoch, index)
            return type(sample)(*(np.repeat(np.repeat(a, 40, 0), 40, 1) for a in sample))

    dataset, worst = Large("val", 1), Worst(1)
    confusion(Spoiled(toy.LABELS, [300]), dataset, observers=[worst])

    draw_worst(tmp_path / "worst.png", dataset, worst.ranked)

    with Image.open(tmp_path / "worst.png") as picture:
        assert picture.width < 1700
        label = np.asarray(picture.convert("RGB"))[50 : 50 + 290, 406:806].reshape(-1, 3)
    assert {tuple(map(int, colour)) for colour in np.unique(label, axis=0)} <= {
        *toy.LABELS.palette,
        (0, 0, 0),
    }
