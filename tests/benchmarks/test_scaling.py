"""The laws that are fitted to measured times, and what they are fitted to."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from benchmarks.scaling import variants
from benchmarks.scaling_fits import LEAST_POINTS, fits, line, processor, roofline_errors
from export.estimate.roofline import estimate


def point(axis, ms, **quantities):
    return {"axis": axis, "milliseconds": {"median": ms, "min": ms, "max": ms}, **quantities}


def test_a_straight_line_is_found_and_so_is_how_far_it_is_off():
    # given 3 ms + 20 ms for each unit, and one point 10 % beside it
    points = [point("resolution", 3 + 20 * x, gmacs=x) for x in (0.5, 1.0, 2.0, 4.0)]
    exact = line(points, "gmacs")
    bent = line([*points[:-1], point("resolution", 83 * 1.1, gmacs=4.0)], "gmacs")

    assert (exact["a_ms"], exact["b_ms"]) == pytest.approx((3, 20))
    assert exact["largest_error"] == pytest.approx(0, abs=1e-9)
    assert 0.01 < bent["largest_error"] < 0.1


def test_every_axis_is_fitted_over_what_it_changes():
    points = {
        "base": point("base", 20.0, gmacs=1.0, megapixels=0.1, classes=19, patches=128),
        "a": point("classes", 22.0, gmacs=1.0, megapixels=0.1, classes=39, patches=128),
        "b": point("classes", 30.0, gmacs=1.1, megapixels=0.1, classes=119, patches=128),
        "c": point("grid", 21.0, gmacs=1.0, megapixels=0.1, classes=19, patches=64),
        **{f"{n}": point("cameras", 5.0 + 15 * n, cameras=n) for n in (1, 2, 4)},
    }

    found = fits(points)

    # too few points say nothing, and none is compared with what it is not
    assert set(found) == {"multiply-accumulates", "classes", "cameras"}
    assert found["multiply-accumulates"]["points"] == 4
    assert (found["classes"]["a_ms"], found["classes"]["b_ms"]) == pytest.approx((18.1, 0.1))
    assert found["cameras"]["b_ms"] == pytest.approx(15)
    assert line(list(points.values())[: LEAST_POINTS - 1], "gmacs") == {}


def test_variants_differ_from_the_network_in_one_thing():
    base, *others = variants("edge-n", (256, 512), quick=True)

    assert base.name == "base"
    assert {one.axis for one in others} == {"resolution", "classes", "grid"}
    for one in others:
        assert (one.size == base.size) == (one.axis != "resolution")
        assert (one.config == base.config) == (one.axis == "resolution")
    by_name = {one.name: one for one in others}
    assert by_name["resolution 512x1024"].gmacs == pytest.approx(4 * base.gmacs, rel=0.01)
    assert (base.patches, by_name["grid 8x8"].patches) == (8 * 16, 64)


def test_the_roofline_of_the_estimate_finds_its_own_peaks_and_shows_another_law():
    # given times that the estimate itself would make on a processor
    chosen = variants("edge-n", (256, 512), quick=True)
    here = processor(peak=60e9, bandwidth=10e9)
    times = [estimate(one.operators, here, "fp32").fast_ms for one in chosen]

    own = roofline_errors(chosen, times)
    # and times of a machine to which classes cost three times as much
    other = roofline_errors(
        chosen,
        [ms * (3 if one.axis == "classes" else 1) for one, ms in zip(chosen, times, strict=True)],
    )

    assert own["gmacs_a_second"] == pytest.approx(60, rel=0.2)
    assert own["gigabytes_a_second"] == pytest.approx(10, rel=0.2)
    assert own["largest_error_fitted"] < 0.1
    assert own["largest_error_held_out"] < 0.1
    assert other["largest_error_held_out"] > 0.5
    assert max(other["errors"], key=lambda name: abs(other["errors"][name])).startswith("classes")
