"""Distributions in fixed memory, and stages that tile the interval from capture to publish."""

import math

import numpy as np
import pytest

from edge_runtime.timing import (
    LONGEST_MS,
    PERMILLE,
    SHORTEST_MS,
    STAGES,
    FrameStamps,
    Series,
    nearest_rank,
)

MS = 1_000_000


def smallest_that_covers(values, permille):
    """Nearest rank by its definition, without arithmetic on ranks."""
    ordered = np.sort(values)
    covered = np.arange(1, len(ordered) + 1) * 1000
    return ordered[covered >= permille * len(ordered)][0]


def series_of(values_ms):
    series = Series()
    for value in values_ms:
        series.add_ns(round(value * MS))
    return series


@pytest.mark.parametrize("n", [10_000, 12_345])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_percentiles_are_those_of_nearest_rank_to_a_thousandth(n, seed):
    # given durations as skewed as real latencies are
    values = np.random.default_rng(seed).lognormal(3.0, 0.6, n)

    series = series_of(values)

    for name, permille in PERMILLE.items():
        exact = smallest_that_covers(values, permille)
        assert series.percentile_ms(name) == pytest.approx(exact, rel=0.00101), name


def test_percentile_takes_no_neighbouring_rank():
    # given ranks that are far apart, so that one rank too low or too high shows
    values = [float(10 * rank + 10) for rank in range(200)]

    series = series_of(values)

    for name in ("p50", "p90", "p95"):
        exact = smallest_that_covers(values, PERMILLE[name])
        assert series.percentile_ms(name) == pytest.approx(exact, rel=0.00101)


@pytest.mark.parametrize(("n", "permille", "index"), [
    (1, 500, 0), (2, 500, 0), (3, 500, 1), (100, 990, 98), (101, 990, 99), (110, 900, 98),
    (10_000, 999, 9989),
])  # fmt: skip
def test_nearest_rank_is_exact_at_its_edges(n, permille, index):
    assert nearest_rank(n, permille) == index


@pytest.mark.parametrize(
    ("name", "needed"), [("p50", 20), ("p90", 100), ("p95", 200), ("p99", 1000), ("p999", 10_000)]
)
def test_percentile_is_null_until_the_sample_is_large_enough(name, needed):
    series = series_of([1.0] * (needed - 1))
    assert series.percentile_ms(name) is None

    series.add_ns(MS)

    assert series.percentile_ms(name) == pytest.approx(1.0, rel=0.001)


def test_mean_std_min_and_max_are_exact():
    values = np.random.default_rng(5).gamma(2.0, 8.0, 500)

    figures = series_of(values).distribution()

    assert figures.n == 500
    assert figures.mean == pytest.approx(values.mean(), rel=1e-6)
    assert figures.std == pytest.approx(values.std(), rel=1e-5)
    assert figures.min == pytest.approx(values.min(), rel=1e-5)
    assert figures.max == pytest.approx(values.max(), rel=1e-6)


def test_durations_out_of_range_are_clamped_and_counted():
    series = series_of([0.0, 0.0005, 5.0, 90_000.0])

    figures = series.distribution()

    assert series.clamped == 2
    assert (figures.min, figures.max) == (0.0, 90_000.0)


def test_percentiles_lie_between_minimum_and_maximum():
    figures = series_of([0.0] * 100).distribution()

    assert figures.p50 == 0.0
    assert figures.p90 == 0.0


def test_no_values_is_all_null():
    figures = Series().distribution()

    assert figures.n == 0
    assert figures.mean is figures.p50 is figures.max is None


def test_added_series_equal_one_series_of_all_values():
    values = np.random.default_rng(1).lognormal(2.0, 1.0, 2000)
    one, total = series_of(values), series_of(values[:700])

    total.merge(series_of(values[700:]))
    total.merge(Series())

    found, expected = total.distribution(), one.distribution()
    assert (found.n, found.p50, found.p99) == (expected.n, expected.p50, expected.p99)
    assert found.mean == pytest.approx(expected.mean)
    assert found.std == pytest.approx(expected.std)
    assert (found.min, found.max) == (expected.min, expected.max)


def test_memory_is_bounded_by_the_range_not_by_the_number():
    # given durations over the whole range
    series = series_of([SHORTEST_MS, LONGEST_MS])
    bins = len(series._sketch._store.bins)

    for value in np.random.default_rng(0).lognormal(1.0, 5.0, 5000):
        series.add_ns(round(value * MS))

    assert len(series._sketch._store.bins) == bins
    assert bins < 9100
    assert bins > math.log(LONGEST_MS / SHORTEST_MS) / 0.002


def test_stages_tile_the_interval_from_capture_to_publish():
    # given stamps with uneven steps
    rng = np.random.default_rng(3)
    stamps = FrameStamps(*(10_000 + np.cumsum(rng.integers(0, 5 * MS, 11))).tolist())

    durations = dict(zip(STAGES, stamps.stages_ns(), strict=True))

    assert sum(durations.values()) == stamps.publish - stamps.capture
    assert min(durations.values()) >= 0
    result, pipeline, engine, age = stamps.latencies_ns()
    assert result == stamps.publish - stamps.capture
    assert pipeline == result - durations["arrival"]
    assert engine == durations["h2d"] + durations["infer"] + durations["d2h"]
    assert age == stamps.h2d_end - stamps.capture
