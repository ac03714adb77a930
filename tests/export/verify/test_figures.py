"""The figures and gates of the parity chain on numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from export.verify.figures import (
    Answer,
    Floor,
    Tally,
    boundary,
    clear_pixels,
    judge,
)

SCORES = np.zeros((2, 2, 4), np.float64)
SCORES[0, :, :2] = 1.0
SCORES[1, :, 2:] = 1.0


def answer(scores: np.ndarray) -> Answer:
    return Answer(scores.argmax(0).astype(np.uint8), scores)


def tally(error: float) -> Tally:
    result = Tally()
    result.add(answer(SCORES), answer(SCORES + error), np.ones((2, 4), bool))
    return result


def test_figures_are_what_they_are_called():
    found = SCORES + 0.1
    found[0, 0, 0] = -1.0
    result = Tally()
    result.add(answer(SCORES), answer(found), np.ones((2, 4), bool))
    figures = result.figures()
    assert figures.max_abs_error == 2.0
    assert figures.rms_error == pytest.approx(np.sqrt((15 * 0.01 + 4.0) / 16))
    assert figures.mean_abs_error == pytest.approx((15 * 0.1 + 2.0) / 16)
    assert figures.agreement == figures.clear_agreement == 7 / 8
    signal = np.sqrt(8 / 16)
    assert figures.sqnr_db == pytest.approx(20 * np.log10(signal / figures.rms_error))


def test_boundaries_are_counted_apart():
    mask = np.zeros((1, 9), np.uint8)
    mask[0, 5:] = 1
    assert boundary(mask, 2).tolist() == [[0, 0, 0, 1, 1, 1, 1, 0, 0]]
    moved = np.zeros((1, 9), np.uint8)
    moved[0, 4:] = 1
    result = Tally()
    result.add(Answer(mask), Answer(moved))
    figures = result.figures()
    assert figures.boundary_agreement == 3 / 4
    assert figures.agreement == pytest.approx(8 / 9)
    assert figures.rms_error is figures.sqnr_db is None


def test_one_class_has_no_boundary():
    result = Tally()
    result.add(Answer(np.zeros((4, 4), np.uint8)), Answer(np.zeros((4, 4), np.uint8)))
    assert result.figures().boundary_agreement is None


@pytest.mark.parametrize(
    ("error", "status"), [(0.0, "passed"), (0.039, "passed"), (0.05, "failed")]
)
def test_the_gate_is_a_multiple_of_the_floor(error, status):
    assert judge(tally(error), Floor.of([tally(0.01)]), allowance=4).status == status


def test_a_chaotic_network_is_neither_passed_nor_failed():
    verdict = judge(tally(0.2), Floor.of([tally(0.2)]))
    assert verdict.status == "undecided"
    assert "28 %" in verdict.reasons[0]


def test_flips_beyond_the_floors_own_fail_without_any_scores():
    floor = Floor(rms=1e-6, largest=1e-5, signal=1.0, flips=0.0)
    mask = np.zeros((100, 100), np.uint8)
    moved = mask.copy()
    moved[0, :5] = 1
    result = Tally()
    result.add(Answer(mask), Answer(moved))
    verdict = judge(result, floor)
    assert verdict.status == "failed"
    assert "0.05 % of the pixels" in verdict.reasons[0]


def test_a_clear_pixel_may_not_flip():
    clear = clear_pixels(answer(SCORES), 0.1)
    assert clear.all()
    assert not clear_pixels(answer(SCORES), 0.2).any()
    flipped = SCORES[::-1].copy()
    result = Tally()
    result.add(answer(SCORES), answer(flipped), clear)
    verdict = judge(result, Floor(rms=10.0, largest=10.0, signal=1e3, flips=1.0))
    assert verdict.reasons == ("8 pixels change class that rounding cannot change",)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_fail_whatever_the_floor(value):
    # given: a class that never wins, so that no pixel changes
    reference = np.concatenate([SCORES, np.full((1, 2, 4), -9.0)])
    found = reference.copy()
    found[2] = value
    mask = answer(SCORES).mask
    result = Tally()
    result.add(Answer(mask, reference), Answer(mask, found), np.ones((2, 4), bool))

    verdict = judge(result, Floor(rms=1.0, largest=10.0, signal=1e3, flips=1.0))

    assert verdict.status == "failed"
    assert verdict.reasons == ("8 scores are NaN or infinite",)
    figures = result.figures()
    assert figures.non_finite == 8
    assert figures.max_abs_error is figures.rms_error is figures.sqnr_db is None


def test_scores_of_another_size_must_be_numbers_too():
    mask = np.zeros((2, 4), np.uint8)
    result = Tally()
    result.add(Answer(mask), Answer(mask, coarse=np.full((2, 1, 2), np.nan)))
    assert judge(result, Floor.of([tally(0.01)])).status == "failed"


def test_a_floor_that_is_no_number_lets_nothing_pass():
    trial = Tally()
    trial.add(answer(SCORES), Answer(answer(SCORES).mask, SCORES * np.nan))
    floor = Floor.of([trial, tally(0.01)])
    verdict = judge(tally(5.0), floor)
    assert floor.rms == pytest.approx(0.01)
    assert verdict.status == "undecided"
    assert verdict.reasons == ("rounding alone makes 16 scores NaN or infinite",)


def test_the_worst_trial_makes_the_floor():
    floor = Floor.of([tally(0.01), tally(0.03)])
    assert floor.rms == pytest.approx(0.03)
    assert floor.finer(0.5).rms == pytest.approx(0.015)
