"""The verb for calibration caches, through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.cache_convert import graph_ranges, save_cache
from calibration.policy import POLICIES, place
from calibration.qdq import grids_of, insert
from calibration.storage import store_int8
from edge_runtime import cli
from edge_runtime.artifacts import read_manifest
from edge_runtime.calibration_cache import (
    CalibrationCache,
    cache_of,
    load_cache,
    table_of,
    write_cache,
)
from edge_runtime.errors import ArtifactError
from edge_runtime.range_table import read_ranges
from tests.calibration.graphs import deploy_graph, write_model

NAMES = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=30
)
SCALES = st.floats(width=32, min_value=2.0**-126, max_value=2.0**120)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path)


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of a model like `model`; its weights are rounded as TensorRT does with a cache."""
    folder = tmp_path_factory.mktemp("int8")
    output = folder / "int8.onnx"
    assert hyperseg(
        "calibrate", write_model(folder), "--frames", "street:", "--samples", 1, "--method",
        "minmax", "--policy", "trt-gpu", "--rounding", "nearest", "-o", output,
    ) == 0  # fmt: skip
    return output


def hyperseg(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_from_int8_to_a_cache_and_back_is_bit_exact(tmp_path, model, int8, capsys):
    # given an INT8 model
    cache, again = tmp_path / "c.cache", tmp_path / "again.onnx"
    # when its ranges go into a cache, and from there into the float model
    assert hyperseg("calibration-cache", "convert", int8, "-o", cache) == 0
    assert hyperseg("calibration-cache", "convert", model, "--cache", cache, "-o", again) == 0
    # then it is the same model
    assert again.read_bytes() == int8.read_bytes()
    assert read_manifest(again).parents[0].sha256 == read_manifest(model).sha256
    # and the cache is accepted for both of its forms
    capsys.readouterr()
    assert hyperseg("calibration-cache", "explain", model, cache, "--target", "10.3") == 0
    out = capsys.readouterr().out
    assert "covers 100.0 %" in out
    assert out.count("takes it") == 2
    assert hyperseg("calibration-cache", "explain", int8, cache) == 0
    assert "ignores a cache" in capsys.readouterr().out


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("stored", [False, True])
def test_ranges_are_read_back_from_any_of_our_graphs(policy, stored):
    model = deploy_graph()
    placement = place(model, POLICIES[policy])
    ranges = {tensor.name: 0.3 + 1.1 * index for index, tensor in enumerate(placement.tensors)}
    graph = insert(model, placement, ranges)
    found = graph_ranges(store_int8(graph) if stored else graph)
    assert list(found) == [tensor.name for tensor in placement.tensors]
    assert grids_of(placement, found) == grids_of(placement, ranges)


def test_a_float_model_has_no_ranges_to_write(tmp_path, model, capsys):
    assert hyperseg("calibration-cache", "convert", model, "-o", tmp_path / "c.cache") == 2
    assert "no Q/DQ pairs" in capsys.readouterr().err


def test_what_is_missing_and_extra_is_named(tmp_path, model, int8, capsys):
    # given a cache of another TensorRT and algorithm, without one tensor, with two of no model
    complete = graph_ranges(onnx.load_model(int8))
    ranges = {name: amax for name, amax in complete.items() if name != "joined"}
    ranges |= {"ghost: 1": 2.0, "(Unnamed Layer* 8) [Constant]_output": 1.0}
    cache = tmp_path / "old.cache"
    text = write_cache(cache_of(ranges, version=(8, 6, 1), algorithm="MinMaxCalibration"))
    cache.write_bytes(text.encode())
    # when
    code = hyperseg("calibration-cache", "explain", model, cache, "--target", "10.3.0")
    # then
    out = capsys.readouterr().out
    assert code == 1
    assert "missing (1): joined\n" in out
    assert "extra (2): (Unnamed Layer* 8) [Constant]_output, ghost: 1\n" in out
    assert "nothing beside the cache says whose it is" in out
    trtexec, python = out.splitlines()[-2:]
    assert trtexec.startswith("trtexec --calib of TensorRT 10.3.0: header is of TensorRT 8.6.1")
    assert "does not match calibrator algorithm type" in trtexec
    assert "algorithm type" not in python
    assert python.endswith("scales are missing")
    # and it is not half used
    made = tmp_path / "x.onnx"
    assert hyperseg("calibration-cache", "convert", model, "--cache", cache, "-o", made) == 2
    assert "1 tensors have no range, such as 'joined'" in capsys.readouterr().err
    assert not made.exists()


@pytest.mark.parametrize("verb", ["explain", "convert"])
def test_a_cache_of_another_model_is_refused(tmp_path, int8, capsys, verb):
    cache = tmp_path / "c.cache"
    assert hyperseg("calibration-cache", "convert", int8, "-o", cache) == 0
    other = write_model(tmp_path, deploy_graph(seed=3), "other")
    wish = [other, cache] if verb == "explain" else [other, "--cache", cache, "-o", "x.onnx"]
    assert hyperseg("calibration-cache", verb, *wish) == 2
    assert "stale" in capsys.readouterr().err


def test_an_altered_cache_is_refused(tmp_path, model, int8, capsys):
    cache = tmp_path / "c.cache"
    assert hyperseg("calibration-cache", "convert", int8, "-o", cache) == 0
    lines = cache.read_text().splitlines()
    lines[1] = lines[1][:-1] + ("0" if lines[1][-1] != "0" else "1")
    cache.write_text("\n".join(lines))
    assert hyperseg("calibration-cache", "explain", model, cache) == 2
    assert "was altered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (["explain", "MODEL", "none.cache"], "cannot read the cache none.cache"),
        (["explain", "MODEL", "MODEL"], "cannot read the cache"),
        (["explain", "MODEL", "c.cache", "--target", "ten"], "no TensorRT version"),
        (["convert", "MODEL", "-o", "x.onnx"], "with --cache"),
        (["convert", "MODEL", "--cache", "c", "-o", "x.cache"], "with --cache"),
        (["convert", "INT8", "-o", "x.cache", "--target", "11.1.0"], "Q/DQ"),
        (["convert", "INT8", "-o", "none/x.cache"], "no folder none"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, monkeypatch, model, int8, capsys, wish, message):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    known = {"MODEL": str(model), "INT8": str(int8)}
    assert hyperseg("calibration-cache", *[known.get(word, word) for word in wish]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


@settings(max_examples=25, deadline=None)  # each writes files
@given(scales=st.dictionaries(NAMES, SCALES, min_size=1, max_size=8))
def test_files_round_trip_bit_exactly_whatever_the_names(int8, scales):
    # given
    folder, manifest = int8.parent, read_manifest(int8)
    cache = CalibrationCache(
        (10, 3, 0), "EntropyCalibration2", {n: np.float32(s) for n, s in scales.items()}
    )
    # when
    save_cache(folder / "c", cache, "trt-gpu", manifest.sha256)
    # then
    assert load_cache(folder / "c", manifest) == (cache, True)
    assert (folder / "c").read_bytes() == write_cache(cache).encode()
    assert read_ranges(table_of(folder / "c"), manifest).ranges == cache.ranges


def test_a_cache_that_is_no_text_is_refused(tmp_path, model):
    path = tmp_path / "c.cache"
    path.write_bytes(b"TRT-100300-EntropyCalibration2\n\xff: 3f800000\n")
    with pytest.raises(ArtifactError, match="cannot read the cache"):
        load_cache(path, read_manifest(model))


def test_a_shipped_model_is_meant_by_its_name(tmp_path, capsys):
    cache = tmp_path / "c.cache"
    cache.write_text("TRT-100300-EntropyCalibration2\nnobody: 3c010a14\n", encoding="utf-8")

    assert hyperseg("calibration-cache", "explain", "street-edge-n", cache) == 1

    out = capsys.readouterr().out
    assert "quantises in street-edge-n.onnx" in out
    assert "nobody" in out
