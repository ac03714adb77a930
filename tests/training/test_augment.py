"""Views are drawn from the sample's generator alone, and image and labels stay together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import OptionError
from training.data.augment import (
    augment,
    draw_rare_pixel,
    draw_region,
    paste_classes,
    photometric,
    sample_generator,
)
from training.options import AugmentOptions

GEOMETRY_ONLY = AugmentOptions(crop=(40, 56), scale=(0.5, 2.0), jitter=0, blur=0, noise=0)
COLOURS = np.zeros((256, 3), np.uint8)
COLOURS[:5] = [[10, 20, 30], [200, 40, 60], [90, 190, 20], [30, 60, 220], [250, 250, 120]]


def blocks(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of 5 classes in blocks of 12 x 12 pixels, and a picture with a colour per class."""
    rows, columns = np.arange(height)[:, None] // 12, np.arange(width)[None] // 12
    labels = ((rows * 2 + columns) % 5).astype(np.uint8)
    return COLOURS[labels], labels


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), size=st.tuples(st.integers(20, 90), st.integers(20, 120)))
def test_unscaled_view_keeps_every_pixel_with_its_label(seed, size):
    # given: crops smaller and larger than the picture
    image, labels = blocks(*size)
    options = replace(GEOMETRY_ONLY, scale=(1.0, 1.0))

    # when
    view, ids = augment(image, labels, options, np.random.default_rng(seed))

    # then: padding is black under ignored labels, everything else has its label's colour
    assert view.shape == (40, 56, 3)
    assert view.dtype == ids.dtype == np.uint8
    np.testing.assert_array_equal(view, COLOURS[ids])
    missing = max(40 - size[0], 0) * 56 + max(56 - size[1], 0) * min(40, size[0])
    assert (ids == 255).sum() == missing


def test_zoomed_view_keeps_image_and_labels_aligned():
    image, labels = blocks(90, 120)
    for seed in range(30):
        view, ids = augment(image, labels, GEOMETRY_ONLY, np.random.default_rng(seed))

        # Only pixels on the blocks' borders may mix colours; zoom 0.5 makes blocks of 6 pixels.
        same = (np.abs(view.astype(int) - COLOURS[ids]).max(axis=2) < 30).mean()
        assert same > 0.75, f"seed {seed}"
        assert set(np.unique(ids)) <= {0, 1, 2, 3, 4, 255}


def test_flip_mirrors_both():
    image, labels = blocks(40, 56)
    options = replace(GEOMETRY_ONLY, scale=(1.0, 1.0), flip=1.0)

    view, ids = augment(image, labels, options, np.random.default_rng(0))

    np.testing.assert_array_equal(view, image[:, ::-1])
    np.testing.assert_array_equal(ids, labels[:, ::-1])


def test_same_place_in_the_run_gives_the_same_view():
    image, labels = blocks(90, 120)
    options = AugmentOptions(crop=(40, 56), blur=0.5, noise=0.5)

    def view(*place):
        return augment(image, labels, options, sample_generator(*place))[0]

    np.testing.assert_array_equal(view(1, 2, 3), view(1, 2, 3))
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        assert (view(1, 2, 3) != view(*other)).any()


@given(seed=st.integers(0, 1000))
def test_region_lies_in_the_picture_or_the_picture_in_the_region(seed):
    region = draw_region((64, 64), GEOMETRY_ONLY, np.random.default_rng(seed))

    for start, extent in ((region.top, region.height), (region.left, region.width)):
        end = start + extent
        assert (start >= 0 and end <= 64) or (start <= 0 and end >= 64)
    assert 20 <= region.height <= 80


def test_zoom_covers_its_range_evenly_in_ratio():
    rng = np.random.default_rng(0)
    zooms = [40 / draw_region((99, 99), GEOMETRY_ONLY, rng).height for _ in range(2000)]

    assert min(zooms) == pytest.approx(0.5, abs=0.02)
    assert max(zooms) == pytest.approx(2.0, abs=0.1)
    assert np.mean(np.array(zooms) < 1) == pytest.approx(0.5, abs=0.05)


def test_photometric_stays_near_the_picture():
    image, _ = blocks(60, 60)
    options = AugmentOptions(jitter=0.2, blur=1.0, noise=1.0)
    for seed in range(20):
        view = photometric(image, options, np.random.default_rng(seed))

        assert view.dtype == np.uint8
        assert view.shape == image.shape
        assert 1 < np.abs(view.astype(int) - image).mean() < 60


def test_photometric_off_returns_the_picture():
    image, _ = blocks(60, 60)

    view = photometric(image, GEOMETRY_ONLY, np.random.default_rng(0))

    np.testing.assert_array_equal(view, image)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("crop", (4, 100), "too small"),
        ("scale", (2.0, 0.5), "ordered range"),
        ("flip", 1.5, r"flip is 1.5; expected 0..1"),
    ],
)
def test_options_refuse_what_cannot_work(field, value, message):
    with pytest.raises(OptionError, match=message):
        AugmentOptions(**{field: value})


