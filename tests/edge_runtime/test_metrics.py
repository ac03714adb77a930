"""The confusion matrix against numbers worked out by hand and against sets of pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_runtime.errors import OptionError
from edge_runtime.labels import LabelSet
from edge_runtime.metrics import ConfusionMatrix

THREE = LabelSet("three", ("a", "b", "c"), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))


def matrix_of(labels, prediction):
    matrix = ConfusionMatrix(THREE)
    matrix.update(np.array(labels, np.uint8), np.array(prediction, np.uint8))
    return matrix


def test_scores_worked_out_by_hand():
    # given: a is hit 2 of 3 times, once taken for b; b is hit once; one pixel is ignored
    matrix = matrix_of([[0, 0, 0], [1, 255, 2]], [[0, 0, 1], [1, 0, 1]])

    # when
    scores = matrix.scores()

    # then
    assert matrix.counts.tolist() == [[2, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert matrix.counts.dtype == np.int64
    assert scores.iou == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3), "c": 0.0}
    assert scores.miou == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)
    assert scores.accuracy == pytest.approx(3 / 5)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores.frequency_weighted == pytest.approx((3 * 2 / 3 + 1 / 3 + 0) / 5)
    assert scores.images == 1
    assert scores.absent == ()


def test_class_neither_labelled_nor_predicted_is_left_out_of_the_mean():
    scores = matrix_of([[0, 0, 1, 1]], [[0, 0, 1, 0]]).scores()

    assert scores.iou["c"] is None
    assert scores.absent == ("c",)
    assert scores.miou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert json.loads(json.dumps(scores.as_json()))["iou"]["c"] is None


def test_class_predicted_but_not_labelled_counts_as_zero():
    scores = matrix_of([[0, 0]], [[0, 2]]).scores()

    assert scores.iou == {"a": 0.5, "b": None, "c": 0.0}
    assert scores.miou == pytest.approx(0.25)


maps = hnp.arrays(np.uint8, (4, 6), elements=st.sampled_from([0, 1, 2, 255]))
masks = hnp.arrays(np.uint8, (4, 6), elements=st.integers(0, 2))


@given(st.lists(st.tuples(maps, masks), min_size=1, max_size=4))
def test_image_by_image_equals_intersection_over_union_of_all_pixels(pairs):
    # given
    matrix = ConfusionMatrix(THREE)

    # when
    for labels, prediction in pairs:
        matrix.update(labels, prediction)

    # then
    labels = np.concatenate([labels for labels, _ in pairs])
    prediction = np.concatenate([prediction for _, prediction in pairs])
    scored = labels != 255
    for index, value in enumerate(matrix.iou()):
        either = scored & ((labels == index) | (prediction == index))
        both = scored & (labels == index) & (prediction == index)
        if either.any():
            assert value == pytest.approx(both.sum() / either.sum())
        else:
            assert np.isnan(value)


@pytest.mark.parametrize(
    ("labels", "prediction", "message"),
    [
        ([[0, 7, 7]], [[0, 1, 1]], r"labels hold ids 7 \(2 px\); three has classes 0..2"),
        ([[0, 1, 1]], [[0, 1, 9]], r"prediction hold ids 9 \(1 px\)"),
        ([[0, 1]], [[0, 1, 1]], r"labels are \(1, 2\), the prediction is \(1, 3\)"),
    ],
)
def test_refuses_what_does_not_belong_together(labels, prediction, message):
    with pytest.raises(OptionError, match=message):
        matrix_of(labels, prediction)


def test_prediction_under_ignored_labels_may_be_anything():
    matrix = matrix_of([[255, 0]], [[77, 0]])

    assert matrix.counts.sum() == 1


def test_refuses_to_score_nothing():
    with pytest.raises(OptionError, match="no pixel was scored in 1 images"):
        matrix_of([[255]], [[0]]).scores()
