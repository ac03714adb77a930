"""The GPU as the driver tells of it, or the code by which it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.engines.gpu import Gpu, NoGpu, ask_gpu, driver_cuda, query_gpu

REFUSING = """
static int asked;
int cuInit(unsigned flags) { asked = 1; return %(code)d; }
int cuGetErrorName(int code, const char **name) {
    *name = code == 801 ? "CUDA_ERROR_NOT_SUPPORTED" : 0;
    return *name ? 0 : 1;
}
int cuDriverGetVersion(int *version) { *version = asked ? 0 : 12060; return 0; }
"""
"""Has the functions of a driver that starts no device; its version is gone once that was tried."""


@pytest.fixture
def refusing(tmp_path):
    """A driver library whose cuInit() returns a code: ``refusing(801)``."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc")

    def make(code: int) -> str:
        source, library = tmp_path / "driver.c", tmp_path / f"libdriver{code}.so"
        source.write_text(REFUSING % {"code": code})
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True, timeout=60
        )
        return str(library)

    return make


def test_no_driver_is_no_gpu():
    found = ask_gpu(library="libno-such-driver.so.1")
    assert isinstance(found, NoGpu)
    assert found.code is None
    assert "libno-such-driver.so.1" in found.reason
    assert query_gpu(library="libno-such-driver.so.1") is None
    assert driver_cuda("libno-such-driver.so.1") is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [(801, "cuInit: 801 (CUDA_ERROR_NOT_SUPPORTED)"), (4711, "cuInit: 4711")],
)
def test_a_refusal_keeps_its_code_and_its_name(refusing, code, reason):
    library = refusing(code)
    assert ask_gpu(library=library) == NoGpu(reason, code)
    assert query_gpu(library=library) is None


def test_the_drivers_version_is_known_without_a_device(refusing):
    library = refusing(999)
    assert driver_cuda(library) == "12.6"
    ask_gpu(library=library)
    assert driver_cuda(library) is None, "the library tells that a device was tried"


ASK = """
from edge_runtime.deploy.device import _why_no_engine
from edge_runtime.device import describe_device
from edge_runtime.engines.choice import this_machine
from edge_runtime.errors import DependencyError
print(describe_device().cuda)
print(_why_no_engine())
try:
    this_machine()
except DependencyError as error:
    print(error)
"""


def test_a_refusal_is_said_wherever_an_engine_is_wanted(refusing, tmp_path):
    # given a machine with TensorRT's package and a driver that refuses
    Path(refusing(801)).rename(tmp_path / "libcuda.so.1")
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").touch()
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environ = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": paths}
    # when
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=60, check=True,
        env=environ,
    )  # fmt: skip
    # then
    version, deployed, served = done.stdout.splitlines()
    assert version == "12.6"
    for text in (deployed, served):
        assert "(cuInit: 801 (CUDA_ERROR_NOT_SUPPORTED)" in text


@pytest.mark.gpu
def test_the_gpu_is_named():
    gpu = query_gpu()
    assert gpu is not None
    major, _, minor = gpu.compute_capability.partition(".")
    assert int(major) >= 7
    assert minor.isdecimal()
    assert gpu.memory_mib > 1000
    assert int(gpu.cuda.partition(".")[0]) >= 12


@pytest.mark.gpu
def test_a_hidden_gpu_is_told_by_the_drivers_own_code_and_no_device_is_opened_for_a_version():
    code = (
        "import os; from edge_runtime.engines.gpu import ask_gpu, driver_cuda;"
        "print(driver_cuda());"
        "print(*[h for h in os.listdir('/proc/self/fd') if 'nvidia' in os.path.realpath("
        "'/proc/self/fd/' + h)]);"
        "print(ask_gpu().reason)"
    )
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        env=environ,
    )  # fmt: skip
    gpu = query_gpu()
    assert isinstance(gpu, Gpu)
    assert done.stdout.splitlines() == [gpu.cuda, "", "cuInit: 100 (CUDA_ERROR_NO_DEVICE)"]
