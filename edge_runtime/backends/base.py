"""What an inference engine must offer to the loop, and the one way to open one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edge_runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge_runtime.artifacts import Manifest, TensorSpec
    from edge_runtime.backends.settings import OrtSettings


@dataclass
class EngineStamps:
    """Boundaries of one inference, CLOCK_MONOTONIC nanoseconds as the host observed them.

    ``start <= h2d_end <= infer_end <= d2h_end``. A backend without device copies sets
    ``h2d_end = start`` and ``d2h_end = infer_end``.
    """

    start_ns: int = 0
    h2d_end_ns: int = 0
    infer_end_ns: int = 0
    d2h_end_ns: int = 0
    host_to_device_copies: int = 0
    """Transfers of this inference, each of one tensor."""
    device_to_host_copies: int = 0


class Backend(Protocol):
    """Runs one network. A context manager: its buffers live from ``__enter__`` to ``__exit__``.

    `feeds` and `fetches` are allocated once. The caller fills ``feeds[name]`` in place, calls
    `infer`, and reads ``fetches[name]``, which the next `infer` overwrites.
    """

    name: str
    """Engine and version, such as ``onnxruntime 1.31.1 (CPU)``."""
    has_device_copies: bool
    """Whether h2d and d2h exist as stages; otherwise they are reported as null."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feeds: Mapping[str, NDArray[Any]]
    fetches: Mapping[str, NDArray[Any]]

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def infer(self, stamps: EngineStamps) -> None:
        """Run once on `feeds`, write `fetches` and fill `stamps`.

        Raises:
            BackendError: the engine failed.
        """
        ...


def open_backend(
    path: Path,
    manifest: Manifest,
    *,
    threads: int | None = None,
    settings: OrtSettings | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Backend:
    """The backend for an artefact, chosen by its kind.

    Args:
        path: the model file.
        manifest: its manifest, already checked against the file.
        threads: CPU threads for one inference; None leaves it to the engine.
        settings: of ONNX Runtime, see `edge_runtime.bench.tuned`; `threads` wins.
        warn: takes each of an engine's warnings once, from any thread.

    Raises:
        BackendError: no backend runs this kind, or it refused the model.
        DependencyError: the engine's package is missing or broken.
    """
    if manifest.kind == "onnx":
        from edge_runtime.backends.ort import DEFAULTS, OnnxRuntimeBackend

        return OnnxRuntimeBackend(path, manifest, threads=threads, settings=settings or DEFAULTS)
    if manifest.kind == "engine":
        from edge_runtime.backends.tensorrt.engine import TensorRTBackend

        return TensorRTBackend(path, manifest, warn=warn)
    raise BackendError(
        f"{path.name} is of kind {manifest.kind!r}, which nothing here runs; "
        "`hyperseg export` makes an ONNX model of a checkpoint"
    )
