"""Differences by frame and by class, and which frames are kept for the page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.artifacts import Preprocess
from edge_runtime.labels import LabelSet
from edge_runtime.pixels import YuvFormat
from edge_runtime.yuv import as_input
from export.verify.figures import Answer
from export.verify.probes import SHOWN, Differences, Sample, Samples

RGB = Preprocess((0, 0, 0), (1, 1, 1))
LABELS = LabelSet("toy", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))


def mask(*ids):
    return np.array([ids], np.uint8)


def test_classes_and_frames_have_their_own_agreement():
    apart = Differences(LABELS)
    scores = np.zeros((3, 1, 4), np.float32)

    apart.add(Answer(mask(0, 0, 1, 1), scores), Answer(mask(0, 0, 1, 1), scores + 0.5))
    assert apart.confusion() is None
    apart.add(Answer(mask(0, 0, 0, 1)), Answer(mask(0, 1, 1, 1)))

    assert [(one.agreement, one.max_abs_error) for one in apart.probes] == [(1.0, 0.5), (0.5, None)]
    assert apart.by_class() == {"a": pytest.approx(0.6), "b": 1.0, "c": None}
    assert apart.confusion() == [[3, 2, 0], [0, 3, 0], [0, 0, 0]]


def test_an_id_that_is_no_class_does_not_agree():
    apart = Differences(LABELS)

    apart.add(Answer(mask(0, 1)), Answer(mask(0, 200)))

    assert apart.by_class()["b"] == 0
    assert apart.confusion() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_the_shown_frame_and_the_worst_of_the_others_are_kept():
    samples = Samples(shown=1)
    for number, wrong in enumerate((1, 0, 0, 3, 2, 4, 5)):
        found = np.zeros((2, 5), np.uint8)
        found.flat[:wrong] = 1
        masks = {"reference": np.zeros((2, 5), np.uint8), "form": found}
        samples.add(Sample(number, np.zeros((2, 5, 3), np.uint8), masks, LABELS, RGB))

    kept = samples.kept
    assert [sample.number for sample in kept] == [1, 6, 5, 3]
    assert len(kept) == SHOWN
    assert kept[1].agreement == 0.5


@pytest.mark.parametrize(
    "preprocess",
    [RGB, replace(RGB, color="BGR"), replace(RGB, yuv=YuvFormat("nv12")),
     replace(RGB, yuv=YuvFormat("yuy2", "bt709", "full"))],
)  # fmt: skip
def test_a_frame_of_any_pixel_format_is_a_picture(preprocess):
    rgb = np.full((4, 6, 3), (200, 90, 30), np.uint8)
    ordered = rgb if preprocess.color == "RGB" else rgb[..., ::-1]
    masks = {"reference": np.zeros((4, 6), np.uint8)}

    sample = Sample(0, as_input(ordered, preprocess), masks, LABELS, preprocess)

    np.testing.assert_allclose(sample.picture[..., ::-1], rgb, atol=3)
    assert sample.agreement == 1