def test_rotation_keeps_image_and_labels_aligned():
    image, labels = blocks(90, 120)
    options = replace(GEOMETRY_ONLY, scale=(1.0, 1.0), rotate=30.0)
    turned = 0
    for seed in range(20):
        view, ids = augment(image, labels, options, np.random.default_rng(seed))

        same = (np.abs(view.astype(int) - COLOURS[ids]).max(axis=2) < 30).mean()
        assert same > 0.75, f"seed {seed}"
        turned += bool((ids[:, 1:] != ids[:, :-1]).any(axis=0).mean() > 0.5)
    assert turned > 10  # upright blocks have borders in one column of twelve only


def test_zoom_follows_its_law_and_probability():
    uniform = replace(GEOMETRY_ONLY, scale_law="uniform", scale=(0.25, 2.0))
    rare = replace(uniform, scale_probability=0.25)
    rng = np.random.default_rng(0)

    zooms = np.array([40 / draw_region((400, 400), uniform, rng).height for _ in range(2000)])
    kept = np.array([draw_region((400, 400), rare, rng).height == 40 for _ in range(2000)])

    assert zooms.min() < 0.3
    assert zooms.mean() == pytest.approx(1.125, abs=0.05)  # on a log scale it would be 0.84
    assert kept.mean() == pytest.approx(0.75, abs=0.05)


def test_hue_turns_colours_and_leaves_grey():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = 128
    image[4:, :, 0] = 200  # red

    options = replace(GEOMETRY_ONLY, hue=0.5)
    views = [photometric(image, options, np.random.default_rng(seed)) for seed in range(8)]

    assert all((view[:4] == 128).all() for view in views)
    assert len({tuple(view[5, 0]) for view in views}) == 8
    assert all(view[4:].max() == 200 for view in views)


def test_rare_class_is_in_the_middle_of_its_crop():
    # given: one small patch of class 3, which is rare in the data set
    labels = np.zeros((200, 300), np.uint8)
    labels[100:104, 150:154] = 3
    image = COLOURS[labels]
    frequencies = np.array([0.9, 0.05, 0.049, 0.001])
    options = replace(GEOMETRY_ONLY, scale=(1.0, 1.0), flip=0.0, rare_crops=1.0)

    found = [
        augment(image, labels, options, np.random.default_rng(seed), frequencies)[1][18:23, 26:31]
        for seed in range(40)
    ]

    share = np.mean([(ids == 3).any() for ids in found])
    assert share > 0.9  # of the two classes here, 3 is drawn 900 times in 901


def test_rare_crop_stays_inside_the_picture():
    labels = np.zeros((90, 120), np.uint8)
    labels[0, 0] = 1
    region = draw_region(labels.shape, GEOMETRY_ONLY, np.random.default_rng(0), centre=(0, 0))

    assert (region.top, region.left) == (0, 0)
    assert draw_rare_pixel(labels, np.array([1.0, 0.0]), np.random.default_rng(0)) is not None


def test_rare_pixel_is_drawn_by_inverse_frequency_and_from_labelled_pixels_only():
    labels = np.full((20, 20), 255, np.uint8)
    assert draw_rare_pixel(labels, np.array([0.5, 0.5]), np.random.default_rng(0)) is None

    labels[:, :10], labels[:, 10:18] = 0, 1
    rng = np.random.default_rng(1)
    frequencies = np.array([0.75, 0.25])
    drawn = [labels[draw_rare_pixel(labels, frequencies, rng)] for _ in range(2000)]
    assert np.mean(np.array(drawn) == 1) == pytest.approx(0.75, abs=0.05)


def test_rare_crops_change_nothing_when_they_are_off():
    image, labels = blocks(90, 120)
    frequencies = np.full(5, 0.2)

    off = augment(image, labels, GEOMETRY_ONLY, np.random.default_rng(3), frequencies)
    unknown = augment(image, labels, GEOMETRY_ONLY, np.random.default_rng(3))

    np.testing.assert_array_equal(off[0], unknown[0])
    np.testing.assert_array_equal(off[1], unknown[1])


def test_pasted_classes_come_whole_and_nothing_else_changes():
    # given: two views, the second with four classes of which some pixels are unlabelled
    below = (np.zeros((40, 60, 3), np.uint8), np.full((40, 60), 9, np.uint8))
    ids = np.repeat(np.repeat(np.array([[0, 1], [2, 3]], np.uint8), 20, 0), 30, 1)
    ids[:5] = 255
    above = (np.full((40, 60, 3), 200, np.uint8), ids)

    # when
    image, labels = paste_classes(below, above, np.random.default_rng(0))

    # then: two of the four, each with all its pixels, and pixels and labels together
    pasted = [k for k in range(4) if (labels == k).any()]
    assert len(pasted) == 2
    inside = np.isin(ids, pasted)
    np.testing.assert_array_equal(labels, np.where(inside, ids, 9))
    np.testing.assert_array_equal(image[..., 0], np.where(inside, 200, 0))


def test_a_picture_without_labels_pastes_nothing():
    below = (np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8))
    above = (np.full((8, 8, 3), 9, np.uint8), np.full((8, 8), 255, np.uint8))

    image, labels = paste_classes(below, above, np.random.default_rng(0))

    assert not image.any()
    assert (labels == 1).all()
