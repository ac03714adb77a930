"""Peak memory of a model, told by a process of its own."""

import sys
from pathlib import Path

import pytest

from edge_runtime.bench import memory
from edge_runtime.bench.bench import bench
from edge_runtime.bench.display import print_bench
from edge_runtime.bench.memory import model_peak_mb, peak_mb
from edge_runtime.bench.options import BenchOptions, WarmUpPlan
from edge_runtime.errors import BackendError
from tests.edge_runtime import reload_models

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="told by Linux only")


def test_a_larger_model_needs_more_and_what_this_process_holds_is_not_in_it(tmp_path):
    # given two models, and a process that holds far more than both
    sizes = {"small": (32, 64), "large": (2048, 2048)}
    for name, size in sizes.items():
        reload_models.place(tmp_path / f"{name}.onnx", 1, size=size)
    ours = bytearray(400_000_000)
    ours[::4096] = b"x" * len(ours[::4096])

    small, large = (model_peak_mb(tmp_path / f"{name}.onnx", threads=1) for name in sizes)

    # then the larger one has at least its input and mask more
    assert 10 < small < 300
    assert large - small > 2048 * 2048 * 4 * 1e-6
    assert len(ours) == 400_000_000


def test_a_model_that_does_not_load_is_said_in_one_line(tmp_path):
    with pytest.raises(BackendError, match=r"cannot measure the memory of none\.onnx: \S"):
        model_peak_mb(tmp_path / "none.onnx")


def test_a_module_in_the_users_folder_does_not_stand_for_pythons(tmp_path, monkeypatch):
    reload_models.place(tmp_path / "small.onnx", 1, size=(32, 64))
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)

    assert model_peak_mb(Path("small.onnx"), threads=1) > 10


def test_what_takes_too_long_is_said_without_folders(tmp_path, monkeypatch):
    reload_models.place(tmp_path / "small.onnx", 1, size=(32, 64))
    monkeypatch.setattr(memory, "LIMIT_S", 0.01)

    with pytest.raises(BackendError) as caught:
        model_peak_mb(tmp_path / "small.onnx")

    assert str(caught.value) == "cannot measure the memory of small.onnx: not done after 0.01 s"


def test_what_the_process_says_is_told_without_folders(tmp_path):
    with pytest.raises(BackendError) as caught:
        model_peak_mb(tmp_path / "none.onnx")

    assert "none.onnx: edge_runtime" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_the_greatest_memory_so_far_is_read(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  100000 kB\nVmRSS:\t   50000 kB\n")

    assert peak_mb(status) == pytest.approx(102.4)
    with pytest.raises(BackendError, match="Linux"):
        peak_mb(tmp_path / "missing")


def test_a_bench_tells_it_for_each_model_and_why_it_cannot(tmp_path, monkeypatch, capsys):
    # given two models of which one is gone when its memory is to be measured
    paths = {name: tmp_path / f"{name}.onnx" for name in ("stays", "goes")}
    for path in paths.values():
        reload_models.place(path, 1)
    measure = memory.model_peak_mb

    def gone(path, *, threads):
        if path.stem == "goes":
            path.unlink()
        return measure(path, threads=threads)

    monkeypatch.setattr("edge_runtime.bench.bench.model_peak_mb", gone)
    plan = WarmUpPlan.parse("1")

    # when
    report = bench(BenchOptions(tuple(map(str, paths.values())), iterations=1, warmup=plan))
    print_bench(report)

    # then
    stays, goes = report.models
    assert 10 < stays.peak_memory_mb < 300
    assert goes.peak_memory_mb is None
    assert "goes.onnx" in goes.not_measured["memory"]
    told = capsys.readouterr().out
    assert f"Peak memory {stays.peak_memory_mb:.0f} MB" in told
    assert "Not measured: memory (cannot measure the memory of goes.onnx" in told
