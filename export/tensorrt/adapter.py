"""The only place that calls a TensorRT builder: 10.x, 11.x and TensorRT-RTX by the same calls.

It runs in a child process (`export.tensorrt.worker`). What a version lacks was left out of the plan
before; every name used here stands in `capabilities.NAMES`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import atomic_file
from edge_runtime.backends.tensorrt.calibrator import cache_only
from edge_runtime.engines.identity import VERSION_COMPATIBLE
from edge_runtime.errors import BackendError
from export.tensorrt.capabilities import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from export.tensorrt.plan import BuildPlan

WEIGHTED = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
PRECISION_NAMES = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8", "BF16": "bf16"}


@dataclass(frozen=True)
class Refusal:
    """One thing the parser does not accept, and the node of the graph it is about."""

    node: int
    """Index in the graph; -1 where the parser does not say."""
    name: str
    operator: str
    text: str


class Session:
    """One network from parsing to plan.

    Args:
        runtime: ``tensorrt`` or ``tensorrt_rtx``.
        log: takes severity (``WARNING`` or worse) and text of what TensorRT says.
    """

    def __init__(self, runtime: str, log: Callable[[str, str], None]) -> None:
        self._trt = load(runtime)  # type: ignore[arg-type]  # a plan holds it as text
        self._logger = _logger(self._trt, log)
        self._builder = self._trt.Builder(self._logger)
        self._network: Any = None
        self._parser: Any = None

    @property
    def dla_cores(self) -> int:
        """Deep-learning accelerators of this machine."""
        return int(self._builder.num_DLA_cores)

    def parse(self, plan: BuildPlan) -> list[Refusal]:
        """Read the plan's graph; what the parser does not accept."""
        flags = self._trt.NetworkDefinitionCreationFlag
        mask = 0
        for name in plan.network_flags:
            mask |= 1 << int(getattr(flags, name))
        self._network = self._builder.create_network(mask)
        self._parser = self._trt.OnnxParser(self._network, self._logger)
        if self._parser.parse_from_file(plan.onnx):
            return []
        errors = [self._parser.get_error(i) for i in range(self._parser.num_errors)]
        return [
            Refusal(error.node(), error.node_name(), error.node_operator(), error.desc())
            for error in errors
        ]

    def layer_precisions(self) -> dict[str, int]:
        """How many convolutions and products the parsed network types as what.

        A weighted layer that reads dequantised values counts as int8: the builder fuses the two.
        """
        trt, network = self._trt, self._network
        weighted = {getattr(trt.LayerType, name) for name in WEIGHTED}
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        restored = {
            layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE
        }
        found: Counter[str] = Counter()
        for layer in layers:
            if layer.type not in weighted:
                continue
            kind = str(layer.get_output(0).dtype).rpartition(".")[2]
            reads = layer.get_input(0).name in restored
            found["int8" if reads else PRECISION_NAMES.get(kind, kind.lower())] += 1
        return dict(found)

    def build(self, plan: BuildPlan) -> bytes:
        """The serialised engine.

        Raises:
            BackendError: TensorRT gave none; what it logged says why.
        """
        config = self._configure(plan)
        cache = self._attach_timing_cache(config, plan)
        blob = self._builder.build_serialized_network(self._network, config)
        if blob is None:
            raise BackendError(f"{plan.runtime} {plan.version} built no engine")
        if cache is not None:
            with atomic_file(cache) as part:
                part.write_bytes(bytes(config.get_timing_cache().serialize()))
        return bytes(blob)

    def inspect(self, blob: bytes, plan: BuildPlan) -> str | None:
        """The engine inspector's JSON, or None where the engine does not load (no GPU)."""
        trt = self._trt
        runtime = trt.Runtime(self._logger)
        if plan.dla_core is not None:
            runtime.DLA_core = plan.dla_core
        if VERSION_COMPATIBLE in plan.builder_flags:
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(blob)
        if engine is None:
            return None
        inspector = engine.create_engine_inspector()
        return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))

    def _configure(self, plan: BuildPlan) -> Any:
        trt = self._trt
        config = self._builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        for name in plan.builder_flags:
            config.set_flag(getattr(trt.BuilderFlag, name))
        if plan.workspace_mib is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan.workspace_mib << 20)
        if plan.hardware_level is not None:
            levels = trt.HardwareCompatibilityLevel
            config.hardware_compatibility_level = getattr(levels, plan.hardware_level)
        if plan.targets:
            config.num_compute_capabilities = len(plan.targets)
            for index, target in enumerate(plan.targets):
                name = "SM" + target.replace(".", "")
                config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
        if plan.dla_core is not None:
            config.default_device_type = trt.DeviceType.DLA
            config.DLA_core = plan.dla_core
        if plan.calibration_cache is not None:
            config.int8_calibrator = cache_calibrator(trt, Path(plan.calibration_cache))
        return config

    @staticmethod
    def _attach_timing_cache(config: Any, plan: BuildPlan) -> Path | None:
        if plan.timing_cache is None:
            return None
        path = Path(plan.timing_cache)
        known = path.read_bytes() if path.is_file() else b""
        # False: a cache of another device or version is refused, not taken for ours.
        if not config.set_timing_cache(config.create_timing_cache(known), False):
            config.set_timing_cache(config.create_timing_cache(b""), False)
        return path


def cache_calibrator(trt: ModuleType, cache: Path) -> Any:
    """A TensorRT 10 calibrator that has ranges and no data, so it can never calibrate on nothing.

    Args:
        trt: bindings that have calibrators.
        cache: a complete calibration cache.
    """
    content = cache.read_bytes()
    header = content.partition(b"\n")[0]
    base: Any = trt.IInt8MinMaxCalibrator if b"MinMax" in header else trt.IInt8EntropyCalibrator2
    return cache_only(base, content)


def _logger(trt: ModuleType, log: Callable[[str, str], None]) -> Any:
    severity = trt.ILogger.Severity
    worth = {
        severity.WARNING: "WARNING",
        severity.ERROR: "ERROR",
        severity.INTERNAL_ERROR: "INTERNAL_ERROR",
    }

    base: Any = trt.ILogger

    class Logger(base):  # type: ignore[misc]  # the real base is known at run time only
        """Passes warnings and errors on."""

        def __init__(self) -> None:
            base.__init__(self)

        def log(self, level: Any, message: str) -> None:
            """Called by TensorRT, from any thread."""
            if level in worth:
                log(worth[level], message)

    return Logger()


def dla_cores(runtime: str) -> int:
    """Deep-learning accelerators of this machine, as a builder counts them."""
    return Session(runtime, lambda _severity, _text: None).dla_cores
