"""What a TensorRT can do, found by looking for its names; version text decides nothing.

`NAMES` lists every name of TensorRT's Python interface that this package uses, and which of the
recorded bindings have it; ``tests/export/test_tensorrt_names.py`` compares that with the bindings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_runtime.errors import DependencyError

if TYPE_CHECKING:
    from types import ModuleType

Runtime = Literal["tensorrt", "tensorrt_rtx"]
RUNTIMES: tuple[Runtime, ...] = ("tensorrt", "tensorrt_rtx")
RECORDED = ("10.3.0", "10.16.1.11", "11.4.0.106")
"""Versions whose compiled bindings were read: JetPack 6, 7.2, and the first without weak typing."""

_EVERYWHERE = """
    Builder ILogger Logger Severity VERBOSE INFO WARNING ERROR INTERNAL_ERROR
    create_network create_builder_config build_serialized_network num_DLA_cores
    NetworkDefinitionCreationFlag STRONGLY_TYPED
    OnnxParser parse_from_file num_errors get_error code node node_name node_operator desc
    num_layers get_layer get_output get_input num_inputs num_outputs LayerType
    CONVOLUTION DECONVOLUTION MATRIX_MULTIPLY QUANTIZE DEQUANTIZE DataType FLOAT HALF INT8 UINT8
    BuilderFlag TF32 GPU_FALLBACK VERSION_COMPATIBLE set_flag
    MemoryPoolType WORKSPACE set_memory_pool_limit
    ProfilingVerbosity DETAILED profiling_verbosity
    DeviceType DLA default_device_type DLA_core
    HardwareCompatibilityLevel AMPERE_PLUS hardware_compatibility_level
    create_timing_cache set_timing_cache get_timing_cache serialize
    Runtime deserialize_cuda_engine engine_host_code_allowed
    create_engine_inspector get_engine_information
    LayerInformationFormat JSON
"""
NAMES: dict[str, tuple[bool, bool, bool]] = {
    **dict.fromkeys(_EVERYWHERE.split(), (True, True, True)),
    "EXPLICIT_BATCH": (True, True, False),
    "FP16": (True, True, False),
    "int8_calibrator": (True, True, False),
    "IInt8EntropyCalibrator2": (True, True, False),
    "IInt8MinMaxCalibrator": (True, True, False),
    "SAME_COMPUTE_CAPABILITY": (False, True, True),
    "ComputeCapability": (False, False, False),
    "num_compute_capabilities": (False, False, False),
    "set_compute_capability": (False, False, False),
}
"""Name to its presence in the `RECORDED` bindings; the last three are TensorRT-RTX's own."""


@dataclass(frozen=True)
class Capabilities:
    """What one installed TensorRT offers to the adapter."""

    runtime: Runtime
    version: str
    """In full, for identities and messages only."""
    weak_typing: bool
    """Precision flags exist, so the builder may choose types by itself."""
    calibrators: bool
    """An INT8 calibration cache can be given."""
    typed_flag: bool
    """Strong typing is asked for by a flag; without one it is the only kind there is."""
    targets: tuple[str, ...]
    """Compute capabilities it builds for ahead of time, such as ``8.6``; empty: only its own."""
    hardware_levels: tuple[str, ...]
    """Names of `HardwareCompatibilityLevel` besides NONE."""
    timing_cache: bool
    """Tactic timings are taken on the GPU, so a cache of them shortens the next build."""
    dla_cores: int
    """Deep-learning accelerators of this machine."""


def load(runtime: Runtime) -> ModuleType:
    """Import a runtime's bindings.

    Raises:
        DependencyError: not installed, or installed and broken.
    """
    from importlib import import_module

    try:
        return import_module(runtime)
    except ModuleNotFoundError as error:
        if error.name != runtime:
            raise
        raise DependencyError(f"{runtime} is not installed: {_REMEDIES[runtime]}") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise DependencyError(
            f"{runtime} is installed but does not load ({error}); {_REMEDIES[runtime]}"
        ) from error


_REMEDIES: dict[Runtime, str] = {
    "tensorrt": (
        "on a Jetson it is a system package (apt-get install tensorrt python3-libnvinfer) that a "
        "virtual environment sees only if made with --system-site-packages; elsewhere install "
        "NVIDIA's TensorRT, or build with --runtime tensorrt_rtx"
    ),
    "tensorrt_rtx": "pip install 'hyperseg-edge[rtx]' (x86-64, 96 MB)",
}


def probe(trt: ModuleType, dla_cores: int = 0) -> Capabilities:
    """Look for the names that decide what can be done.

    Args:
        trt: the imported bindings.
        dla_cores: as a builder reports them (`adapter.Session.dla_cores`).
    """
    targets = _members(trt, "ComputeCapability")
    return Capabilities(
        runtime="tensorrt_rtx" if trt.__name__ == "tensorrt_rtx" else "tensorrt",
        version=str(trt.__version__),
        weak_typing="FP16" in _members(trt, "BuilderFlag"),
        calibrators=hasattr(trt.IBuilderConfig, "int8_calibrator"),
        typed_flag="STRONGLY_TYPED" in _members(trt, "NetworkDefinitionCreationFlag"),
        targets=tuple(_dotted(name) for name in targets if name.startswith("SM")),
        hardware_levels=tuple(
            name for name in _members(trt, "HardwareCompatibilityLevel") if name != "NONE"
        ),
        # Ahead of time nothing is timed, and attaching a cache asks for a GPU.
        timing_cache=hasattr(trt.IBuilderConfig, "create_timing_cache") and not targets,
        dla_cores=dla_cores,
    )


def recorded(version: str) -> Capabilities:
    """The capabilities of one of the `RECORDED` bindings, from the table of names.

    So a plan for a Jetson can be explained on a workstation; nothing can be built with it.
    """
    column = RECORDED.index(version)
    has = {name for name, present in NAMES.items() if present[column]}
    return Capabilities(
        runtime="tensorrt",
        version=version,
        weak_typing="FP16" in has,
        calibrators="int8_calibrator" in has,
        typed_flag="STRONGLY_TYPED" in has,
        targets=(),
        hardware_levels=tuple(n for n in ("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY") if n in has),
        timing_cache="create_timing_cache" in has,
        dla_cores=0,
    )


def _members(trt: ModuleType, enumeration: str) -> tuple[str, ...]:
    return tuple(getattr(getattr(trt, enumeration, None), "__members__", {}))


def _dotted(target: str) -> str:
    """``SM86`` as ``8.6``, ``SM120`` as ``12.0``."""
    return f"{target[2:-1]}.{target[-1]}"
