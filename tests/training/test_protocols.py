"""Scores of the public protocols against plain counting, and the authors' kept apart from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.errors import OptionError
from edge_runtime.labels import CAMVID_11, CAMVID_12, CITYSCAPES_19
from edge_runtime.metrics import ConfusionMatrix
from training.evaluation.protocols import CAMVID_AUTHORS, PUBLIC, check_protocol, scores_of


def pictures(classes, *, void, count=3):
    """Label and prediction of some images, right in two of three pixels."""
    rng = np.random.default_rng(classes)
    for _ in range(count):
        labels = rng.integers(0, classes, (9, 14), np.uint8)
        prediction = np.where(rng.random(labels.shape) < 0.3, labels[::-1], labels)
        if void is not None:
            labels[rng.random(labels.shape) < 0.2] = void
        yield labels, prediction.astype(np.uint8)


def counted_by_hand(pairs, classes, void):
    """IoU, accuracies and frequencies, one pixel at a time, as the definitions read."""
    hit, missed, false = [0] * classes, [0] * classes, [0] * classes
    for labels, prediction in pairs:
        for label, predicted in zip(
            labels.ravel().tolist(), prediction.ravel().tolist(), strict=True
        ):
            if label == void:
                continue
            if label == predicted:
                hit[label] += 1
            else:
                missed[label] += 1
                false[predicted] += 1
    total = sum(hit) + sum(missed)
    iou = [h / (h + m + f) for h, m, f in zip(hit, missed, false, strict=True)]
    recall = [h / (h + m) for h, m in zip(hit, missed, strict=True)]
    weighted = sum(i * (h + m) for i, h, m in zip(iou, hit, missed, strict=True)) / total
    return iou, sum(iou) / classes, sum(hit) / total, sum(recall) / classes, weighted


@pytest.mark.parametrize("labels", [CAMVID_11, CITYSCAPES_19], ids=lambda labels: labels.name)
def test_public_scores_are_those_of_plain_counting(labels):
    # given
    pairs = list(pictures(len(labels), void=255))
    matrix = ConfusionMatrix(labels)

    # when
    for label, prediction in pairs:
        matrix.update(label, prediction)
    scores = scores_of(matrix, PUBLIC)

    # then
    iou, miou, accuracy, mean_accuracy, weighted = counted_by_hand(pairs, len(labels), 255)
    assert list(scores.iou.values()) == pytest.approx(iou)
    assert scores.miou == pytest.approx(miou)
    assert scores.accuracy == pytest.approx(accuracy)
    assert scores.mean_accuracy == pytest.approx(mean_accuracy)
    assert scores.frequency_weighted == pytest.approx(weighted)
    assert 0.3 < scores.miou < 0.9


def test_authors_protocol_scores_void_as_a_class():
    # given: the same pictures, their Void pixels a twelfth class
    pairs = list(pictures(12, void=None))
    matrix = ConfusionMatrix(CAMVID_12)
    for label, prediction in pairs:
        matrix.update(label, prediction)

    # when
    scores = scores_of(matrix, CAMVID_AUTHORS)

    # then
    iou, miou, *_ = counted_by_hand(pairs, 12, None)
    assert list(scores.iou) == [*CAMVID_11.names, "Void"]
    assert list(scores.iou.values()) == pytest.approx(iou)
    assert scores.miou == pytest.approx(miou)


def test_an_absent_class_counts_as_zero_for_the_authors_and_not_at_all_in_public():
    # given: two classes, both right; ten never occur
    mask = np.array([[0, 0, 1]], np.uint8)
    twelve, eleven = ConfusionMatrix(CAMVID_12), ConfusionMatrix(CAMVID_11)
    twelve.update(mask, mask)
    eleven.update(mask, mask)

    # then
    assert scores_of(eleven, PUBLIC).miou == 1
    assert scores_of(twelve, CAMVID_AUTHORS).miou == pytest.approx(2 / 12)
    assert scores_of(twelve, CAMVID_AUTHORS).absent == ()


def test_data_are_scored_by_their_own_protocol_only():
    check_protocol(PUBLIC, CAMVID_11)
    check_protocol(PUBLIC, CITYSCAPES_19)
    check_protocol(CAMVID_AUTHORS, CAMVID_12)

    with pytest.raises(OptionError, match=r"scores the 12 classes .* camvid-11 \(11 classes\)"):
        check_protocol(CAMVID_AUTHORS, CAMVID_11)
    for twelve in (CAMVID_12, replace(CAMVID_12, name="renamed")):
        with pytest.raises(OptionError, match="has Void as a class"):
            check_protocol(PUBLIC, twelve)
