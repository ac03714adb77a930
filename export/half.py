"""An FP16 model of an FP32 one, its verdict in the manifest; needs onnx and onnxruntime only.

Of an INT8 model it makes a mixed one: what is not quantised computes in FP16 instead of FP32.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from edge_runtime.artifacts import (
    Manifest,
    Metric,
    Parent,
    create_artifact,
    created_by_this_command,
    read_manifest,
)
from edge_runtime.errors import ArtifactError
from edge_runtime.redact import redact
from export.fp16_policy import convert, require
from export.precision import computes_half, graph_precision, load_graph
from export.probe_frames import frames_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

FRAMES = 4
HALF_SCALES_OPSET = 19
"""From here on QuantizeLinear and DequantizeLinear take FP16 scales."""


def make_half(
    model: Path,
    output: Path,
    report: Callable[[str], None] = lambda _: None,
    source: str | None = None,
) -> Manifest:
    """Write the FP16 form of an exported model.

    Args:
        model: FP32 or INT8, with its manifest.
        output: where the FP16 model goes.
        report: takes progress lines.
        source: frames to measure and verify on, any source of `run`; None draws them.

    Returns:
        The manifest as written; ``options["fp16"]`` holds the verdict.

    Raises:
        ArtifactError: the model cannot be read, or is FP16 already.
        ParityError: half precision loses too much; nothing is written then.
        SourceError: the source gave no frame.
    """
    manifest = read_manifest(model, kind="onnx")
    graph = load_graph(model)
    if computes_half(graph):
        raise ArtifactError(f"{model} is FP16 already; use it as it is")
    half, described = as_half(graph, manifest, report, source)
    described = replace(
        described,
        created_by=created_by_this_command(),
        parents=(Parent("onnx", model.name, manifest.sha256),),
    )
    content = half.SerializeToString()
    return create_artifact(output, described, lambda part: part.write_bytes(content))


def as_half(
    graph: onnx.ModelProto,
    manifest: Manifest,
    report: Callable[[str], None],
    source: str | None = None,
) -> tuple[onnx.ModelProto, Manifest]:
    """The FP16 graph and what its manifest says of it.

    Args:
        graph: FP32 or INT8.
        manifest: of that graph.
        report: takes progress lines.
        source: frames to measure and verify on, any source of `run`; None draws them.

    Raises:
        ParityError: half precision loses too much.
        SourceError: the source gave no frame.
    """
    frames = frames_for(manifest, source, FRAMES)
    quantised = graph_precision(graph) == "int8"
    if quantised:
        graph = _with_half_scales(graph)
    half, verdict = convert(graph, [frame[None] for frame in frames], report)
    require(verdict)
    origin = "drawn frames" if source is None else f"frames of {redact(source)}"
    data = f"{len(frames)} {origin}, FP16 rounding emulated by ONNX Runtime on the CPU"
    report(
        f"FP16: {verdict.sqnr_db:.1f} dB, {100 * verdict.agreement:.3f} % of pixels as in FP32, "
        f"{verdict.rms_error / verdict.noise_floor:.2f} noise floors, {len(verdict.kept)} nodes "
        "kept in FP32"
    )
    metrics = (
        *manifest.metrics,
        Metric("fp16 agreement", verdict.agreement, data),
        Metric("fp16 SQNR (dB)", verdict.sqnr_db, data),
    )
    options = {
        **manifest.options,
        "precision": "int8 and fp16" if quantised else "fp16",
        "fp16": asdict(verdict),
        "fp32_parity": asdict(manifest.parity) if manifest.parity else None,
    }
    return half, replace(manifest, metrics=metrics, options=options, parity=None)


def _with_half_scales(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph at an opset whose Q/DQ nodes may be FP16; a cast behind each would part them."""
    from onnx import version_converter

    versions = {entry.domain: int(entry.version) for entry in graph.opset_import}
    if versions.get("", HALF_SCALES_OPSET) >= HALF_SCALES_OPSET:
        return graph
    return version_converter.convert_version(graph, HALF_SCALES_OPSET)
