"""Frames that two forms of a network are compared on."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_runtime.artifacts import Preprocess, TensorSpec
from edge_runtime.errors import SourceError
from export.probe_frames import frames_for, probe_frames

MEAN, STD = (0.2, 0.5, 0.8), (0.05, 0.05, 0.05)


@pytest.mark.parametrize("size", [(64, 96), (33, 50), (100, 36), (20, 7)])
def test_frames_have_any_size(size):
    frames = probe_frames(size, 3, MEAN, STD)
    assert [frame.shape for frame in frames] == [(*size, 3)] * 3
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}


def test_noise_has_the_mean_that_normalisation_takes_out():
    (frame,) = probe_frames((128, 128), 1, MEAN, STD)
    assert frame.mean((0, 1)) / 255 == pytest.approx(MEAN, abs=0.03)


def test_a_seed_gives_the_same_frames_again_and_another_seed_others():
    first, again, other = (probe_frames((32, 32), 2, MEAN, STD, seed=s) for s in (1, 1, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_bgr_network_gets_the_street_in_bgr():
    rgb = probe_frames((64, 64), 2, MEAN, STD)[1]
    bgr = probe_frames((64, 64), 2, MEAN, STD, bgr=True)[1]
    assert np.array_equal(rgb, bgr[..., ::-1])
    assert not np.array_equal(rgb, bgr)


@pytest.fixture
def small(manifest):
    inputs = (TensorSpec("frame", (1, 40, 60, 3), "uint8"),)
    return replace(manifest, inputs=inputs)


@pytest.mark.gst
@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_the_users_pictures_come_in_the_models_size_and_colour_order(small, tmp_path, color):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((80, 120, 3), (10, 20, 200), np.uint8))
    described = replace(small, preprocess=Preprocess(MEAN, STD, color=color))
    (frame,) = frames_for(described, str(tmp_path), 4)
    assert frame.shape == (40, 60, 3)
    assert frame[20, 30] == pytest.approx((200, 20, 10) if color == "RGB" else (10, 20, 200), abs=3)


@pytest.mark.gst
def test_no_more_frames_are_read_than_asked_for(small, tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 60, 3), number, np.uint8))
    assert len(frames_for(small, str(tmp_path), 2)) == 2


@pytest.mark.gst
def test_a_source_that_is_not_there_is_an_error(small, tmp_path):
    with pytest.raises(SourceError):
        frames_for(small, str(tmp_path / "none.mp4"), 2)
