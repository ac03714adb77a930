"""What of the engine backend needs no GPU: choices, messages, sizes, and the account of stages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.artifacts import TensorSpec
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.backends.tensorrt.engine import load_runtime, require_fit
from edge_runtime.backends.tensorrt.layout import as_tensor, byte_size, check_tensors
from edge_runtime.backends.tensorrt.memory import PROVIDERS, choose_provider, open_memory
from edge_runtime.backends.tensorrt.stages import DeviceDurations, DeviceTimes, fill_stamps
from edge_runtime.engines.gpu import Gpu, query_gpu
from edge_runtime.engines.identity import EngineIdentity
from edge_runtime.engines.store import this_platform
from edge_runtime.errors import BackendError, DependencyError, ManifestError, OptionError

IDENTITY = EngineIdentity(
    onnx_sha256="0" * 64, precision="fp16", typing="strong", runtime="tensorrt",
    runtime_version="10.3.0.30", platform=this_platform(), gpu="Orin", compute_capability="8.7",
    cuda="12.6",
)  # fmt: skip
ORIN = Gpu("Orin", "8.7", 7620, True, "12.6")

no_gpu = pytest.mark.skipif(query_gpu() is not None, reason="there is a GPU here")


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Make packages look as if they were not installed."""
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            monkeypatch.delitem(sys.modules, name)
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_the_first_installed_provider_is_chosen(monkeypatch):
    pytest.importorskip("cuda.bindings", reason="the extra 'cuda' is not installed")
    assert choose_provider() == "cuda-python"
    assert choose_provider("cuda-python") == "cuda-python"


def test_a_wanted_provider_is_never_replaced(monkeypatch):
    hide(monkeypatch, "pycuda")
    with pytest.raises(DependencyError, match="pycuda is not installed: pip install pycuda"):
        choose_provider("pycuda")
    with pytest.raises(OptionError, match="choose from cuda-python, pycuda"):
        choose_provider("cupy")


def test_without_any_provider_both_remedies_are_named(monkeypatch):
    hide(monkeypatch, "cuda", "pycuda")
    with pytest.raises(DependencyError) as caught:
        choose_provider()
    assert all(provider.remedy in str(caught.value) for provider in PROVIDERS.values())


@no_gpu
def test_the_real_package_without_a_driver_says_so():
    pytest.importorskip("cuda.bindings", reason="the extra 'cuda' is not installed")
    with pytest.raises(DependencyError, match="engines run on a GPU only"):
        open_memory("cuda-python")


def test_every_call_of_the_runtime_library_exists_in_the_real_package():
    cudart = pytest.importorskip(
        "cuda.bindings.runtime", reason="the extra 'cuda' is not installed"
    )
    import re

    from edge_runtime.backends.tensorrt import cuda_python

    source = Path(cuda_python.__file__).read_text()
    names = set(re.findall(r"\b(cuda[A-Z]\w+)", source))
    assert len(names) > 20
    known = set(dir(cudart))
    for kind in ("cudaError_t", "cudaDeviceAttr", "cudaMemcpyKind", "cudaStreamCaptureMode"):
        known |= set(dir(getattr(cudart, kind)))
    assert names - known == set()
    assert (cudart.cudaHostAllocMapped, cudart.cudaHostAllocDefault) == (2, 0)
    assert (cudart.cudaStreamNonBlocking, cudart.cudaEventBlockingSync) == (1, 1)


USED = {
    "Runtime": ("deserialize_cuda_engine", "DLA_core", "engine_host_code_allowed"),
    "ICudaEngine": (
        "num_io_tensors", "get_tensor_name", "get_tensor_shape", "get_tensor_dtype",
        "get_tensor_mode", "create_execution_context", "create_engine_inspector",
    ),
    "IExecutionContext": ("set_tensor_address", "execute_async_v3"),
    "EngineInspector": ("execution_context", "get_engine_information"),
    "ILogger": ("log", "Severity"),
    "TensorIOMode": ("INPUT",),
    "LayerInformationFormat": ("JSON",),
    "DataType": ("FLOAT", "HALF", "INT8", "INT32", "INT64", "UINT8", "BOOL"),
}  # fmt: skip
"""Every name of TensorRT that the backend uses."""


