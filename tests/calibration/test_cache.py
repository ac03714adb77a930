from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.policy import POLICIES, place
from calibration.qdq import insert
from edge_runtime.calibration_cache import (
    ALGORITHMS,
    CalibrationCache,
    cache_of,
    explain_cache,
    read_cache,
    version_code,
    version_of,
    write_cache,
)
from edge_runtime.errors import ArtifactError, OptionError
from tests.calibration.graphs import deploy_graph

NAMES = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=30
)
SCALES = st.floats(width=32, min_value=2.0**-126, max_value=2.0**120)


@given(st.dictionaries(NAMES, SCALES, max_size=8), st.sampled_from(ALGORITHMS))
def test_round_trip_is_exact_whatever_the_names(scales, algorithm):
    cache = CalibrationCache(
        (10, 3, 0), algorithm, {name: np.float32(scale) for name, scale in scales.items()}
    )
    text = write_cache(cache)
    assert read_cache(text) == cache
    assert write_cache(read_cache(text)) == text


def test_format_is_tensorrts():
    # given the format's own example: big-endian float32 of amax / 127
    cache = cache_of(
        {"(Unnamed Layer* 8) [Constant]_output": 127.0, "a: b": 6.35}, version=(8, 6, 1)
    )
    lines = write_cache(cache).splitlines()
    assert lines[0] == "TRT-8601-EntropyCalibration2"
    assert lines[1] == "(Unnamed Layer* 8) [Constant]_output: 3f800000"
    assert lines[2] == f"a: b: {struct.pack('>f', np.float32(0.05)).hex()}"


@pytest.mark.parametrize(
    ("version", "code"),
    [((7, 1, 3), 7103), ((8, 5, 2), 8502), ((8, 6, 1), 8601), ((10, 3, 0), 100300),
     ((10, 16, 1), 101601)],
)  # fmt: skip
def test_versions_are_written_as_tensorrt_writes_them(version, code):
    assert version_code(version) == code
    assert version_of(code) == version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("hello\na: 3f800000\n", "starts with TRT-"),
        ("TRT-100300-EntropyCalibration2\na 3f800000\n", "line 2"),
        ("TRT-100300-EntropyCalibration2\na: 3f80000\n", "8 hex digits"),
        ("TRT-100300-EntropyCalibration2\na: 00000000\n", "positive"),
        ("TRT-100300-EntropyCalibration2\na: bf800000\n", "positive"),
        ("TRT-100300-EntropyCalibration2\na: 7fc00000\n", "positive"),
        ("TRT-100300-EntropyCalibration2\na: 3f800000\na: 3f800000\n", "'a' occurs twice"),
    ],
)
def test_damage_is_named_with_its_line(text, message):
    with pytest.raises(ArtifactError, match=message):
        read_cache(text)


def test_qdq_and_cache_hold_the_same_ranges():
    # given a calibrated graph
    model = deploy_graph()
    placement = place(model, POLICIES["trt-gpu"])
    ranges = {t.name: 0.1 + 1.7 * i for i, t in enumerate(placement.tensors)}
    # when its ranges go through a cache and back into a graph
    cache = read_cache(write_cache(cache_of(ranges, version=(10, 3, 0))))
    again = cache_of(cache.ranges, version=(10, 3, 0))
    # then scales are bit-equal, in the cache and in the graph
    assert again == cache
    first, second = (insert(model, placement, r) for r in (ranges, cache.ranges))
    assert first.SerializeToString() == second.SerializeToString()


@pytest.mark.parametrize("amax", [0.0, -1.0, float("nan"), float("inf")])
def test_unusable_ranges_are_not_written(amax):
    with pytest.raises(OptionError, match="'t'"):
        cache_of({"t": amax}, version=(10, 3, 0))


def test_tensorrt_11_gets_no_cache():
    with pytest.raises(OptionError, match="Q/DQ"):
        cache_of({"t": 1.0}, version=(11, 4, 1))


def test_a_cache_is_explained():
    cache = cache_of({"a": 1.0, "old": 2.0}, version=(8, 6, 1), algorithm="MinMaxCalibration")
    verdict = explain_cache(cache, ["a", "b"], target=(10, 3, 0))
    assert (verdict.missing, verdict.extra, verdict.coverage) == (("b",), ("old",), 0.5)
    assert not verdict.accepted
    assert "8.6.1" in verdict.refusals[0]
    assert "does not match calibrator algorithm type" in verdict.refusals[1]
    good = cache_of({"a": 1.0, "b": 2.0}, version=(10, 3, 0))
    assert explain_cache(good, ["a", "b"], target=(10, 3, 0)).accepted
    assert not explain_cache(good, ["a", "b"], target=(11, 1, 0)).accepted
