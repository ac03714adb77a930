"""What infers: ONNX Runtime, the GPU, and TensorRT, CUDA and JetPack that belong together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_runtime.doctor.finding import absent, ok, problem, warning
from edge_runtime.doctor.gpu_checks import check_gpu
from edge_runtime.engines.gpu import Gpu
from edge_runtime.jetpack import jetpack_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.machine import Machine
    from edge_runtime.jetpack import JetPack


_PACKAGE = re.compile(r"^Package: (libnvinfer\d+|libnvinfer-bin|nvidia-jetpack)$", re.M)


def check_inference(machine: Machine) -> Iterator[Finding]:
    """ONNX Runtime everywhere, TensorRT where there is a GPU."""
    yield from _onnxruntime(machine)
    gpu = machine.gpu()
    yield check_gpu(machine, gpu)
    if not (isinstance(gpu, Gpu) or machine.is_jetson):
        return
    yield from _bindings(machine)
    yield from _cuda_package(machine, gpu.cuda if isinstance(gpu, Gpu) else None)
    yield from _jetpack(machine)


def _onnxruntime(machine: Machine) -> Iterator[Finding]:
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if machine.package(name)]
    if found:
        shown = ", ".join(f"{name} {machine.package(name)}" for name in found)
        yield ok("inference.onnxruntime", shown)
    else:
        yield problem(
            "inference.onnxruntime", "not installed", "it infers where no engine does",
            "pip install 'hyperseg-edge[ort]'",
        )  # fmt: skip


def _bindings(machine: Machine) -> Iterator[Finding]:
    """TensorRT as this Python sees it; on a Jetson it is a system package."""
    found = machine.package("tensorrt") or machine.package("tensorrt_rtx")
    if found is not None:
        yield ok("inference.tensorrt", f"TensorRT's Python bindings {found}")
    elif machine.is_jetson:
        yield problem(
            "inference.tensorrt", "this Python does not see TensorRT",
            "the system's bindings, in an environment made with --system-site-packages",
            "sudo apt-get install python3-libnvinfer && "
            "/usr/bin/python3 -m venv --system-site-packages .venv && scripts/setup",
        )  # fmt: skip
    else:
        yield warning(
            "inference.tensorrt", "a GPU but no TensorRT", "TensorRT, if the GPU is to infer",
            "pip install tensorrt==10.*",
        )  # fmt: skip


def _cuda_package(machine: Machine, driver: str | None) -> Iterator[Finding]:
    """``cuda-bindings`` have to be of the driver's CUDA major version."""
    found = machine.package("cuda-bindings")
    if found is None:
        yield warning(
            "inference.cuda-bindings", "not installed", "they hand frames to engines",
            "pip install 'hyperseg-edge[cuda]'"
            + ("" if driver is None else f" 'cuda-bindings=={driver.partition('.')[0]}.*'"),
        )  # fmt: skip
    elif driver is not None and int(found.partition(".")[0]) > int(driver.partition(".")[0]):
        yield problem(
            "inference.cuda-bindings", f"{found}; the driver serves CUDA {driver}",
            "the driver's major version",
            f"pip install 'cuda-bindings=={driver.partition('.')[0]}.*'",
        )  # fmt: skip
    else:
        yield ok("inference.cuda-bindings", found)


def _jetpack(machine: Machine) -> Iterator[Finding]:
    release = machine.device.l4t
    if release is None:
        yield absent("inference.jetpack", "not a Jetson")
        return
    known = jetpack_of(release)
    if known is None:
        yield warning(
            "inference.jetpack", f"L4T {release} is not known here", "JetPack 6.1 to 7.2",
            "hyperseg selftest -o selftest.json",
        )  # fmt: skip
        return
    seen = f"L4T {release}: JetPack {known.name}"
    if known.python == "3.8" or known.tensorrt[0].startswith("8."):
        yield problem(
            "inference.jetpack", seen, "JetPack 6.1 or newer: TensorRT 10 and Python 3.10",
            "# flash a newer JetPack: docs.nvidia.com/jetson",
        )  # fmt: skip
        return
    yield ok("inference.jetpack", seen)
    yield from _installed(machine, known)


def _installed(machine: Machine, jetpack: JetPack) -> Iterator[Finding]:
    """What dpkg says is there, against what belongs to this JetPack."""
    packages = dpkg_versions(machine.text("var/lib/dpkg/status") or "")
    runtime = next((v for name, v in packages.items() if name.startswith("libnvinfer")), None)
    cuda = _cuda(machine)
    for name, found, wanted, fix in (
        ("tensorrt-library", runtime, jetpack.tensorrt, "sudo apt-get install nvidia-tensorrt"),
        ("cuda", cuda, (jetpack.cuda,), "sudo apt-get install nvidia-cuda"),
    ):
        check, expected = f"inference.{name}", " or ".join(f"{version}.x" for version in wanted)
        if found is None:
            yield problem(check, "not installed", expected, fix)
        elif any(found.startswith((f"{version}.", f"{version}-")) for version in wanted):
            yield ok(check, found)
        else:
            yield warning(
                check, f"{found}, with JetPack {jetpack.name}",
                f"{expected}, what this JetPack comes with", "hyperseg selftest -o selftest.json",
            )  # fmt: skip


def _cuda(machine: Machine) -> str | None:
    text = machine.text("usr/local/cuda/version.json") or ""
    match = re.search(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([0-9.]+)"', text)
    return f"{match[1]}." if match and match[1].count(".") == 1 else match[1] if match else None


def dpkg_versions(status: str) -> dict[str, str]:
    """Version by name of NVIDIA's packages in dpkg's status file that are installed."""
    found = {}
    for match in _PACKAGE.finditer(status):
        end = status.find("\n\n", match.start())
        stanza = status[match.start() : end if end >= 0 else len(status)]
        version = re.search(r"^Version: (\S+)$", stanza, re.M)
        if version and re.search(r"^Status: .* installed$", stanza, re.M):
            found[match[1]] = version[1]
    return found
