"""`selftest`: every precision of one model, built where it can be, proven and measured.

Nothing stands for what it is not: what could not be run here is in the report as not run, with the
reason, and a figure always names the backend that produced it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import created_by_this_command, read_manifest
from edge_runtime.backends.base import open_backend
from edge_runtime.device import describe_device
from edge_runtime.engines.gpu import query_gpu
from edge_runtime.engines.identity import identity_of
from edge_runtime.errors import HypersegError, OptionError
from edge_runtime.pixels import require_rgb
from edge_runtime.zoo import resolve_model
from export.selftest.account import CALIBRATION_FRAMES, PRECISIONS, Entry, Selftest
from export.selftest.latency import Latency, measure
from export.selftest.telemetry import reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.backends.base import Backend
    from edge_runtime.engines.identity import EngineIdentity
    from export.precision import Precision
    from export.selftest.account import SelftestOptions, Status
    from export.tensorrt.capabilities import Runtime


def selftest(options: SelftestOptions, report: Callable[[str], None] = lambda _: None) -> Selftest:
    """Calibrate, build, measure and compare; each step goes on without the ones that cannot be.

    Raises:
        ArtifactError: the model is missing or damaged.
        OptionError: it is not FP32.
    """
    model = resolve_model(options.model)
    manifest = read_manifest(model, kind="onnx")
    require_rgb(manifest)
    if manifest.options.get("precision", "fp32") != "fp32":
        raise OptionError(f"{model} is not FP32; give the model that the others are made of")
    gpu = query_gpu()
    test = Selftest(
        facts={
            "created_by": asdict(created_by_this_command()),
            "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "device": asdict(describe_device()),
            "gpu": asdict(gpu) if gpu else None,
            "model": {"name": manifest.name, "preset": manifest.preset, "sha256": manifest.sha256},
            "definitions": "latency as trtexec: H2D + compute + D2H per query, by CUDA events or, "
            "without a device, by the host; each entry's clock says which",
            "telemetry": {"start": reading()},
        }
    )
    models: dict[Precision, Path] = {"fp32": model}
    report("INT8 model")
    if (quantised := _int8_model(model, options, test)) is not None:
        models["int8"] = quantised
    engines = _engines(models, options, test, report)
    _measure_cpu(models, options, test, report)
    _measure_engines(engines, options, test, report)
    if gpu is None:
        for precision in engines:
            reason = "no NVIDIA GPU here to execute it"
            test.entries.append(Entry("parity", f"engine {precision}", "not run", reason))
        engines = {}
    _compare([*models.values(), *engines.values()], options, test, report)
    test.facts["telemetry"]["end"] = reading()
    if test.facts["telemetry"] == {"start": {}, "end": {}}:
        test.facts["telemetry"] = None
    return test


def _int8_model(model: Path, options: SelftestOptions, test: Selftest) -> Path | None:
    """The INT8 model that was given, or one that the verb ``calibrate`` makes."""
    if options.int8 is not None:
        return options.int8
    output = options.folder / f"{model.stem}-int8.onnx"
    command = [
        sys.executable, "-m", "edge_runtime.cli", "calibrate", str(model), "--frames", "street:",
        "--samples", str(CALIBRATION_FRAMES), "--method", "percentile", "--policy", "trt-gpu",
        "-o", str(output),
    ]  # fmt: skip
    if options.threads is not None:
        command += ["--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        facts = {
            "frames": CALIBRATION_FRAMES, "source": "street:", "method": "percentile",
            "policy": "trt-gpu, placed for a GPU: slow on a CPU",
        }  # fmt: skip
        test.entries.append(Entry("calibrate", "int8", "done", result=facts))
        return output
    lines = done.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"exit status {done.returncode}"
    test.entries.append(Entry("calibrate", "int8", "not run", reason))
    return None


def _engines(
    models: dict[Precision, Path],
    options: SelftestOptions,
    test: Selftest,
    report: Callable[[str], None],
) -> dict[Precision, Path]:
    """Build an engine of each precision."""
    runtime: Runtime | None = options.runtime or installed_runtime()
    engines: dict[Precision, Path] = {}
    for precision in PRECISIONS:
        what = f"engine {precision}"
        source = models.get("int8") if precision == "int8" else models["fp32"]
        if runtime is None or source is None:
            reason = (
                "neither tensorrt nor tensorrt_rtx is installed"
                if runtime is None
                else "there is no INT8 model"
            )
            test.entries.append(Entry("build", what, "not run", reason))
            continue
        report(f"building {what} with {runtime}")
        try:
            result, path = _build(source, precision, runtime, options)
        except (HypersegError, ModuleNotFoundError) as error:
            test.entries.append(Entry("build", what, "failed", str(error)))
            continue
        test.entries.append(Entry("build", what, "done", result=result))
        engines[precision] = path
    return engines


def _build(
    source: Path, precision: Precision, runtime: Runtime, options: SelftestOptions
) -> tuple[dict[str, Any], Path]:
    from export.tensorrt.build import build, prepare
    from export.tensorrt.options import BuildOptions

    output = options.folder / f"{source.stem}.{precision}.{runtime}.engine"
    built = build(
        prepare(BuildOptions(model=source, precision=precision, runtime=runtime, output=output))
    )
    facts = {
        "file": built.path.name,
        "bytes": built.path.stat().st_size,
        "precisions": asdict(built.precisions),
        "label": built.manifest.options.get("label"),
        "build_s": built.manifest.options.get("build_s"),
        "identity": built.manifest.options.get("engine"),
        "warnings": list(built.warnings),
    }
    return facts, built.path


def installed_runtime() -> Runtime | None:
    """The TensorRT that can be imported, the full one first."""
    names: tuple[Runtime, ...] = ("tensorrt", "tensorrt_rtx")
    return next((name for name in names if find_spec(name) is not None), None)


def _measure_cpu(
    models: dict[Precision, Path],
    options: SelftestOptions,
    test: Selftest,
    report: Callable[[str], None],
) -> None:
    for precision in PRECISIONS:
        what = f"onnxruntime {precision}"
        if precision == "fp16":
            reason = "on a CPU ONNX Runtime computes FP16 graphs in FP32: no FP16 figure"
            test.entries.append(Entry("latency", what, "not run", reason))
        elif precision not in models:
            test.entries.append(Entry("latency", what, "not run", "there is no such model"))
        else:
            report(f"latency of {what}")
            test.entries.append(_latency(what, models[precision], options, on_gpu=False))


def _measure_engines(
    engines: dict[Precision, Path],
    options: SelftestOptions,
    test: Selftest,
    report: Callable[[str], None],
) -> None:
    for precision in PRECISIONS:
        what = f"engine {precision}"
        if precision not in engines:
            test.entries.append(Entry("latency", what, "not run", "it was not built"))
            continue
        report(f"latency of {what}")
        test.entries.append(_latency(what, engines[precision], options, on_gpu=True))


def _latency(what: str, path: Path, options: SelftestOptions, *, on_gpu: bool) -> Entry:
    try:
        manifest = read_manifest(path)
        with open_backend(path, manifest, threads=options.threads) as backend:
            found: Latency = measure(backend, manifest, duration_s=options.duration_s)
            layers = _built_layers(backend, identity_of(path, manifest)) if on_gpu else None
    except (HypersegError, ModuleNotFoundError) as error:
        lacking = query_gpu() is None if on_gpu else isinstance(error, ModuleNotFoundError)
        return Entry("latency", what, "not run" if lacking else "failed", str(error))
    return Entry("latency", what, "done", result={**asdict(found), "layers": layers})


def _built_layers(backend: Backend, identity: EngineIdentity) -> dict[str, int]:
    """Convolutions and products by the precision the loaded engine really has them in.

    Raises:
        BackendError: FP16 or INT8 was asked for but not built.
    """
    from edge_runtime.backends.tensorrt.engine import TensorRTBackend
    from edge_runtime.backends.tensorrt.inspector import read_inspector, require_precision

    assert isinstance(backend, TensorRTBackend)
    table = read_inspector(backend.inspect())
    require_precision(table, identity.precision)
    return table.counts()


def _compare(
    files: list[Path], options: SelftestOptions, test: Selftest, report: Callable[[str], None]
) -> None:
    report("parity chain")
    try:
        from export.verify.options import VerifyOptions
        from export.verify.report import as_json
        from export.verify.verify import verify

        verification, _ = verify([str(file) for file in files],
                                 VerifyOptions(frames=2, threads=options.threads))  # fmt: skip
    except ModuleNotFoundError as error:
        # Without it nothing of what was given is compared, so the test has not been passed.
        from edge_runtime.cli import REMEDIES, missing

        known = missing(error.name) if error.name in REMEDIES else error
        reason = f"nothing was compared: {known}"
        test.entries.append(Entry("parity", "all forms", "failed", reason))
        return
    except HypersegError as error:
        test.entries.append(Entry("parity", "all forms", "failed", str(error)))
        return
    test.facts["parity"] = as_json(verification)
    for stage in verification.stages:
        if stage.status == "reference":
            continue
        words = "; ".join(stage.reasons)
        status: Status = "done" if stage.status == "passed" else "not run"
        if stage.status == "failed":
            status = "failed"
        test.entries.append(Entry("parity", stage.name, status, words))
