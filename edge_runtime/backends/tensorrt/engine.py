"""Runs an engine: one stream, page-locked buffers, events per stage, a CUDA graph where possible.

Nothing here has a copy of its own to make: the caller fills page-locked memory and reads it. On a
GPU that shares its memory with the host the buffers are mapped, and there is no transfer at all.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_runtime.backends.tensorrt.layout import as_tensor, byte_size, check_tensors, io_tensors
from edge_runtime.backends.tensorrt.memory import HostBuffer, choose_provider, open_memory
from edge_runtime.backends.tensorrt.messages import Messages, logger
from edge_runtime.backends.tensorrt.stages import DeviceDurations, DeviceTimes, fill_stamps
from edge_runtime.engines.gpu import query_gpu
from edge_runtime.engines.identity import identity_of, misfits, tuned_for
from edge_runtime.engines.store import this_platform
from edge_runtime.errors import BackendError, DependencyError
from edge_runtime.nvmm.base import DeviceFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import ModuleType, TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import EngineStamps
    from edge_runtime.backends.tensorrt.memory import DeviceMemory
    from edge_runtime.engines.gpu import Gpu
    from edge_runtime.engines.identity import EngineIdentity

REMEDIES = {
    "tensorrt": "on a Jetson: apt-get install python3-libnvinfer, and a virtual environment made "
    "with --system-site-packages; elsewhere: pip install tensorrt",
    "tensorrt_rtx": "pip install tensorrt-rtx-cu13",
}
EVENTS = ("start", "h2d", "infer", "d2h")


class TensorRTBackend:
    """Runs an engine on the GPU; `edge_runtime.backends.base.Backend` describes the contract.

    Args:
        path: the engine file, its hash already compared with its manifest.
        manifest: says what it is and what it was built for.
        provider: of device memory, see `memory.PROVIDERS`; None takes what is installed.
        use_graph: launch the network as one CUDA graph where that is possible.
        clock: CLOCK_MONOTONIC nanoseconds.
        warn: takes each of TensorRT's warnings once, from any thread.

    Raises:
        DependencyError: TensorRT, a provider of device memory, the driver or the GPU is missing.
        BackendError: the engine was built for something else.
        ManifestError: the manifest does not say what the engine was built for.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        *,
        provider: str | None = None,
        use_graph: bool = True,
        clock: Callable[[], int] = time.monotonic_ns,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        identity = identity_of(path, manifest)
        self._trt = load_runtime(identity.runtime)
        self._provider = choose_provider(provider)
        gpu = require_fit(path, identity, str(self._trt.__version__), query_gpu())
        for change in tuned_for(identity, gpu.multiprocessors):
            warn(
                f"{path.name}: {change}, by board or power mode; build it anew for its best latency"
            )
        self.name = f"{identity.runtime} {self._trt.__version__} ({identity.gpu or 'GPU'})"
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        self.has_device_copies = True
        self.feeds: Mapping[str, NDArray[Any]] = {}
        self.fetches: Mapping[str, NDArray[Any]] = {}
        self.times = DeviceTimes()
        self.graph_note = "not tried"
        """``used``, or why the network is not launched as a CUDA graph."""
        self._path, self._manifest, self._identity = path, manifest, identity
        self._use_graph, self._clock = use_graph, clock
        self._messages = Messages(path.name, warn)
        self._parents: dict[str, Any] = {}
        self._held = ExitStack()
        self._feed_address: int | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._memory: DeviceMemory = open_memory(self._provider)
            stack.push(self._release)
            self._load(stack)
            self._buffers()
            self._stream = self._memory.stream()
            self._events = [{name: self._memory.event() for name in EVENTS} for _ in range(2)]
            self._turn = 0
            self._pending: dict[str, Any] | None = None
            self._launch = self._enqueue
            # The first execution also allocates; a capture must come after it.
            self._enqueue()
            self._memory.record(self._events[0]["d2h"], self._stream)
            self._memory.wait(self._events[0]["d2h"])
            self._capture()
            self._held = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The arrays are views of memory that is given back now.
        self.feeds, self.fetches = {}, {}
        self._feed_address = None
        self._launch = self._enqueue
        self._held.__exit__(kind, error, trace)

    def infer(self, stamps: EngineStamps) -> None:
        """Run once on `feeds`, write `fetches` and fill `stamps`.

        Raises:
            BackendError: TensorRT or CUDA failed.
        """
        memory, stream = self._memory, self._stream
        events = self._events[self._turn]
        self._turn ^= 1
        start_ns = self._clock()
        memory.record(events["start"], stream)
        for buffer, device in self._uploads:
            memory.copy_to_device(device, buffer, stream)
        memory.record(events["h2d"], stream)
        before = self._clock()
        self._launch()
        self.times.launched(self._clock() - before)
        memory.record(events["infer"], stream)
        for buffer, device in self._downloads:
            memory.copy_to_host(buffer, device, stream)
        memory.record(events["d2h"], stream)
        if self._pending is not None:
            self.times.add(self._read(self._pending))
        memory.wait(events["d2h"])
        end_ns = self._clock()
        self._pending = events
        # Before any frame's events were read in passing, this one's are read at once.
        latest = self.times.latest or self._read(events)
        fill_stamps(stamps, start_ns, end_ns, latest if self.has_device_copies else None)
        stamps.host_to_device_copies = len(self._uploads)
        stamps.device_to_host_copies = len(self._downloads)

    @property
    def device_feed(self) -> DeviceFeed | None:
        """See `edge_runtime.nvmm.base.DeviceFed`."""
        address = self._feed_address
        return None if address is None else DeviceFeed(address, self._stream)

    def inspect(self) -> str:
        """The engine inspector's JSON; the backend is entered."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def _release(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._memory.close()
        except BackendError:
            # After most errors of CUDA every release fails with the same one: that is no news.
            if error is None:
                raise

    def _read(self, events: dict[str, Any]) -> DeviceDurations:
        elapsed = self._memory.elapsed_ms
        return DeviceDurations(
            elapsed(events["start"], events["h2d"]),
            elapsed(events["h2d"], events["infer"]),
            elapsed(events["infer"], events["d2h"]),
        )

    def _load(self, stack: ExitStack) -> None:
        listener = logger(self._trt, self._messages)
        runtime = self._trt.Runtime(listener)
        if self._identity.version_compatible:
            # Such a plan brings code of TensorRT's own; its manifest vouches for all its bytes.
            runtime.engine_host_code_allowed = True
        if self._identity.dla_core is not None:
            runtime.DLA_core = self._identity.dla_core
        self._engine = runtime.deserialize_cuda_engine(self._path.read_bytes())
        if self._engine is None:
            raise BackendError(
                f"{self.name} cannot load {self._path}: {self._why()}; build it here with "
                "`hyperseg build`"
            )
        check_tensors(self._path, self._manifest, *io_tensors(self._trt, self._engine))
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise BackendError(
                f"{self.name} has no room to run {self._path}: {self._why()}; close other programs"
            )
        # TensorRT wants contexts gone before their engine, and engines before their runtime.
        for name, owned in (("logger", listener), ("runtime", runtime)):
            stack.callback(self._parents.pop, name)
            self._parents[name] = owned
        stack.callback(setattr, self, "_engine", None)
        stack.callback(setattr, self, "_context", None)

    def _buffers(self) -> None:
        """Page-locked memory for every tensor, and device memory where it is not shared."""
        mapped = self._memory.integrated
        self.has_device_copies = not mapped
        sides: list[dict[str, NDArray[Any]]] = []
        transfers: list[list[tuple[HostBuffer, int]]] = []
        for specs in (self.inputs, self.outputs):
            arrays, copies = {}, []
            for spec in specs:
                buffer = self._memory.pinned(byte_size(spec), mapped=mapped)
                buffer.array[:] = 0
                address = buffer.device
                if address is None:
                    address = self._memory.allocate(byte_size(spec))
                    copies.append((buffer, address))
                if not self._context.set_tensor_address(spec.name, address):
                    raise BackendError(f"TensorRT takes no buffer for {spec.name}: {self._why()}")
                arrays[spec.name] = as_tensor(buffer.array, spec)
                if spec is self.inputs[0]:
                    self._feed_address = buffer.device
            sides.append(arrays)
            transfers.append(copies)
        self.feeds, self.fetches = sides
        self._uploads, self._downloads = transfers

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise BackendError(f"{self._path.name} failed while running: {self._why()}")

    def _capture(self) -> None:
        """Launch the network as one CUDA graph from now on, or note why not."""
        if not self._use_graph:
            self.graph_note = "not asked for"
            return
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(self._stream):
            self.graph_note = "TensorRT says that this engine cannot be captured"
            return
        try:
            self._launch = self._memory.capture(self._stream, self._enqueue)
            self.graph_note = "used"
        except BackendError as error:
            self.graph_note = str(error)

    def _why(self) -> str:
        return "; ".join(self._messages.errors) or "it gave no reason"


def load_runtime(package: str) -> ModuleType:
    """Import ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        DependencyError: it is not installed, or its libraries do not load.
    """
    if package not in REMEDIES:
        raise DependencyError(
            f"the engine was built by {package!r}; this runtime knows {', '.join(REMEDIES)}"
        )
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"the engine needs the package {package}: {REMEDIES[package]}"
        ) from error
    except ImportError as error:
        raise DependencyError(
            f"{package} is installed but does not load ({error}); {REMEDIES[package]}"
        ) from error


def require_fit(path: Path, identity: EngineIdentity, version: str, gpu: Gpu | None) -> Gpu:
    """The GPU here; refuses an engine that was built for another version, platform or GPU.

    Raises:
        DependencyError: there is no GPU.
        BackendError: the engine does not fit; the message says what differs.
    """
    if gpu is None:
        raise DependencyError(
            f"{path.name} is an engine and needs an NVIDIA GPU with its driver, which is not here; "
            "run its ONNX model instead"
        )
    found = misfits(
        identity, runtime=identity.runtime, version=version, platform=this_platform(),
        gpu=gpu.name, compute_capability=gpu.compute_capability,
    )  # fmt: skip
    if found:
        raise BackendError(
            f"{path.name} cannot run here: {'; '.join(found)}; build it here with `hyperseg build`"
        )
    return gpu
