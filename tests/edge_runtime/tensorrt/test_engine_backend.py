"""The engine backend from the file to the report, with NVIDIA's side standing in (`nvidia`)."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge_runtime import RigOptions, RunOptions, run, run_many
from edge_runtime.artifacts import write_artifact
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.cli import main
from edge_runtime.engines.gpu import Gpu
from edge_runtime.engines.identity import OPTIONS_KEY, EngineIdentity
from edge_runtime.engines.store import this_platform
from edge_runtime.errors import BackendError, DependencyError
from edge_runtime.rig.engine import Network
from export.selftest.latency import measure
from export.tensorrt.adapter import Session
from export.tensorrt.capabilities import recorded
from export.tensorrt.options import BuildOptions
from export.tensorrt.plan import make_plan
from tests.edge_runtime.tensorrt.nvidia import (
    COMPUTE_MS,
    D2H_MS,
    H2D_MS,
    ORIN,
    PLAIN,
    PORTABLE,
    Cudart,
    Device,
    Pycuda,
    tensorrt,
)
from tests.scripted import SIZE, scripted_manifest

real_cudart = pytest.importorskip(
    "cuda.bindings.runtime", reason="the extra 'cuda' is not installed"
)
CAUSE = "CUDA failed in cudaEventSynchronize: cudaErrorIllegalAddress"
IDENTITY = EngineIdentity(
    onnx_sha256="0" * 64, precision="fp16", typing="strong", runtime="tensorrt",
    runtime_version="10.3.0", platform=this_platform(), gpu="Orin", compute_capability="8.7",
    cuda="12.6", multiprocessors=8,
)  # fmt: skip


@pytest.fixture
def machine(monkeypatch):
    """Put a GPU with TensorRT under the backend: ``machine(fail_at=6)`` gives the device."""
    from edge_runtime.backends.tensorrt import cuda_python

    def make(version="10.3.0", warnings=(), gpu: Gpu = ORIN, **device) -> Device:
        made = Device(**device)
        monkeypatch.setattr(cuda_python, "cudart", Cudart(real_cudart, made))
        monkeypatch.setitem(sys.modules, "tensorrt", tensorrt(made, SIZE, version, warnings))
        monkeypatch.setattr("edge_runtime.backends.tensorrt.engine.query_gpu", lambda: gpu)
        return made

    return make


@pytest.fixture
def engine(tmp_path):
    """Write an engine with its manifest: ``engine(PLAIN, flags=...)`` gives its path."""

    def make(content: bytes = PLAIN, **changes: object):
        part, path = tmp_path / "part", tmp_path / "net.engine"
        part.write_bytes(content)
        options = {OPTIONS_KEY: msgspec.to_builtins(replace(IDENTITY, **changes))}
        write_artifact(part, path, replace(scripted_manifest(), kind="engine", options=options))
        return path

    return make


def opened(path, **options):
    from edge_runtime.artifacts import read_manifest

    return open_backend(path, read_manifest(path), **options)


def test_an_engine_gives_its_mask_and_its_memory_back(machine, engine):
    device, stamps = machine(), EngineStamps()

    with opened(engine()) as backend:
        backend.feeds["frame"][...] = 7
        backend.infer(stamps)
        assert (backend.fetches["mask"] == 7).all()
        assert len(device.memory) == 4

    assert device.memory == {}


@pytest.mark.gst
def test_a_gpu_that_fails_leaves_the_report_and_is_named_as_the_cause(
    machine, engine, tmp_path, capsys
):
    machine(fail_at=6)
    path, report = engine(), tmp_path / "report.json"

    code = main(["run", str(path), "test:", "--report", str(report), "--quiet"])

    assert (code, capsys.readouterr().err) == (2, f"hyperseg: error: {CAUSE}\n")
    told = json.loads(report.read_text())
    assert told["ended"] == "error"
    assert told["frames"]["published"] == 5
    assert CAUSE in json.dumps(told["faults"])


@pytest.mark.gst
def test_several_cameras_leave_their_report_too(machine, engine, tmp_path):
    machine(fail_at=9)
    path, report = engine(), tmp_path / "report.json"

    with pytest.raises(BackendError, match=CAUSE):
        run_many(path, {"a": "test:", "b": "test:"},
                 RigOptions(run=RunOptions(report=report, quiet=True)))  # fmt: skip

    assert json.loads(report.read_text())["ended"] == "error"


@pytest.mark.gst
def test_a_gpu_that_fails_when_all_is_done_leaves_the_report_and_an_error(
    machine, engine, tmp_path
):
    device, report = machine(warnings=("slow",)), tmp_path / "report.json"
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((8, 12, 3), np.uint8))

    def break_after_the_last(result):
        device.failed = result.index == 2

    lines: list[str] = []
    options = RunOptions(report=report, quiet=True)
    with pytest.raises(BackendError, match="CUDA failed in cudaFreeHost"):
        run(engine(), str(folder), options, break_after_the_last, lines.append)
    assert "net.engine: TensorRT warns: slow" in lines
    told = json.loads(report.read_text())
    assert (told["ended"], told["frames"]["published"]) == ("end", 3)


def test_a_failure_while_opening_is_told_and_not_that_of_the_release(machine, engine):
    machine(fail_at=0)
    with pytest.raises(BackendError, match=CAUSE), opened(engine()):
        pass


@pytest.mark.parametrize(
    ("content", "flags", "version", "loads"),
    [
        (PORTABLE, ("VERSION_COMPATIBLE",), "10.3.0", True),
        (PORTABLE, ("VERSION_COMPATIBLE",), "10.16.1.11", True),
        (PORTABLE, ("VERSION_COMPATIBLE",), "10.2.0", False),
        (PORTABLE, ("VERSION_COMPATIBLE",), "11.4.0", False),
        # Code is run for those only that our manifest says it of.
        (PORTABLE, (), "10.3.0", False),
        (PLAIN, (), "10.16.1.11", False),
    ],
)
def test_a_version_compatible_engine_loads_with_later_versions(
    machine, engine, content, flags, version, loads
):
    machine(version)
    path = engine(content, flags=flags)
    if loads:
        with opened(path) as backend:
            assert backend.name.startswith(f"tensorrt {version}")
    else:
        with pytest.raises(BackendError, match=r"was 10\.3\.0 and is|host code is not allowed"), \
                opened(path):  # fmt: skip
            pass


@pytest.mark.parametrize(
    ("content", "flags", "dla", "core"),
    [(PLAIN, (), None, -1), (PORTABLE, ("VERSION_COMPATIBLE",), None, -1), (PLAIN, (), 1, 1)],
)
def test_the_builder_reads_its_engines_back_as_they_are_loaded(
    machine, monkeypatch, content, flags, dla, core
):
    machine()
    fake = sys.modules["tensorrt"]
    opened_with = []

    class Runtime(fake.Runtime):
        def deserialize_cuda_engine(self, plan):
            opened_with.append(self.DLA_core)
            return super().deserialize_cuda_engine(plan)

    monkeypatch.setattr(fake, "Runtime", Runtime)
    told: list[str] = []
    session = Session("tensorrt", lambda severity, text: told.append(text))
    can = replace(recorded("10.3.0"), dla_cores=2)
    options = BuildOptions(Path("m.onnx"), typing="weak", dla_core=dla,
                           version_compatible=bool(flags))  # fmt: skip
    plan = make_plan(options, Path("m.onnx"), "fp32", can, ORIN, Path("caches"))

    assert session.inspect(content, plan) == '{"Layers": []}'
    assert (opened_with, told) == ([core], [])


def test_warnings_of_tensorrt_are_passed_on_once_each(machine, engine):
    machine(warnings=("other\n model of  device", "other model of device", "slow"))
    told: list[str] = []

    with opened(engine(), warn=told.append):
        pass

    start = "net.engine: TensorRT warns:"
    assert told == [f"{start} other model of device", f"{start} slow"]


@pytest.mark.parametrize(("built", "words"), [(16, "was 16 and is 4 here"), (4, ""), (None, "")])
def test_an_engine_tuned_for_more_multiprocessors_runs_and_is_told(machine, engine, built, words):
    machine(gpu=replace(ORIN, multiprocessors=4))
    told: list[str] = []

    with opened(engine(multiprocessors=built), warn=told.append):
        pass

    assert len(told) == bool(words)
    assert words in "".join(told)


@pytest.mark.parametrize("copies", [True, False])
def test_selftest_takes_the_devices_own_times_of_the_counted_queries(machine, engine, copies):
    device = machine(slower_ms=0.01)
    path = engine()
    with opened(path) as backend:
        backend.has_device_copies = copies
        found = measure(backend, scripted_manifest(), duration_s=0.0, warmup_s=0.0)

    # One run of the warm-up when the engine is opened, one of the measurement's own.
    compute = [COMPUTE_MS + 0.01 * run for run in range(2, 12)]
    assert (found.clock, found.queries, device.runs) == ("CUDA events", 10, 13)
    assert found.compute_ms.mean == pytest.approx(np.mean(compute))
    assert (found.compute_ms.min, found.compute_ms.max) == pytest.approx((compute[0], compute[-1]))
    if copies:
        assert found.h2d_ms.mean == pytest.approx(H2D_MS)
        assert found.latency_ms.mean == pytest.approx(H2D_MS + np.mean(compute) + D2H_MS)
    else:
        assert found.h2d_ms is found.d2h_ms is None
        assert found.latency_ms == found.compute_ms


def test_a_driver_older_than_the_package_is_told_with_both_versions(monkeypatch):
    from edge_runtime.backends.tensorrt import cuda_python

    old = Cudart(real_cudart, Device())
    error = real_cudart.cudaError_t.cudaErrorInsufficientDriver
    old.cudaGetDeviceCount = lambda: (error, 0)
    old.cudaDriverGetVersion = lambda: (real_cudart.cudaError_t.cudaSuccess, 12020)
    old.cudaRuntimeGetVersion = lambda: (real_cudart.cudaError_t.cudaSuccess, 12090)
    monkeypatch.setattr(cuda_python, "cudart", old)

    with pytest.raises(DependencyError, match=r"serves CUDA 12\.2, this package is of CUDA 12\.9"):
        cuda_python.CudaPythonMemory()


@pytest.fixture
def pycuda(monkeypatch):
    """A function that opens device memory by pycuda: ``pycuda(device)`` gives both."""

    def make(device: Device):
        made = Pycuda(device)
        monkeypatch.setitem(sys.modules, "pycuda", made.module)
        monkeypatch.setitem(sys.modules, "pycuda.driver", made.driver)
        name = "edge_runtime.backends.tensorrt.pycuda_memory"
        monkeypatch.delitem(sys.modules, name, raising=False)
        from importlib import import_module

        return import_module(name).PycudaMemory(), made

    return make


def in_a_thread(work, pycuda) -> None:
    """Do it in a thread of its own, which must not end with a context."""
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            work()
            assert pycuda.depth == 0
        except BaseException as error:  # noqa: BLE001  (raised below, in the test's thread)
            failures.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def test_pycuda_serves_threads_that_did_not_open_it(pycuda):
    memory, made = pycuda(Device())
    source, target = memory.pinned(8, mapped=False), memory.allocate(8)
    stream, event = memory.stream(), memory.event()
    assert made.depth == 0

    def infer() -> None:
        memory.copy_to_device(target, source, stream)
        memory.copy_to_host(source, target, stream)
        memory.record(event, stream)
        memory.wait(event)
        assert memory.elapsed_ms(event, event) == 1.0

    in_a_thread(infer, made)
    in_a_thread(memory.close, made)
    assert made.device.memory == {}


def test_pycudas_errors_are_ours_and_the_first_one_is_told(pycuda):
    memory, made = pycuda(Device(fail_at=0))
    memory.allocate(8)
    event = memory.event()

    with pytest.raises(BackendError, match=r"pycuda's Event\.synchronize: an illegal"):
        memory.wait(event)
    assert made.depth == 0
    with pytest.raises(BackendError, match="pycuda's close: an illegal"):
        memory.close()


def test_a_network_on_an_engine_is_one_for_the_loop(machine, engine):
    machine()
    with opened(engine()) as backend:
        network = Network(backend, scripted_manifest())
        network.feed[...] = 3
        assert (network.infer(EngineStamps()) == 3).all()
