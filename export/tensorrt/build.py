"""The build stage: ONNX model in; engine, manifest and an account of what was built out.

It runs where the engine will run, so it needs neither torch nor onnxruntime, except for making an
FP16 graph of an FP32 model on the way.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.artifacts import (
    Manifest,
    Parent,
    created_by_this_command,
    read_manifest,
    sha256_of,
    write_artifact,
)
from edge_runtime.device import describe_device
from edge_runtime.engines.gpu import query_gpu
from edge_runtime.engines.identity import OPTIONS_KEY, EngineIdentity, differences
from edge_runtime.engines.locks import folder_lock
from edge_runtime.engines.store import EngineStore, open_engine, sweep, this_platform
from edge_runtime.errors import ArtifactError, BackendError, OptionError
from export.precision import graph_precision, load_graph
from export.tensorrt.capabilities import load, probe, recorded
from export.tensorrt.child import probe_dla_cores, run_child
from export.tensorrt.explain import label
from export.tensorrt.half_graph import half_path, provide_half
from export.tensorrt.plan import DEFAULT_TARGETS, make_plan
from export.tensorrt.precisions import Precisions, built_precisions, require
from export.tensorrt.ranges import require_ranges

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.engines.gpu import Gpu
    from export.tensorrt.capabilities import Capabilities
    from export.tensorrt.options import BuildOptions
    from export.tensorrt.plan import BuildPlan
    from export.tensorrt.worker import Result


@dataclass(frozen=True)
class Prepared:
    """A build that has passed every check that needs no builder."""

    options: BuildOptions
    plan: BuildPlan
    identity: EngineIdentity
    """Without the FP16 graph that is made on the way: `build` adds it."""
    manifest: Manifest
    """Of the ONNX model that is built."""
    can: Capabilities
    gpu: Gpu | None
    output: Path
    steps: tuple[str, ...] = ()
    """What happens before the build, in words."""


@dataclass(frozen=True)
class Built:
    """What a build came to."""

    path: Path
    manifest: Manifest
    precisions: Precisions
    warnings: tuple[str, ...]
    reused: bool = False
    """An engine of the same identity was there."""


def prepare(options: BuildOptions, described_as: str | None = None) -> Prepared:
    """Check model, options and TensorRT against each other; nothing is written.

    Args:
        options: what to build.
        described_as: plan for this recorded version of TensorRT instead of the installed one.

    Raises:
        ArtifactError: the model or the calibration cache cannot be read.
        OptionError: it cannot be built so, or the cache would not be used.
        DependencyError: the runtime is missing or broken.
    """
    manifest = read_manifest(options.model, kind="onnx")
    graph = load_graph(options.model)
    found = graph_precision(graph)
    can = recorded(described_as) if described_as else _installed(options)
    gpu = None if described_as or can.targets else query_gpu()
    store = EngineStore(options.store)
    model, steps = options.model, tuple[str, ...]()
    if options.precision == "fp16" and found == "fp32" and options.typing == "strong":
        model, found = half_path(options, manifest.sha256), "fp16"
        steps = (f"an FP16 graph of {options.model.name} is made and verified: {model}",)
    plan = make_plan(options, model, found, can, gpu, store.folder / "timing")
    if options.calibration_cache is not None:
        require_ranges(options.calibration_cache, manifest, graph, can.version)
    identity = _identity(plan, manifest.sha256, gpu, can)
    output = options.output or store.place(identity)
    return Prepared(options, plan, identity, manifest, can, gpu, output, steps)


def _installed(options: BuildOptions) -> Capabilities:
    can = probe(load(options.runtime))
    if options.dla_core is None or can.targets:
        return can
    return replace(can, dla_cores=probe_dla_cores(options.runtime))


def _identity(
    plan: BuildPlan, onnx_sha256: str, gpu: Gpu | None, can: Capabilities
) -> EngineIdentity:
    cache = plan.calibration_cache
    return EngineIdentity(
        onnx_sha256=onnx_sha256,
        precision=plan.precision,
        typing=plan.typing,
        runtime=plan.runtime,
        runtime_version=plan.version,
        platform=this_platform(),
        gpu=gpu.name if gpu else None,
        compute_capability=gpu.compute_capability if gpu else None,
        cuda=gpu.cuda if gpu else None,
        l4t=describe_device().l4t,
        targets=(plan.targets or DEFAULT_TARGETS) if can.targets else (),
        dla_core=plan.dla_core,
        flags=plan.settings,
        calibration_key=sha256_of(Path(cache)) if cache else None,
        multiprocessors=gpu.multiprocessors if gpu else None,
    )


def check(prepared: Prepared) -> Result:
    """Let the real parser read the graph, in a child process; nothing is built or left behind.

    Raises:
        BackendError: the parser refuses the graph or crashed.
    """
    with tempfile.TemporaryDirectory(prefix="hyperseg-build-") as folder:
        model = prepared.options.model
        if prepared.steps:
            model = Path(folder) / "half.onnx"
            provide_half(prepared.options.model, prepared.manifest, model)
        plan = replace(prepared.plan, onnx=str(model))
        result = run_child(plan, Path(folder))
    _require_parsed(result)
    return result


def build(
    prepared: Prepared,
    report: Callable[[str], None] = lambda _: None,
    started: Callable[[int], None] = lambda _: None,
) -> Built:
    """Build the engine and write it with its manifest, or leave everything as it was.

    Args:
        prepared: by `prepare` on this machine.
        report: takes progress lines.
        started: called with the builder's process id.

    Raises:
        BackendError: the builder refused, failed, crashed or was killed, or built another
            precision than asked for.
        OptionError: the output cannot be written.
        ParityError: the FP16 graph loses too much.
    """
    folder, options = prepared.output.parent, prepared.options
    if options.output is None:
        EngineStore(options.store).prepare()
    if prepared.plan.timing_cache:
        Path(prepared.plan.timing_cache).parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, lambda: report(f"waiting for a build in {folder}")):
        if prepared.steps:
            prepared = _with_half(prepared, report)
        if not options.force and (there := _same(prepared, report)) is not None:
            return there
        sweep(folder, prepared.output.name)
        return _build(prepared, report, started)


def _with_half(prepared: Prepared, report: Callable[[str], None]) -> Prepared:
    """The build with its FP16 graph, which decides on the engine's arithmetic, in the identity."""
    options = prepared.options
    half = provide_half(options.model, prepared.manifest, Path(prepared.plan.onnx), report)
    identity = replace(prepared.identity, fp16_sha256=half.sha256)
    output = options.output or EngineStore(options.store).place(identity)
    return replace(prepared, identity=identity, output=output)


