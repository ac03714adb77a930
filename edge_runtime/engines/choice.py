"""Which engine of a store serves a model on this machine, and in words why another is to be built.

An engine that loads here serves, even if the system under it was updated since; what would be built
anew is another question, answered at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.artifacts import read_manifest
from edge_runtime.engines.identity import differences, identity_of, misfits, tuned_for
from edge_runtime.engines.store import engine_files, open_engine, this_platform
from edge_runtime.errors import ArtifactError, DependencyError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.artifacts import Manifest
    from edge_runtime.engines.gpu import Gpu
    from edge_runtime.engines.identity import EngineIdentity
    from edge_runtime.engines.store import EngineStore, StoredEngine

RUNTIMES = ("tensorrt", "tensorrt_rtx")
"""In the order they are looked for."""


@dataclass(frozen=True)
class Machine:
    """What decides on engines here."""

    runtime: str
    """Python package that builds and loads: ``tensorrt`` or ``tensorrt_rtx``."""
    version: str
    gpu: Gpu
    l4t: str | None = None


@dataclass(frozen=True)
class Choice:
    """What serves, and whether that is to stay so."""

    engine: StoredEngine | None
    """None: no engine loads here; the ONNX model has to serve."""
    reason: str | None
    """In words, why one is to be built; None if `engine` is all that can be wished for."""


def this_machine() -> Machine:
    """The runtime, GPU and system that an engine would be loaded by.

    Raises:
        DependencyError: no TensorRT or no GPU is here, or TensorRT does not load.
    """
    from importlib.util import find_spec

    from edge_runtime.backends.tensorrt.engine import REMEDIES, load_runtime
    from edge_runtime.device import describe_device
    from edge_runtime.engines.gpu import NoGpu, ask_gpu

    runtime = next((name for name in RUNTIMES if find_spec(name)), None)
    if runtime is None:
        raise DependencyError(
            f"--rebuild needs TensorRT, and neither {' nor '.join(RUNTIMES)} is installed "
            f"({REMEDIES['tensorrt']}); without --rebuild the model runs on ONNX Runtime"
        )
    gpu = ask_gpu()
    if isinstance(gpu, NoGpu):
        raise DependencyError(
            f"--rebuild needs an NVIDIA GPU with its driver: {runtime} is installed, but no GPU "
            f"answers here ({gpu.reason}; hyperseg doctor may know why); without --rebuild the "
            "model runs on ONNX Runtime"
        )
    version = str(load_runtime(runtime).__version__)
    return Machine(runtime, version, gpu, describe_device().l4t)


def engine_precision(manifest: Manifest) -> str:
    """What an engine of this model computes in: ``int8`` for an INT8 model, else ``fp16``."""
    recorded = str(manifest.options.get("precision", ""))
    is_int8 = "quantization" in manifest.options or recorded.startswith("int8")
    return "int8" if is_int8 else "fp16"


def choose(store: EngineStore, model: Manifest, precision: str, machine: Machine) -> Choice:
    """The newest engine of that model and precision that loads here, fully fitting ones first.

    Args:
        store: where to look.
        model: manifest of the ONNX model.
        precision: ``fp32``, ``fp16`` or ``int8``.
        machine: what would load it.

    Raises:
        OptionError: the store may not be read.
    """
    loadable: list[tuple[list[str], StoredEngine]] = []
    foreign: list[list[str]] = []
    damaged: list[str] = []
    for path, identity in _built_of(store.folder, model.sha256, precision, damaged):
        if found := _misfits(identity, machine):
            foreign.append(found)
            continue
        try:
            engine = open_engine(path)
        except ArtifactError as error:
            damaged.append(str(error))
        else:
            loadable.append((_updates(engine.identity, machine), engine))
    if loadable:
        # Of equally many updates the first, which is the newest engine, is taken.
        updates, engine = min(loadable, key=_count)
        return Choice(engine, "; ".join(updates) or None)
    if foreign:
        nearest = min(foreign, key=len)
        return Choice(None, f"the engine here does not fit: {'; '.join(nearest)}")
    reason = f"{store.folder} has no {precision.upper()} engine of {model.name}"
    return Choice(None, "; ".join([reason, *damaged]))


def _built_of(
    folder: Path, onnx_sha256: str, precision: str, damaged: list[str]
) -> list[tuple[Path, EngineIdentity]]:
    """The engines of one model, newest first, by what their manifests say; no file is hashed."""
    found = []
    for path in engine_files(folder):
        try:
            identity = identity_of(path, read_manifest(path, kind="engine", verify=False))
            age = path.stat().st_mtime_ns
        except (ArtifactError, OSError) as error:
            damaged.append(str(error))
            continue
        if (identity.onnx_sha256, identity.precision) == (onnx_sha256, precision):
            found.append((-age, path, identity))
    return [(path, identity) for _, path, identity in sorted(found, key=lambda item: item[:2])]


def _count(pair: tuple[list[str], StoredEngine]) -> int:
    return len(pair[0])


def _misfits(identity: EngineIdentity, machine: Machine) -> list[str]:
    return misfits(
        identity, runtime=machine.runtime, version=machine.version, platform=this_platform(),
        gpu=machine.gpu.name, compute_capability=machine.gpu.compute_capability,
    )  # fmt: skip


def _updates(identity: EngineIdentity, machine: Machine) -> list[str]:
    """What has changed under an engine: it still loads, but was tuned for what was before."""
    if identity.targets:
        return []
    updated = replace(identity, cuda=machine.gpu.cuda, l4t=machine.l4t)
    return differences(identity, updated) + tuned_for(identity, machine.gpu.multiprocessors)
