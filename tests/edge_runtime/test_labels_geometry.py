"""Label sets are consistent; a mask comes back to where its frame was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import OptionError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.labels import CAMVID_11, CAMVID_12, CITYSCAPES_19, LABEL_SETS, LabelSet

sizes = st.tuples(st.integers(1, 700), st.integers(1, 700))


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_builtin_label_set_has_distinct_names_and_colours(labels: LabelSet) -> None:
    assert len(set(labels.names)) == len(labels) == len(set(labels.palette))
    assert labels.ignore_index == 255


def test_label_sets_have_the_published_class_counts() -> None:
    counts = {name: len(labels) for name, labels in LABEL_SETS.items()}
    assert counts == {
        "camvid-11": 11, "camvid-12-authors": 12, "cityscapes-19": 19, "street-8": 8, "voc-21": 21,
    }  # fmt: skip
    assert CAMVID_12.names[:11] == CAMVID_11.names


def test_lookup_table_is_rgb_or_bgr_and_black_without_a_class() -> None:
    mask = np.array([[0, 13], [19, 255]], np.uint8)  # road, car, no class, ignored
    rgb = CITYSCAPES_19.lookup_table()[mask]
    assert rgb.tolist() == [[[128, 64, 128], [0, 0, 142]], [[0, 0, 0], [0, 0, 0]]]
    bgr = CITYSCAPES_19.lookup_table(bgr=True)
    assert bgr[13].tolist() == [142, 0, 0]
    assert bgr.shape == (256, 3)
    assert bgr.dtype == np.uint8
    assert bgr.flags.c_contiguous


@pytest.mark.parametrize(
    ("names", "palette", "complaint"),
    [
        ((), (), "has 0 classes"),
        (("c",) * 256, ((0, 0, 0),) * 256, "has 256 classes"),
        (("a", "b"), ((0, 0, 0),), "2 names but 1 colours"),
        (("a",), ((0, 0),), "not an RGB colour"),
        (("a",), ((0, 0, 256),), "not an RGB colour"),
        (("a",), ((-1, 0, 0),), "not an RGB colour"),
    ],
)
def test_bad_label_set_is_refused(names, palette, complaint) -> None:
    with pytest.raises(OptionError, match=complaint):
        LabelSet("bad", names, palette)


@pytest.mark.parametrize(
    ("frame", "network", "content"),
    [
        ((540, 960), (512, 1024), (0, 57, 512, 910)),  # bars left and right
        ((1920, 1080), (512, 1024), (0, 368, 512, 288)),  # portrait
        ((480, 640), (384, 512), (0, 0, 384, 512)),  # same aspect
        ((100, 400), (128, 128), (48, 0, 32, 128)),  # bars above and below
        ((1, 1), (64, 64), (0, 0, 64, 64)),
        ((1, 4000), (64, 128), (31, 0, 1, 128)),  # thinner than a pixel
    ],
)
def test_letterbox_keeps_the_aspect_and_centres(frame, network, content) -> None:
    assert FrameGeometry(frame, network, "letterbox").content == content


@given(frame=sizes, network=sizes)
def test_letterbox_content_lies_inside_and_touches_two_sides(frame, network) -> None:
    top, left, height, width = FrameGeometry(frame, network, "letterbox").content
    assert height >= 1
    assert width >= 1
    assert top >= 0
    assert left >= 0
    assert top + height <= network[0]
    assert left + width <= network[1]
    assert height == network[0] or width == network[1]


@given(frame=sizes, network=sizes, resize=st.sampled_from(["stretch", "letterbox"]))
def test_mask_has_the_frames_size_and_only_classes_of_its_content(frame, network, resize) -> None:
    geometry = FrameGeometry(frame, network, resize)
    top, left, height, width = geometry.content
    mask = np.full(network, 7, np.uint8)  # 7 marks the bars
    mask[top : top + height, left : left + width] = 3
    found = geometry.mask_to_frame(mask)
    assert found.shape == frame
    assert found.dtype == np.uint8
    assert np.unique(found).tolist() == [3]


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_quadrants_come_back_in_place(resize) -> None:
    # given a portrait frame of four quadrants, as the network sees it
    geometry = FrameGeometry((200, 100), (64, 128), resize)
    top, left, height, width = geometry.content
    mask = np.zeros((64, 128), np.uint8)
    rows = np.arange(height)[:, None] >= height // 2
    columns = np.arange(width)[None, :] >= width // 2
    mask[top : top + height, left : left + width] = 1 + columns + 2 * rows
    # when it is mapped to the frame
    found = geometry.mask_to_frame(mask)
    # then each quadrant fills its own quarter
    expected = np.kron(np.array([[1, 2], [3, 4]], np.uint8), np.ones((100, 50), np.uint8))
    np.testing.assert_array_equal(found, expected)