def _same(prepared: Prepared, report: Callable[[str], None]) -> Built | None:
    """The engine that is there already, if it is whole and of the same identity.

    Where one is there that does not fit, `report` is told in words what it differs in.
    """
    output, wanted = prepared.output, prepared.identity
    if not output.exists():
        if prepared.options.output is None:
            report(EngineStore(prepared.options.store).why_missing(wanted))
        return None
    try:
        engine = open_engine(output)
    except ArtifactError as error:
        report(f"building anew: {error}")
        return None
    if found := differences(engine.identity, wanted):
        report(f"building anew: {'; '.join(found)}")
        return None
    facts = engine.manifest.options["precisions"]
    return Built(output, engine.manifest, msgspec.convert(facts, Precisions), (), reused=True)


def _build(
    prepared: Prepared, report: Callable[[str], None], started: Callable[[int], None]
) -> Built:
    output, plan = prepared.output, prepared.plan
    manifest, model = prepared.manifest, prepared.options.model
    if prepared.steps:
        model = Path(plan.onnx)
        manifest = read_manifest(model)
    report(f"building with {plan.runtime} {plan.version}")
    try:
        with (
            tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as aside,
            tempfile.TemporaryDirectory(prefix="hyperseg-build-") as folder,
        ):
            part = Path(aside) / "plan"
            result = run_child(plan, Path(folder), part, started)
            _require_parsed(result)
            built = built_precisions(result.inspector, result.layers)
            require(plan.precision, built)
            described = _describe(prepared, manifest, model, result, built)
            written = write_artifact(part, output, described)
    except OSError as error:
        raise OptionError(f"cannot write {output}: {error.strerror or error}") from error
    warnings = tuple(text for severity, text in result.messages if severity == "WARNING")
    return Built(output, written, built, warnings)


def _require_parsed(result: Result) -> None:
    if not result.refusals:
        return
    first = result.refusals[0]
    more = f" ({len(result.refusals) - 1} more)" if len(result.refusals) > 1 else ""
    raise BackendError(
        f"TensorRT's parser refuses node {first.name or first.node!r} ({first.operator}): "
        f"{first.text}{more}; `hyperseg check` explains such rules"
    )


def _describe(
    prepared: Prepared, manifest: Manifest, model: Path, result: Result, built: Precisions
) -> Manifest:
    """The engine's manifest: the model's, with what was built."""
    facts = {
        OPTIONS_KEY: msgspec.to_builtins(prepared.identity),
        "engine_key": prepared.identity.key,
        "precisions": asdict(built),
        "label": label(prepared.plan),
        "executed": result.inspector is not None,
        "build_s": round(result.build_s or 0.0, 3),
        "warnings": [text for severity, text in result.messages if severity == "WARNING"],
    }
    return replace(
        manifest,
        kind="engine",
        created_by=created_by_this_command(),
        parents=(Parent("onnx", model.name, manifest.sha256),),
        options={**manifest.options, **facts},
        parity=None,
    )
