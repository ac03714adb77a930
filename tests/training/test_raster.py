"""Polygons and run lengths cover the pixels that their definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.importers.raster import decode_rle, fill_circle, fill_polygon


def test_run_lengths_as_the_reference_writes_them() -> None:
    # given: a pattern, and what COCO's own tools write for it
    expected = np.zeros((12, 17), bool)
    expected[2:9, 3:14] = True
    expected[4, 5] = False
    expected[::3, ::2] ^= True
    text = "01200000<0D0000026OJN001013OM22MN0010134OJN0010134OJN0010134OJN0010134OJO00000<0D000000"

    np.testing.assert_array_equal(decode_rle(text, 12, 17), expected)
    columns = expected.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], columns]).astype(int)))
    plain = np.diff([0, *edges, columns.size]).tolist()
    np.testing.assert_array_equal(decode_rle(plain, 12, 17), expected)


@pytest.mark.parametrize("counts", [[1, 2], [-1, 7], "", "0~", "P", "0" * 30])
def test_run_lengths_that_do_not_fit_are_refused(counts: list[int] | str) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        decode_rle(counts, 2, 3)


@settings(max_examples=80, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(-5, 15), st.floats(-5, 15)), min_size=3, max_size=7),
)
def test_polygons_cover_the_pixels_whose_centres_they_contain(
    points: list[tuple[float, float]],
) -> None:
    filled = fill_polygon(points, 8, 10)

    for row, column in np.ndindex(8, 10):
        x, y, inside = column + 0.5, row + 0.5, False
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
            if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x:
                inside = not inside
        assert filled[row, column] == inside


def test_a_circle_has_its_area() -> None:
    assert fill_circle((50, 40), 30, 100, 100).sum() == pytest.approx(np.pi * 900, rel=0.01)
