"""Laws fitted to measured times, with how far they are off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from export.estimate.devices import Device
from export.estimate.roofline import estimate, traffic_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.scaling import Variant

FITTED_ON = ("base", "resolution")
"""Axes that the peaks of the roofline are found on; the others prove it."""
PEAKS = np.geomspace(2e9, 1e12, 60)
"""Multiply-accumulates a second that are tried."""
BANDWIDTHS = np.geomspace(1e9, 500e9, 60)
"""Bytes a second that are tried."""


QUANTITIES = {
    "resolution": "megapixels",
    "classes": "classes",
    "grid": "patches",
    "cameras": "cameras",
}
"""What each axis changes."""
LEAST_POINTS = 3
"""A line through two points is off by nothing, and says as much."""


def fits(points: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Straight lines: over multiply-accumulates, and over what each axis changes.

    Args:
        points: with ``axis``, ``milliseconds`` and the quantities they have.
    """
    networks = [point for point in points.values() if "gmacs" in point]
    found = {"multiply-accumulates": line(networks, "gmacs")}
    for axis, quantity in QUANTITIES.items():
        chosen = [
            point
            for point in points.values()
            if quantity in point and point["axis"] in (axis, "base")
        ]
        found[axis] = line(chosen, quantity)
    return {name: fit for name, fit in found.items() if fit}


def line(points: Sequence[Mapping[str, Any]], quantity: str) -> dict[str, Any]:
    """``ms = a + b x`` by least squares of relative errors; empty below `LEAST_POINTS`."""
    if len(points) < LEAST_POINTS:
        return {}
    x = np.array([point[quantity] for point in points], np.float64)
    times = np.array([point["milliseconds"]["median"] for point in points])
    terms = np.stack([np.ones_like(x), x], axis=1)
    (a, b), *_ = np.linalg.lstsq(terms / times[:, None], np.ones_like(x), rcond=None)
    errors = np.abs((a + b * x) / times - 1)
    return {
        "x": quantity,
        "a_ms": float(a),
        "b_ms": float(b),
        "points": len(points),
        "mean_error": float(errors.mean()),
        "largest_error": float(errors.max()),
    }


def roofline_errors(variants: Sequence[Variant], times_ms: Sequence[float]) -> dict[str, Any]:
    """The estimate's form with this processor's peaks, found on some axes and tried on the others.

    Args:
        variants: what was measured.
        times_ms: of each.
    """
    chosen = [number for number, one in enumerate(variants) if one.axis in FITTED_ON]
    peak, bandwidth = _peaks(
        [variants[number] for number in chosen], [times_ms[number] for number in chosen]
    )
    here = processor(peak, bandwidth)
    errors = {
        one.name: estimate(one.operators, here, "fp32").fast_ms / measured - 1
        for one, measured in zip(variants, times_ms, strict=True)
    }
    held_out = [one.name for one in variants if one.axis not in FITTED_ON]
    return {
        "gmacs_a_second": peak * 1e-9,
        "gigabytes_a_second": bandwidth * 1e-9,
        "largest_error_fitted": max(
            abs(error) for name, error in errors.items() if name not in held_out
        ),
        "largest_error_held_out": max((abs(errors[name]) for name in held_out), default=0.0),
        "errors": errors,
    }


def processor(peak: float, bandwidth: float) -> Device:
    """A device for `hyperseg estimate` with two peaks of this machine.

    Args:
        peak: FP32 multiply-accumulates a second.
        bandwidth: bytes a second.
    """
    per_top = Device("", "", 1.0, 1.0, 1.0, "").tensor_macs("fp32")
    return Device(
        name="here",
        title="this processor",
        sparse_int8_tops=peak / per_top,
        fp32_tflops=2 * peak * 1e-12,
        bandwidth_gbs=bandwidth * 1e-9,
        source="fitted to measured times",
    )


def _peaks(variants: Sequence[Variant], times_ms: Sequence[float]) -> tuple[float, float]:
    """The two peaks whose largest relative error is least; the times of a grid of them are made."""
    times = np.asarray(times_ms)
    made = np.stack([_times_ms(one) for one in variants])
    worst = np.abs(made / times[:, None, None] - 1).max(axis=0)
    place = np.unravel_index(np.argmin(worst), worst.shape)
    return float(PEAKS[place[0]]), float(BANDWIDTHS[place[1]])


def _times_ms(variant: Variant) -> NDArray[np.float64]:
    """Fast end of the estimate for every pair of peaks, (peaks, bandwidths) float64."""
    counted = [one for one in variant.operators if one.kind != "pointwise"]
    macs = np.array([one.macs for one in counted])
    moved = np.array([traffic_bytes([one], "fp32") for one in counted])
    arithmetic_s = macs / PEAKS[:, None]
    traffic_s = moved / BANDWIDTHS[:, None]
    made: NDArray[np.float64] = 1e3 * np.maximum(
        arithmetic_s[:, None, :], traffic_s[None, :, :]
    ).sum(axis=-1)
    return made