def test_every_name_of_tensorrt_exists_in_the_real_rtx_package():
    trt = pytest.importorskip("tensorrt_rtx", reason="the extra 'rtx' is not installed")
    missing = [f"{kind}.{name}" for kind, names in USED.items() for name in names
               if not hasattr(getattr(trt, kind), name)]  # fmt: skip
    assert missing == []
    assert {"WARNING", "ERROR", "INTERNAL_ERROR"} <= set(dir(trt.ILogger.Severity))


ANSWERING = """
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { name[0] = 'G'; name[1] = 0; return 0; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 8ul << 30; return 0; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 16 ? 8 : attribute == 18 ? 1 : attribute == 75 ? 8 : 7;
    return 0;
}
"""
"""A driver with one device; the numbers of attributes are those of NVIDIA's cuda.h."""


def test_the_driver_tells_how_large_the_gpu_is(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc")
    source, library = tmp_path / "driver.c", tmp_path / "libdriver.so"
    source.write_text(ANSWERING)
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=60)
    assert query_gpu(library=str(library)) == Gpu("G", "8.7", 8192, True, "12.6", multiprocessors=8)


def test_a_missing_runtime_names_its_package(monkeypatch):
    hide(monkeypatch, "tensorrt")
    with pytest.raises(DependencyError, match="python3-libnvinfer"):
        load_runtime("tensorrt")
    with pytest.raises(DependencyError, match="knows tensorrt, tensorrt_rtx"):
        load_runtime("openvino")


def test_a_fitting_engine_is_accepted():
    require_fit(Path("a.engine"), IDENTITY, "10.3.0.30", ORIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runtime_version": "10.7.0.23"}, "was 10.7.0.23 and is 10.3.0.30 here"),
        ({"gpu": "Xavier", "compute_capability": "7.2"}, "was Xavier and is Orin here"),
        ({"platform": "linux-other"}, "the platform was linux-other"),
        ({"targets": ("12.0+",)}, "compute capability 12.0+ and the GPU here has 8.7"),
    ],
)
def test_a_foreign_engine_is_refused_in_words(change, message):
    with pytest.raises(BackendError, match=message.replace("+", r"\+")) as caught:
        require_fit(Path("a.engine"), replace(IDENTITY, **change), "10.3.0.30", ORIN)
    assert "build it here" in str(caught.value)


def test_without_a_gpu_the_onnx_model_is_recommended():
    with pytest.raises(DependencyError, match="run its ONNX model instead"):
        require_fit(Path("a.engine"), IDENTITY, "10.3.0.30", None)


@no_gpu
def test_opening_an_engine_here_is_an_error_of_one_line(manifest, tmp_path):
    pytest.importorskip("cuda.bindings", reason="the extra 'cuda' is not installed")
    pytest.importorskip("tensorrt_rtx", reason="the extra 'rtx' is not installed")
    identity = msgspec.to_builtins(replace(IDENTITY, runtime="tensorrt_rtx"))
    described = replace(manifest, kind="engine", options={"engine": identity})
    with pytest.raises(DependencyError, match="needs an NVIDIA GPU"):
        open_backend(tmp_path / "a.engine", described)
    with pytest.raises(ManifestError, match="what it was built for"):
        open_backend(tmp_path / "a.engine", replace(described, options={}))


