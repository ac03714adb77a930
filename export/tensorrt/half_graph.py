"""The FP16 graph that an engine of an FP32 model is built from: made once, and proven when reused.

Making one needs onnxruntime; taking one that is there does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.artifacts import manifest_path, read_manifest
from edge_runtime.engines.store import EngineStore
from edge_runtime.errors import OptionError
from export.precision import graph_precision, load_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.artifacts import Manifest
    from export.tensorrt.options import BuildOptions


def half_path(options: BuildOptions, source_sha256: str) -> Path:
    """Where the FP16 graph of an FP32 model goes: beside the engine, or into the store."""
    if options.output is not None:
        return options.output.with_name(f"{options.output.stem}.fp16.onnx")
    return EngineStore(options.store).folder / f"{source_sha256[:16]}.fp16.onnx"


def provide_half(
    model: Path, manifest: Manifest, output: Path, report: Callable[[str], None] = lambda _: None
) -> Manifest:
    """The FP16 graph of a model in `output`: one that is there and proven, or a new one.

    One that another version of ours has made is made anew where that can be done, else taken.

    Args:
        model: FP32.
        manifest: of that model.
        output: where the FP16 graph lies or goes.
        report: takes progress lines.

    Returns:
        The manifest of the FP16 graph.

    Raises:
        ManifestError: the manifest of what is there is malformed, or of another file.
        OptionError: what is there is of another model, not FP16, or was never compared with its
            FP32 form; or onnxruntime, which is needed to make one, is not installed.
        ParityError: half precision loses too much.
    """
    if (there := _proven(output, manifest)) is not None:
        if there.created_by.version == __version__:
            return there
        report(f"making {output.name} anew: version {there.created_by.version} made it")
    from export.half import make_half

    try:
        return make_half(model, output, report)
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        if there is not None:
            report(f"taking {output.name} as it is: making one needs onnxruntime")
            return there
        raise OptionError(
            f"{model.name} is FP32 and making an FP16 graph of it needs onnxruntime, which is not "
            f"installed: run `hyperseg export {model.name} --precision fp16 -o half.onnx` on a "
            "workstation and build that"
        ) from error


def _proven(path: Path, source: Manifest) -> Manifest | None:
    """The manifest of the FP16 graph in that place; None if there is none."""
    if not (path.exists() and manifest_path(path).exists()):
        return None
    there = read_manifest(path)
    verdict = there.options.get("fp16")
    wrong = None
    if not there.parents or there.parents[0].sha256 != source.sha256:
        wrong = "of another model"
    elif graph_precision(load_graph(path)) != "fp16":
        wrong = "not FP16"
    elif not (isinstance(verdict, dict) and verdict.get("passed") is True):
        wrong = "without the verdict that it is its FP32 form"
    if wrong is not None:
        raise OptionError(f"{path} is there and {wrong}: move it away, or give another -o")
    return there
