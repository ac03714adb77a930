"""Calibration caches at the door of `hyperseg build`: what TensorRT would ignore is refused."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from edge_runtime.artifacts import TensorSpec, create_artifact, sha256_of
from edge_runtime.calibration_cache import ALGORITHMS, cache_of, table_of, write_cache
from edge_runtime.cli import main
from edge_runtime.range_table import RangeTable, write_ranges
from export.tensorrt.adapter import cache_calibrator
from tests.export.graphs import segmenter

VERSION = (10, 3, 0)


@pytest.fixture
def model(tmp_path, manifest) -> Path:
    path = tmp_path / "m.onnx"
    content = segmenter(size=64).SerializeToString()
    described = replace(manifest, inputs=(TensorSpec("frame", (1, 64, 64, 3), "uint8"),))
    create_artifact(path, described, lambda part: part.write_bytes(content))
    return path


@pytest.fixture
def read_by_convolutions() -> list[str]:
    return [node.input[0] for node in segmenter(size=64).graph.node if node.op_type == "Conv"]


def explained(model: Path, cache: Path) -> int:
    """The plan of a build with that cache, for the TensorRT of JetPack 6.2."""
    return main(
        ["build", str(model), "--precision", "int8", "--typing", "weak", "--calibration-cache",
         str(cache), "--explain", "--as", "10.3.0"]
    )  # fmt: skip


def written(path: Path, names: list[str], version: tuple[int, int, int] = VERSION) -> Path:
    cache = cache_of(dict.fromkeys(names, 4.0), version=version)
    path.write_bytes(write_cache(cache).encode())
    return path


def test_a_cache_of_this_model_and_tensorrt_is_taken(model, tmp_path, read_by_convolutions, capsys):
    cache = written(tmp_path / "c.cache", read_by_convolutions)
    assert explained(model, cache) == 0
    assert "--calib=" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"hi", "is no calibration cache: line 1 is 'hi'"),
        (b"\xff\xfe", "cannot read the cache"),
        (b"TRT-100300-EntropyCalibration2\na: nothing\n", "no calibration cache: line 2"),
        (b"TRT-100300-LegacyCalibration\na: 3c010a14\n", "says 'LegacyCalibration'; expected"),
        (b"TRT-8601-EntropyCalibration2\na: 3c010a14\n", "header is of TensorRT 8.6.1"),
        (b"TRT-100300-EntropyCalibration2\na: 3c010a14\n", "a range for none of the 2 tensors"),
        (b"TRT-100300-EntropyCalibration2\n", "a range for none of the 2 tensors"),
    ],
)
def test_what_tensorrt_would_ignore_is_refused_in_one_line(
    content, complaint, model, tmp_path, capsys
):
    cache = tmp_path / "c.cache"
    cache.write_bytes(content)
    assert explained(model, cache) == 2
    error = capsys.readouterr().err.strip()
    assert complaint in error
    assert "c.cache" in error
    assert len(error.splitlines()) == 1


def test_a_cache_whose_table_is_of_another_model_is_refused(
    model, tmp_path, read_by_convolutions, capsys
):
    """Two trainings of one network have the same names; the table beside the cache tells them."""
    cache = written(tmp_path / "c.cache", read_by_convolutions)
    ranges = dict.fromkeys(read_by_convolutions, 4.0)
    table = RangeTable(
        made_by="calibration cache c.cache", policy="trt-gpu", model_sha256=sha256_of(model),
        ranges=ranges,
    )  # fmt: skip
    write_ranges(table_of(cache), table)
    assert explained(model, cache) == 0
    write_ranges(table_of(cache), msgspec.structs.replace(table, model_sha256="0" * 64))
    capsys.readouterr()
    assert explained(model, cache) == 2
    assert "is stale" in capsys.readouterr().err


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_real_base_class_is_subclassed(algorithm, tmp_path):
    """TensorRT-RTX 1.4 still had TensorRT 10's base classes; no builder is involved here."""
    bases = {
        "EntropyCalibration2": "IInt8EntropyCalibrator2",
        "MinMaxCalibration": "IInt8MinMaxCalibrator",
    }
    name = next((name for name in ("tensorrt", "tensorrt_rtx") if find_spec(name)), None)
    trt = import_module(name) if name else None
    if not hasattr(trt, bases[algorithm]):
        pytest.skip("no TensorRT with calibrators is installed")
    cache = tmp_path / "c.cache"
    text = write_cache(cache_of({"a: b": 1.0}, version=VERSION, algorithm=algorithm))
    cache.write_bytes(text.encode())
    made = cache_calibrator(trt, cache)
    assert isinstance(made, getattr(trt, bases[algorithm]))
    assert made.get_batch_size() == 1
    assert made.get_batch(["frame"]) is None
    assert made.read_calibration_cache() == text.encode()
    made.write_calibration_cache(b"")