def test_opening_an_engine_loads_nothing_of_it_before():
    code = (
        "import sys, edge_runtime.backends.base, edge_runtime.backends.tensorrt.engine as e;"
        "print([n for n in ('tensorrt', 'tensorrt_rtx', 'cuda', 'pycuda', 'torch', 'onnx') "
        "if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (TensorSpec("frame", (1, 384, 512, 3), "uint8"), 589_824),
        (TensorSpec("logits", (1, 8, 384, 512), "float32"), 6_291_456),
        (TensorSpec("half", (1, 19, 4, 5), "float16"), 760),
        (TensorSpec("one", (), "int64"), 8),
    ],
)
def test_bytes_of_a_tensor(spec, size):
    assert byte_size(spec) == size
    memory = np.zeros(size + 3, np.uint8)
    array = as_tensor(memory, spec)
    assert (array.shape, str(array.dtype)) == (spec.shape, spec.dtype)
    array[...] = 1
    assert memory[:size].any()
    assert not memory[size:].any()


def test_an_engine_of_other_tensors_is_refused(manifest):
    path = Path("a.engine")
    check_tensors(path, manifest, manifest.inputs, manifest.outputs)
    (frame,), (mask,) = manifest.inputs, manifest.outputs
    for inputs, outputs, message in (
        ((replace(frame, name="image"),), (mask,), r"inputs are \['image'\]"),
        ((frame,), (mask, replace(mask, name="more")), "outputs are"),
        ((replace(frame, shape=(1, 32, 128, 3)),), (mask,), r"uint8 \(1, 32, 128, 3\)"),
        ((frame,), (replace(mask, dtype="int32"),), "int32"),
    ):
        with pytest.raises(ManifestError, match=message):
            check_tensors(path, manifest, inputs, outputs)


@given(
    st.integers(0, 10**9), st.integers(-5, 10**8),
    st.none() | st.tuples(st.floats(0, 200), st.floats(0, 200), st.floats(0, 200)),
)  # fmt: skip
def test_stages_tile_the_interval_whatever_the_events_say(start, length, copies):
    stamps = EngineStamps()
    durations = None if copies is None else DeviceDurations(*copies)
    fill_stamps(stamps, start, start + length, durations)
    assert stamps.start_ns == start
    assert stamps.start_ns <= stamps.h2d_end_ns <= stamps.infer_end_ns <= stamps.d2h_end_ns
    assert stamps.d2h_end_ns == start + max(length, 0)
    if copies is None:
        assert stamps.h2d_end_ns == start
        assert stamps.infer_end_ns == stamps.d2h_end_ns


def test_copies_take_what_the_events_say_and_the_network_the_rest():
    stamps = EngineStamps()
    fill_stamps(stamps, 1_000, 1_000 + 10_000_000, DeviceDurations(2.0, 5.0, 1.0))
    assert stamps.h2d_end_ns - stamps.start_ns == 2_000_000
    assert stamps.infer_end_ns - stamps.h2d_end_ns == 7_000_000
    assert stamps.d2h_end_ns - stamps.infer_end_ns == 1_000_000


def test_device_times_are_trtexecs():
    times = DeviceTimes()
    for _ in range(3):
        times.add(DeviceDurations(0.5, 4.0, 0.25))
    assert times.latest is not None
    assert times.latest.host_ms == 4.75
    assert times.host.n == 3
    assert times.host.mean_ms == pytest.approx(4.75)
    assert times.gpu.mean_ms == pytest.approx(4.0)


@pytest.mark.gpu
@pytest.mark.parametrize("name", PROVIDERS)
def test_providers_copy_and_time_on_the_device(name):
    """The conformance suite of a provider: not run where there is no GPU."""
    pytest.importorskip(PROVIDERS[name].package, reason=f"{name} is not installed")
    memory = open_memory(name)
    try:
        source, target = (memory.pinned(1 << 20, mapped=False) for _ in range(2))
        source.array[:] = np.arange(1 << 20, dtype=np.uint32).astype(np.uint8)
        device, stream = memory.allocate(1 << 20), memory.stream()
        start, end = memory.event(), memory.event()
        memory.record(start, stream)
        memory.copy_to_device(device, source, stream)
        memory.copy_to_host(target, device, stream)
        memory.record(end, stream)
        memory.wait(end)
        assert (target.array == source.array).all()
        assert memory.elapsed_ms(start, end) > 0
    finally:
        memory.close()
