"""ONNX Runtime on the CPU: buffers are allocated once and bound by address.

No frame costs a copy of its input or output, or an allocation of ours.

All settings that decide on memory and threads stand in `session_options`.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.allocator import keep_freed_memory
from edge_runtime.backends.blocked.load import Prepared, plain, prepare
from edge_runtime.backends.blocked.optimised import may_have_gates, open_folded
from edge_runtime.backends.settings import OrtSettings
from edge_runtime.errors import BackendError, DependencyError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType, TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge_runtime.artifacts import Manifest, TensorSpec
    from edge_runtime.backends.base import EngineStamps

DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}
"""ONNX Runtime's names of element types as numpy's."""

DEFAULTS = OrtSettings()
LOG_FATAL = 4
"""Severity below which ONNX Runtime keeps silent: what it logs as an error it also raises."""


class OnnxRuntimeBackend:
    """Runs an ONNX model on the CPU; `edge_runtime.backends.base.Backend` describes the contract.

    Args:
        path: the model file.
        manifest: what it must be.
        threads: CPU threads for one inference; None takes one per core.
        settings: found by tuning; `threads` wins over theirs.
        clock: CLOCK_MONOTONIC nanoseconds.

    Raises:
        BackendError: the file is not a model, is damaged, or needs what this version lacks.
        ManifestError: an input or output differs from the manifest.
        DependencyError: onnxruntime is installed but broken.
    """

    has_device_copies = False

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        *,
        threads: int | None = None,
        settings: OrtSettings = DEFAULTS,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        ort = _import()
        self.tuned = threads is None and settings != DEFAULTS
        """Whether `settings` were found by tuning; then the name says them too."""
        self.settings = settings
        if threads is not None:
            self.settings = OrtSettings(threads, blocked=settings.blocked)
        self.inputs = manifest.inputs
        self.outputs = manifest.outputs
        self.feeds: Mapping[str, NDArray[Any]] = {}
        self.fetches: Mapping[str, NDArray[Any]] = {}
        self._path = path
        self._clock = clock
        self._errors = error_types()
        self._session, prepared = open_session(ort, path, self.settings)
        self.blocked = prepared.rewritten
        """Whether the graph was rewritten, see `edge_runtime.backends.blocked`."""
        words = ["CPU", str(prepared), f"tuned: {settings}" if self.tuned else ""]
        self.name = f"onnxruntime {ort.__version__} ({'; '.join(filter(None, words))})"
        _check(path, "input", manifest.inputs, self._session.get_inputs())
        _check(path, "output", manifest.outputs, self._session.get_outputs())
        self._binding: Any = None

    def __enter__(self) -> Self:
        self.feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.inputs}
        self.fetches = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.outputs}
        binding = self._session.io_binding()
        for name, array in self.feeds.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in self.fetches.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._binding = binding
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The binding holds bare addresses: it must not outlive the arrays.
        self._binding = None
        self.feeds = {}
        self.fetches = {}

    def infer(self, stamps: EngineStamps) -> None:
        """Run once on `feeds`, write `fetches` and fill `stamps`.

        Raises:
            BackendError: the engine failed.
        """
        stamps.start_ns = stamps.h2d_end_ns = self._clock()
        try:
            self._session.run_with_iobinding(self._binding)
        except self._errors as error:
            raise BackendError(
                f"{self._path.name} failed while running: {_first_line(error)}"
            ) from error
        stamps.infer_end_ns = stamps.d2h_end_ns = self._clock()


def open_session(
    ort: ModuleType, path: Path, settings: OrtSettings = DEFAULTS
) -> tuple[Any, Prepared]:
    """A session of a model file, rewritten for this machine where that can be done.

    Args:
        ort: the module.
        path: the file; it is only read.
        settings: found by tuning.

    Returns:
        The session, and what it is one of.

    Raises:
        BackendError: the file is not a model, is damaged, or needs what this version lacks.
    """
    prepared, gates = plain("switched off"), False
    if settings.blocked:
        prepared = prepare(path, settings.threads or len(usable_cores()) or 1)
        gates = may_have_gates(path)
    if prepared.model is not None:
        try:
            session, folded = _session(ort, prepared.model, settings, gates)
            return session, replace(prepared, gates=folded)
        except error_types():  # the file itself may still be sound
            prepared = plain("onnxruntime refuses the rewritten model")
    try:
        session, folded = _session(ort, str(path), settings, gates)
    except error_types() as error:
        raise BackendError(
            f"{path} is not a model that onnxruntime {ort.__version__} can load "
            f"({_first_line(error)}); copy it again or export it anew"
        ) from error
    return session, replace(prepared, gates=folded)


def _session(
    ort: ModuleType, model: str | bytes, settings: OrtSettings, gates: bool
) -> tuple[Any, int]:
    """A session, and how many gates are folded in it."""
    options = partial(session_options, ort, None, settings)
    folded = open_folded(ort, model, options, error_types()) if gates else None
    if folded is not None:
        return folded
    return ort.InferenceSession(model, options(), providers=["CPUExecutionProvider"]), 0


def session_options(ort: ModuleType, threads: int | None, settings: OrtSettings = DEFAULTS) -> Any:
    """Everything that decides on ONNX Runtime's threads, memory and logging.

    The CPU arena stays on: it grows during the first inference and is then reused; what it does not
    hold, outputs above all, the process keeps (`edge_runtime.allocator`). Threads do not spin
    between inferences: they would take the cores from the decoder and the sinks.

    Args:
        ort: the module.
        threads: for one inference; wins over `settings` as a whole, which were found together.
        settings: found by tuning.
    """
    keep_freed_memory()
    if threads is not None:
        settings = OrtSettings(threads)
    options = ort.SessionOptions()
    options.log_severity_level = LOG_FATAL
    options.intra_op_num_threads = settings.threads or 0
    options.inter_op_num_threads = 1
    spins = settings.spinning == "within-run"
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
    if spins:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if settings.block_base is not None:
        options.add_session_config_entry("session.dynamic_block_base", str(settings.block_base))
    if settings.pinned and (cores := pinning(settings.threads or 0, usable_cores())):
        options.add_session_config_entry("session.intra_op_thread_affinities", cores)
    return options


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []


def pinning(threads: int, cores: Sequence[int]) -> str:
    """Cores of all threads but the caller's as ONNX Runtime reads them, counted from 1.

    Nothing where there are fewer cores than threads. The caller's thread, which also takes frames,
    may go where it likes; the first core is left to it.
    """
    if not 2 <= threads <= len(cores):
        return ""
    return ";".join(str(core + 1) for core in cores[1:threads])


def _import() -> ModuleType:
    # Newer builds start telemetry on import, and warn on stderr where they cannot store its id.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        raise DependencyError(
            f"onnxruntime is installed but does not load ({_first_line(error)}); "
            "reinstall it: pip install --force-reinstall onnxruntime"
        ) from error
    module: ModuleType = onnxruntime
    return module


def error_types() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions have no base of their own; these are all of them."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [
        kind
        for kind in vars(state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    return (*own, RuntimeError, MemoryError)


def _check(path: Path, role: str, specs: Sequence[TensorSpec], found: Sequence[Any]) -> None:
    names = [node.name for node in found]
    wanted = [spec.name for spec in specs]
    if names != wanted:
        raise ManifestError(
            f"{path}: the model's {role} names are {names}, its manifest says {wanted}; export it "
            "anew"
        )
    for spec, node in zip(specs, found, strict=True):
        dtype = DTYPES.get(node.type, node.type)
        for field, model, manifest in (
            ("shape", tuple(node.shape), tuple(spec.shape)),
            ("dtype", dtype, spec.dtype),
        ):
            if model != manifest:
                raise ManifestError(
                    f"{path}: {role} {spec.name!r} has {field} {model} in the model but "
                    f"{manifest} in its manifest; export it anew"
                )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
