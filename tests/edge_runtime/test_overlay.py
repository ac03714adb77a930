"""What is drawn over a picture, and what is never drawn."""

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.geometry import FrameGeometry
from edge_runtime.labels import LabelSet
from edge_runtime.overlay import LEGEND_MIN_SIZE, Overlay
from edge_runtime.result import Result

LABELS = LabelSet("three", ("road", "car", "sky"), ((200, 0, 0), (0, 200, 0), (0, 0, 200)))
GREY = 100


def result_of(size=(60, 100), mask_id=1, **changes):
    picture = np.full((*size, 3), GREY, np.uint8)
    mask = np.full((30, 50), mask_id, np.uint8)
    result = Result(0, 0, "ok", "file", 0, FrameGeometry(size, (30, 50), "stretch"), mask, picture)
    return replace(result, **changes)


def test_mask_is_blended_half_and_half_in_bgr():
    drawn = Overlay(LABELS).draw(result_of(mask_id=0))

    # the palette is RGB, the picture BGR: red comes last
    assert drawn.shape == (60, 100, 3)
    assert drawn[30, 50].tolist() == [GREY // 2, GREY // 2, (GREY + 200) // 2]


def test_mask_lies_where_the_frame_lies_in_a_letterbox():
    # given a wide frame in a square network input whose upper half of the content is class 2
    mask = np.zeros((64, 64), np.uint8)
    geometry = FrameGeometry((32, 64), (64, 64), "letterbox")
    top, _, height, _ = geometry.content
    mask[top : top + height // 2] = 2

    drawn = Overlay(LABELS).draw(result_of(size=(32, 64), mask=mask, geometry=geometry))

    assert drawn[4, 32].tolist() == [(GREY + 200) // 2, GREY // 2, GREY // 2]
    assert drawn[28, 32].tolist() == [GREY // 2, GREY // 2, (GREY + 200) // 2]


def test_picture_itself_is_left_alone():
    result = result_of()

    Overlay(LABELS).draw(result)

    assert (result.picture == GREY).all()


@pytest.mark.parametrize(("state", "lit"), [("stale", GREY), ("no-signal", 0)])
def test_frames_without_a_mask_are_tagged_and_show_no_older_mask(state, lit):
    overlay = Overlay(LABELS)
    overlay.draw(result_of(size=(240, 320)))
    picture = None if state == "no-signal" else np.full((240, 320, 3), GREY, np.uint8)

    drawn = overlay.draw(result_of((240, 320), state=state, mask=None, picture=picture))

    assert (drawn[120:] == lit).all()
    red = (drawn[:40] == (0, 0, 200)).all(axis=-1)
    assert red.any()


def test_late_results_show_mask_and_tag():
    on_time = Overlay(LABELS).draw(result_of(size=(240, 320))).copy()

    late = Overlay(LABELS).draw(result_of(size=(240, 320), late=True))

    assert (late[:20, :20] != on_time[:20, :20]).any()
    np.testing.assert_array_equal(late[120:], on_time[120:])


def test_legend_shows_only_classes_that_are_present():
    mask = np.zeros((30, 50), np.uint8)
    mask[:, 25:] = 2

    drawn = Overlay(LABELS).draw(result_of(size=(240, 640), mask=mask))

    strip = drawn[-8].reshape(-1, 3).tolist()
    assert [0, 0, 200] in strip  # road, in BGR
    assert [200, 0, 0] in strip  # sky
    assert [0, 200, 0] not in strip  # car


def test_small_pictures_have_no_legend():
    height, width = LEGEND_MIN_SIZE
    drawn = Overlay(LABELS).draw(result_of(size=(height - 1, width)))

    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


def test_ids_without_a_class_darken_the_picture():
    drawn = Overlay(LABELS).draw(result_of(mask_id=255))

    assert (drawn == GREY // 2).all()


def test_size_may_change_between_results():
    overlay = Overlay(LABELS)

    assert overlay.draw(result_of(size=(60, 100))).shape == (60, 100, 3)
    assert overlay.draw(result_of(size=(31, 77))).shape == (31, 77, 3)
