"""Which way weights are rounded: each to the nearest integer, or so that outputs err least.

Rounding one weight makes an error that the weights not yet rounded can take back, as far as their
inputs go together. How they do is told by the second moments of the inputs, and the best
compensation then has a closed form (optimal brain surgeon; GPTQ). Scales stay as they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 127
"""Largest integer of a weight, to either side."""
DAMPING = 0.01
"""Added to the moments' diagonal, as a share of its mean: what few frames showed is not trusted."""
BLOCK = 64
"""Columns rounded before the rest of the matrix is brought up to date in one product."""


def round_nearest(weight: NDArray[np.floating], scales: NDArray[np.floating]) -> NDArray[np.int8]:
    """Each weight to the integer nearest to it, half to even, as QuantizeLinear does.

    Args:
        weight: (..., K).
        scales: (..., 1), above 0.
    """
    return np.asarray(np.clip(np.rint(weight / scales), -STEPS - 1, STEPS), np.int8)


def round_adaptively(
    weight: NDArray[np.floating], scales: NDArray[np.floating], moments: NDArray[np.float64]
) -> NDArray[np.int8]:
    """Weights to integers such that the outputs over the inputs seen err least, row by row.

    A row that the nearest integers serve better keeps them: no row gets worse on what was seen.

    Args:
        weight: (G, O, K): groups, outputs of a group, inputs of a group.
        scales: (G, O, 1), above 0.
        moments: (G, K, K) sums of ``x x^T`` over the quantised inputs.

    Returns:
        (G, O, K) int8.
    """
    values, steps = weight.astype(np.float64), scales.astype(np.float64)
    nearest = round_nearest(weight, scales)
    order = np.argsort(-np.diagonal(moments, axis1=1, axis2=2), axis=1, kind="stable")
    columns = order[:, None, :]
    inverse = _inverse_factor(
        np.take_along_axis(np.take_along_axis(moments, columns, 2), order[:, :, None], 1)
    )
    ordered = np.take_along_axis(values, np.broadcast_to(columns, values.shape), 2)
    integers = np.empty_like(ordered)
    for start in range(0, ordered.shape[2], BLOCK):
        stop = min(start + BLOCK, ordered.shape[2])
        errors = _round_block(ordered, integers, inverse, steps, start, stop)
        ordered[:, :, stop:] -= errors @ inverse[:, start:stop, stop:]
    back = np.argsort(order, axis=1)[:, None, :]
    found = np.take_along_axis(integers, np.broadcast_to(back, values.shape), 2)
    better = output_error(values - steps * found, moments) < output_error(
        values - steps * nearest, moments
    )
    return np.where(better[:, :, None], found, nearest).astype(np.int8)


def output_error(
    difference: NDArray[np.float64], moments: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(G, O) summed squared errors of the outputs when the weights are off by (G, O, K)."""
    return np.asarray(((difference @ moments) * difference).sum(axis=2))


def _inverse_factor(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """(G, K, K) upper triangular U with ``U^T U`` the inverse of the damped moments."""
    count = moments.shape[1]
    diagonal = np.diagonal(moments, axis1=1, axis2=2)
    # An input that was always zero says nothing of its weights: a unit moment leaves them alone.
    extra = DAMPING * diagonal.mean(axis=1, keepdims=True) + (diagonal == 0)
    damped = moments + extra[:, :, None] * np.eye(count)
    # With both axes reversed, the inverse of a lower factor becomes the upper factor wanted.
    lower = np.linalg.cholesky(damped[:, ::-1, ::-1])
    return np.asarray(np.linalg.inv(lower)[:, ::-1, ::-1])


def _round_block(
    ordered: NDArray[np.float64],
    integers: NDArray[np.float64],
    inverse: NDArray[np.float64],
    steps: NDArray[np.float64],
    start: int,
    stop: int,
) -> NDArray[np.float64]:
    """Round columns `start` to `stop` in place; returns (G, O, stop - start) weighted errors."""
    errors = np.empty((*ordered.shape[:2], stop - start))
    for column in range(start, stop):
        current = ordered[:, :, column]
        chosen = np.clip(np.rint(current / steps[:, :, 0]), -STEPS, STEPS)
        integers[:, :, column] = chosen
        error = (current - chosen * steps[:, :, 0]) / inverse[:, None, column, column]
        errors[:, :, column - start] = error
        ordered[:, :, column:stop] -= error[:, :, None] * inverse[:, None, column, column:stop]
    return errors
