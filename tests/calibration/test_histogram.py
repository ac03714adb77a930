from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.cli import METHOD_NAMES, POLICY_NAMES, SPLIT_NAMES
from calibration.histogram import BINS, TensorStatistics
from calibration.labelled import SPLITS
from calibration.methods import METHODS, amax_of, entropy_bins, mse_bins, percentile_bins
from calibration.options import METHOD_CHOICES
from calibration.policy import POLICIES


def statistics_of(*pieces: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics()
    for piece in pieces:
        statistics.add(np.asarray(piece, np.float32))
    return statistics


def test_the_command_line_offers_what_there_is():
    assert METHOD_NAMES == METHOD_CHOICES
    assert tuple(POLICIES) == POLICY_NAMES
    assert SPLIT_NAMES == SPLITS


@given(st.permutations([1e-4, 3.0, -70.0, 0.0, 900.0, -2e-3]))
def test_counts_do_not_depend_on_the_order(values):
    # given the same values in any order, growing or not
    found = statistics_of(*([v] for v in values))
    wanted = statistics_of(sorted(values))
    # then
    assert found.exponent == wanted.exponent
    np.testing.assert_array_equal(found.counts, wanted.counts)


def test_counts_are_numpys_histogram():
    values = np.random.default_rng(0).normal(0, 3, (7, 5000)).astype(np.float32)
    statistics = statistics_of(*values)
    wanted, _ = np.histogram(np.abs(values), BINS, (0, math.ldexp(1.0, statistics.exponent)))
    np.testing.assert_array_equal(statistics.counts, wanted)
    assert statistics.largest == np.abs(values).max()


def test_zeros_do_not_coarsen_the_range():
    statistics = statistics_of(np.zeros(10), np.full(10, 1e-6), np.zeros(3))
    assert statistics.width < 1e-6 / 1000
    assert statistics.counts[0] == 13


def test_broken_values_are_counted_and_left_out():
    statistics = statistics_of([1.0, math.nan, -math.inf, math.inf, 2.0, 70000.0])
    assert (statistics.nans, statistics.infinities, statistics.beyond_fp16) == (1, 2, 1)
    assert statistics.counts.sum() == 3
    assert statistics.largest == 70000.0
    assert statistics_of([math.nan]).all_zero


def test_moving_average_follows_the_frames():
    statistics = statistics_of([1.0], [2.0], [-4.0])
    assert statistics.average == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 4)


def test_an_outlier_is_clipped_by_all_but_minmax():
    # given a normal distribution and one value far out
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    values[0] = 100.0
    statistics = statistics_of(values)
    # when
    found = {method: amax_of(statistics, method) for method in METHODS}
    # then
    assert found["minmax"] == found["average"] == 100.0
    assert 3.5 < found["percentile"] < 4.3
    assert 2.5 < found["entropy"] < 20
    assert 3.0 < found["mse"] < 60


def test_mse_of_a_uniform_distribution_keeps_nearly_all_of_it():
    # rounding costs step ** 2 / 12 everywhere, so that clipping anything costs more
    assert mse_bins(np.ones(4096), 128) >= 4000


@pytest.mark.parametrize(("bits", "clip"), [(8, 3.89), (4, 2.55)])
def test_mse_finds_the_known_optimum_for_a_normal_distribution(bits, clip):
    # given |x| of a normal distribution, 8 sigma over the histogram
    centres = (np.arange(4096) + 0.5) * 8 / 4096
    counts = np.exp(-(centres**2) / 2) * 1e6
    # when
    found = mse_bins(counts, 2 ** (bits - 1)) * 8 / 4096
    # then it is the clipping value of Banner et al. (2018)
    assert found == pytest.approx(clip, abs=0.16)


def test_entropy_keeps_a_uniform_distribution_whole():
    assert entropy_bins(np.ones(2048), 128) == 2048


def test_percentile_counts_values():
    counts = np.zeros(100)
    counts[:10] = 99.9 / 10
    counts[99] = 0.1
    assert percentile_bins(counts, 99.0) == 10
    assert percentile_bins(counts, 99.95) == 100


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_gets_a_usable_range(method):
    assert amax_of(statistics_of(np.zeros(5)), method) == 1.0
